package redis

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// Mode says how the address of a server is found.
type Mode string

// The modes.
const (
	Standalone Mode = "standalone"
	Sentinel   Mode = "sentinel" // Addresses are the sentinels'
	Cluster    Mode = "cluster"  // Addresses are some of the nodes'
)

// Config of a Broker. The zero value of a field stands for its default.
type Config struct {
	// URL is redis://USER:PASSWORD@HOST:PORT/DB, or rediss:// for TLS; default
	// redis://127.0.0.1:6379. Query parameters are refused.
	URL  string
	Mode Mode // default Standalone
	// Addresses, HOST:PORT, take the place of the URL's where they are given.
	Addresses []string
	// SentinelMaster names the server that the sentinels watch.
	SentinelMaster string
	// SentinelUsername and SentinelPassword are for the sentinels themselves.
	SentinelUsername, SentinelPassword string
	// TLS, where it is not nil, takes the place of what rediss:// means.
	TLS *tls.Config

	// Prefix begins the name of every key and channel; default fanfare. Letters,
	// digits and _ - . : only.
	Prefix string
	// Partitions of a Cluster: the same for all gateways, or they do not find each
	// other's rooms. Default 64.
	Partitions int
	// Name is this gateway's in CLIENT LIST; default fanfare.
	Name string

	// Bounds of a room's history, asked with each publication and Range; default 256
	// messages or 1 MiB for 10 minutes.
	Bounds func(room string) broker.Bounds
	// DedupWindow is for how long a publish ID counts; default 2 minutes, below 0
	// not at all.
	DedupWindow time.Duration

	// Events is about how many lifecycle events each partition keeps; 0: none are
	// written.
	Events int

	// Queue and QueueBytes bound the publications that wait, by number (default
	// 65536) and by bytes of Data (default 64 MiB).
	Queue      int
	QueueBytes int64
	// Inbox and InboxBytes bound what each subscriber has read and not yet handed
	// over: default 65536 messages and 64 MiB.
	Inbox      int
	InboxBytes int64

	// PublishTimeout bounds a pipeline; default 2 s. Longer than a server's pauses,
	// shorter than a publisher's patience.
	PublishTimeout time.Duration
	// ReadTimeout bounds what Range and its like wait for; default 5 s.
	ReadTimeout time.Duration
	// ProbeInterval is between two probes of a connection, default 2 s; ProbeTimeout
	// is for how long delivery is believed in without a proof, default 6 s: three
	// probes, and well below the 15 s in which readiness must turn.
	ProbeInterval, ProbeTimeout time.Duration

	Log     *slog.Logger   // default discards
	Metrics *metrics.Relay // default a Relay that nobody reads
	// Depth is the number of publications waiting; Refused counts those that were
	// answered without being sent. Both may be nil.
	Depth   *metrics.Gauge
	Refused *metrics.Counter
}

const (
	// standaloneShards use two connections in each direction: while one pipeline's
	// answers are read, the server works at the other's.
	standaloneShards = 2
	// stateLife is how long a room's state lives at least after its last use.
	stateLife = 24 * time.Hour
	// strangerLife is the same for a room that was only asked about.
	strangerLife = 10 * time.Minute
	dialTimeout  = 2 * time.Second
	// socketTimeout bounds a read or a write where the caller's time does not.
	socketTimeout = 3 * time.Second
)

var defaultHistory = broker.Bounds{Messages: 256, Bytes: 1 << 20, Age: 10 * time.Minute}

func (c *Config) setDefaults() {
	c.URL = cmp.Or(c.URL, "redis://127.0.0.1:6379")
	c.Mode = cmp.Or(c.Mode, Standalone)
	c.Prefix = cmp.Or(c.Prefix, "fanfare")
	c.Partitions = cmp.Or(c.Partitions, 64)
	c.Name = cmp.Or(c.Name, "fanfare")
	if c.Bounds == nil {
		c.Bounds = func(string) broker.Bounds { return defaultHistory }
	}
	c.DedupWindow = cmp.Or(c.DedupWindow, 2*time.Minute)
	c.Queue = cmp.Or(c.Queue, 65536)
	c.QueueBytes = cmp.Or(c.QueueBytes, 64<<20)
	c.Inbox = cmp.Or(c.Inbox, 65536)
	c.InboxBytes = cmp.Or(c.InboxBytes, 64<<20)
	c.PublishTimeout = cmp.Or(c.PublishTimeout, 2*time.Second)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, 5*time.Second)
	c.ProbeInterval = cmp.Or(c.ProbeInterval, 2*time.Second)
	c.ProbeTimeout = cmp.Or(c.ProbeTimeout, 6*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = metrics.NewRelay()
	}
	if c.Depth == nil {
		c.Depth = new(metrics.Gauge)
	}
	if c.Refused == nil {
		c.Refused = new(metrics.Counter)
	}
}

// parse checks the configuration and returns what the client is made with. Errors
// do not repeat the URL, which may hold a password.
func (c *Config) parse() (*goredis.UniversalOptions, error) {
	if strings.Contains(c.URL, "?") {
		return nil, errors.New("redis url: query parameters are not taken")
	}
	o, err := goredis.ParseURL(c.URL)
	if err != nil || o.Network == "unix" {
		return nil, errors.New("redis url: want redis://USER:PASSWORD@HOST:PORT/DB or rediss://")
	}
	if c.TLS != nil {
		o.TLSConfig = c.TLS
	}
	addresses := c.Addresses
	if len(addresses) == 0 {
		addresses = []string{o.Addr}
	}
	switch {
	case c.Mode == Standalone && len(addresses) > 1:
		return nil, fmt.Errorf("redis: %d addresses, but the mode is standalone", len(addresses))
	case c.Mode == Sentinel && c.SentinelMaster == "":
		return nil, errors.New("redis: the mode is sentinel, but no master is named")
	case c.Mode == Cluster && o.DB != 0:
		return nil, errors.New("redis: a cluster has no database but 0")
	case c.Mode != Standalone && c.Mode != Sentinel && c.Mode != Cluster:
		return nil, fmt.Errorf("redis mode %q: want standalone, sentinel or cluster", c.Mode)
	case strings.Trim(c.Prefix, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.:") != "":
		return nil, errors.New("redis prefix: letters, digits and _ - . : only")
	case c.Partitions < 1 || c.Partitions > 1024:
		return nil, errors.New("redis partitions: 1 to 1024")
	case c.ProbeTimeout <= c.ProbeInterval || c.ProbeTimeout >= 15*time.Second:
		return nil, errors.New("redis probe timeout: longer than the interval, below 15 s")
	}
	return c.universal(o, addresses), nil
}
