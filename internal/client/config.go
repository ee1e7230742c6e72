package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// Config says where to connect and what to join. Only URL is required.
type Config struct {
	URL    string      // http, https, ws or wss; a path that is empty or / becomes /ws
	Header http.Header // sent with the handshake besides what it needs itself
	Rooms  []Subscription

	// Username is the name to register on each connection, before the rooms are
	// joined; empty: none. A username in the URL's query is taken for it. The client
	// remembers the key that it is given with the name, so that after a lost
	// connection the name is its own again.
	Username    string
	UsernameKey string // of an earlier client of the same user; empty: none

	// Token gives the token for each connection, and the next before one runs out;
	// nil: none. Its error is taken for passing. A client ends when the gateway does
	// not take a token any more and the next is the same.
	Token func(context.Context) (string, error)

	// OnEvent gets every event, on one goroutine at a time. While it does not
	// return nothing is read, so that the gateway's slow-client policy takes
	// effect. It must not call methods of the Conn or Client that wait.
	OnEvent func(Event)

	// RequestTimeout bounds Join, Publish, History and Members of a Client, waiting
	// for a connection included; 30 s, well inside the two minutes for which a gateway
	// knows a publish by its id. Less than 0: their contexts alone.
	RequestTimeout time.Duration

	BackoffBase time.Duration // first ceiling of the wait between connections; 500 ms
	BackoffCap  time.Duration // last ceiling; 20 s
	DialTimeout time.Duration // from the first lookup to the welcome; 10 s

	MessageBytes int64 // longest frame accepted; 64 MiB, as a history reply may be long
	ReadBuffer   int   // bytes of the connection's read buffer; 16 KiB
	Deflate      bool  // offer permessage-deflate; sent messages are never compressed

	TLS     *tls.Config
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)

	Logger *slog.Logger // nil: none; lines are at debug

	// Jitter picks a wait from 0 to ceiling; nil: at random, all alike.
	Jitter func(ceiling time.Duration) time.Duration
}

// Subscription is a room to join. Since and Last count for the first time; a
// reconnected client goes on where it stood.
type Subscription struct {
	Room  string
	Since *protocol.Position // resume after it
	Last  int                // with no Since: begin that many messages back

	Presence bool // also tell who comes and leaves

	// Fill asks the history for the messages of a gap before it is told, where the
	// gateway may still have them: they come as if there had been none, and a Gap
	// names only what was lost. What comes meanwhile is held back, up to a bound.
	Fill bool
}

// ParsePosition reads EPOCH:SEQ, for a Subscription's Since.
func ParsePosition(s string) (protocol.Position, error) {
	p, err := protocol.ParsePosition(s)
	if err != nil {
		return p, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return p, nil
}

const (
	writeTimeout = 10 * time.Second // a peer that takes no byte for so long is gone
	closeTimeout = 2 * time.Second  // for the peer's half of the closing handshake
	settled      = 10 * time.Second // a connection that lasted so long resets the back-off
)

// withDefaults returns the configuration with nothing left to decide, and the
// URL to dial.
func (c Config) withDefaults() (Config, *url.URL, error) {
	target, err := target(c.URL)
	if err != nil {
		return c, nil, err
	}
	for i := range c.Rooms {
		if !protocol.ValidRoom(c.Rooms[i].Room) {
			return c, nil, roomError(c.Rooms[i].Room)
		}
	}
	if err := c.takeUsername(target); err != nil {
		return c, nil, err
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = 30 * time.Second
	}
	c.BackoffBase = orDefault(c.BackoffBase, 500*time.Millisecond)
	c.BackoffCap = orDefault(c.BackoffCap, 20*time.Second)
	c.DialTimeout = orDefault(c.DialTimeout, 10*time.Second)
	c.MessageBytes = orDefault(c.MessageBytes, 64<<20)
	c.ReadBuffer = orDefault(c.ReadBuffer, 16<<10)
	if c.OnEvent == nil {
		c.OnEvent = func(Event) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Jitter == nil {
		c.Jitter = func(ceiling time.Duration) time.Duration {
			return rand.N(ceiling + 1)
		}
	}
	return c, target, nil
}

func roomError(room string) error {
	return fmt.Errorf("%w: room %q: want 1 to %d characters of A-Z a-z 0-9 _ - . : @ /", ErrConfig, room, protocol.MaxRoom)
}

// takeUsername moves a username from the URL to where its key can go with it, and
// judges it.
func (c *Config) takeUsername(target *url.URL) error {
	if q := target.Query(); q.Has("username") {
		if c.Username == "" {
			c.Username, c.UsernameKey = q.Get("username"), q.Get("username_key")
		}
		q.Del("username")
		q.Del("username_key")
		target.RawQuery = q.Encode()
	}
	if c.Username == "" {
		return nil
	}
	name, ok := protocol.NormalizeUser(c.Username)
	if !ok {
		return fmt.Errorf("%w: username: want 1 to %d letters, digits and _ - . @", ErrConfig, protocol.MaxUser)
	}
	if c.UsernameKey != "" && !protocol.ValidUserKey(c.UsernameKey) {
		return fmt.Errorf("%w: username key: want 1 to %d characters of A-Z a-z 0-9 _ -", ErrConfig, protocol.MaxUserKey)
	}
	c.Username = name
	return nil
}

func orDefault[N int | int64 | time.Duration](n, standard N) N {
	if n <= 0 {
		return standard
	}
	return n
}

// target makes the WebSocket URL to dial. Errors do not quote the URL: its
// query may hold a token.
func target(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: the URL does not parse", ErrConfig)
	}
	switch u.Scheme {
	case "http", "ws":
		u.Scheme = "ws"
	case "https", "wss":
		u.Scheme = "wss"
	default:
		return nil, fmt.Errorf("%w: URL: want http, https, ws or wss, not %q", ErrConfig, u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("%w: URL: no host", ErrConfig)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path, u.RawPath = "/ws", ""
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}
