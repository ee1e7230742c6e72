package config

import (
	"log/slog"
	"runtime"
	"time"
)

// Config is all that can be configured. A limit of 0 is none. The fields are
// explained in the table of options.go.
type Config struct {
	File             string // what --config or FANFARE_CONFIG named; empty: no file
	Listen           string // host:port
	Admin            Admin
	Loops            int // 0: one for each processor, see LoopCount
	Echo             bool
	Log              Log
	Heartbeat        Heartbeat
	Drain            Drain
	Auth             Auth
	API              API
	Dev              bool     // the API needs no key on this machine
	Origins          []string // scheme://host[:port] in lower case without a default port, or "*"; empty: same host only
	OriginRequired   bool
	TrustedProxies   []string // addresses and CIDR networks
	ProxyProtocol    bool     // from TrustedProxies
	TLS              TLS
	Compression      Compression
	Limits           Limits
	Dedup            Dedup
	Memory           Memory
	Redis            Redis
	Events           Events
	Tracing          Tracing
	AcceptRate       int // upgrades a second; 0: any
	Rebalance        Rebalance
	MaxConnectionAge time.Duration // 0: any
	Rooms            []RoomClass   // the first that matches decides; the last matches every room

	sources map[string]string // where a key that is not at its default was set
}

// TLS is the certificate of Listen, by the paths of PEM files; both or neither.
type TLS struct {
	Cert, Key string
}

// Admin is the port for operators.
type Admin struct {
	Listen string // host:port
	Pprof  bool
}

// Log says what is logged and how.
type Log struct {
	Level  slog.Level
	Format string // "text" or "json"
}

// Heartbeat is how silent connections are found. Timeout is longer than Interval.
type Heartbeat struct {
	Interval time.Duration
	Timeout  time.Duration
}

// Drain is how a gateway goes away.
type Drain struct {
	Period time.Duration // 0: all connections are closed at once
}

// Compression is permessage-deflate.
type Compression struct {
	Enabled bool
}

// Memory is the embedded broker.
type Memory struct {
	Bytes int64 // of all rooms together
}

// Redis is the broker that gateways share. Without a URL and addresses there is
// none, and the gateway is a service by itself.
type Redis struct {
	URL              string   // redis:// or rediss://, with user, password and database
	Mode             string   // standalone, sentinel or cluster
	Addresses        []string // host:port, in place of the URL's
	SentinelMaster   string
	SentinelUsername string
	SentinelPassword string
	Prefix           string // of every key and channel
	Partitions       int    // of a cluster
	CAFile           string // PEM; empty: the system's
}

// Shared says whether there is a broker that gateways share.
func (r *Redis) Shared() bool { return r.URL != "" || len(r.Addresses) > 0 }

// Rebalance is whether a gateway sends away what it holds above the mean.
type Rebalance struct {
	Enabled bool
}

// Dedup is how long the id of a publish is remembered.
type Dedup struct {
	Window time.Duration // 0: not at all
}

// Default returns the configuration where nothing is configured.
func Default() *Config {
	c := new(Config)
	for _, o := range c.options() {
		if err := o.value.set(o.def); err != nil {
			panic("config: default of " + o.key + ": " + err.Error())
		}
	}
	return c
}

// LoopCount is the number of event loops: Loops, or one for each processor that
// the process may use.
func (c *Config) LoopCount() int {
	if c.Loops == 0 {
		return runtime.GOMAXPROCS(0)
	}
	return c.Loops
}
