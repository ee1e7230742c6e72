package gateway

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/tracing"
)

// Config is what a gateway runs under. A limit of 0 is none.
type Config struct {
	ID      string // unique among gateways; in welcome and in guest names
	Version string // what the fleet is told
	Listen  string // host:port
	Loops   int    // event loops, at least 1
	Live           // as it begins; Gateway.Apply changes it
	Echo    bool   // serve /echo
	Deflate bool   // accept permessage-deflate

	ProxyProtocol bool // what Live.Edge's trusted proxies send begins with a PROXY header

	HeartbeatInterval time.Duration // a ping after that long without a frame
	HeartbeatTimeout  time.Duration // without a frame, or with a blocked socket: the end
	Rebalance         bool          // send away what is clearly more than the fleet's mean
	MaxConnectionAge  time.Duration // send away what is older; 0: never
	DrainPeriod       time.Duration // over which a drain spreads its closes
	Events            bool          // have backends told which connections begin and end

	Broker  broker.Broker
	Public  http.Handler   // what is no WebSocket, on the same port
	Metrics *metrics.Set   // made for as many loops
	Relay   *metrics.Relay // nil: one that nobody reads
	Log     *slog.Logger
	Tracer  *tracing.Tracer // nil: nothing is traced
}

// Live is what may change while the gateway runs. A value is immutable once it is
// in force: another takes its place.
type Live struct {
	Classes Classes
	Edge    Edge
	Auth    Auth
	Limits  Limits
	// Certificate of Listen, with its Leaf. Whether there is one is decided once, at
	// the beginning.
	Certificate *tls.Certificate
	AcceptRate  int // upgrades a second, and as many at once; 0: any
}

// Limits bounds what clients may use. A limit of 0 is none.
type Limits struct {
	Connections       int   // open, over all loops
	RoomsPerConn      int   // joined by one connection
	MembersPerRoom    int   // connections of this gateway
	QueuedBytes       int64 // of backlogs and replies, in all
	MessagesPerSecond int   // frames that one connection sends; twice that in a burst
	BytesPerSecond    int64 // of messages that one connection sends; twice that in a burst
	HistoryPerSecond  int   // requests for history of one connection; twice that in a burst
	User              Usage // of one user
	Address           Usage // of one address
	RoomMessages      int   // published to one room in a second; twice that in a burst
	MemoryBytes       int64 // of the process
	MessageBytes      int64 // of one message, also once inflated
	MessageFragments  int   // frames of one message
	ReplyBytes        int   // of one connection's replies that are not read

	Handshakes           int           // unfinished, in all
	HandshakesPerAddress int           // unfinished, of one address
	HandshakeTimeout     time.Duration // for the whole head
	HandshakeBytes       int           // of one head
	HandshakeHeaders     int           // lines of one head
}

// Usage bounds what the connections of a user, or of an address (in IPv6 of a
// /64), use together on this gateway. A rate gives twice as much at once. 0 is no
// bound.
type Usage struct {
	Connections       int
	ConnectsPerSecond int // those that are refused for other reasons too
	MessagesPerSecond int // frames
	BytesPerSecond    int64
	Rooms             int // joined, each counted for each connection
	HistoryPerSecond  int
}

const (
	// lingerRoom is how long a room without members stays subscribed, so that one
	// who comes and goes costs the broker nothing.
	lingerRoom = 5 * time.Second
	// joinWait is how long a join waits for its room's log.
	joinWait = 10 * time.Second
	// rangeWait bounds one read from the broker.
	rangeWait = 5 * time.Second
)
