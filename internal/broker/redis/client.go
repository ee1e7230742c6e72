package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// universal says how the client behaves. Nothing is retried by it: what may have
// run must not run again, and what to do when Redis is away is decided by lanes and
// subscribers.
func (c *Config) universal(o *goredis.Options, addresses []string) *goredis.UniversalOptions {
	u := &goredis.UniversalOptions{
		Addrs:      addresses,
		ClientName: c.Name,
		DB:         o.DB,
		Username:   o.Username,
		Password:   o.Password,
		TLSConfig:  o.TLSConfig,
		Dialer:     dialer(o.TLSConfig),
		// Push frames of RESP3 lost messages in several releases.
		Protocol:              2,
		DisableIdentity:       true,
		ContextTimeoutEnabled: true,
		MaxRetries:            -1,
		DialTimeout:           dialTimeout,
		DialerRetries:         1,
		ReadTimeout:           socketTimeout,
		WriteTimeout:          socketTimeout,
		PoolSize:              16, // for each node
		PipelinePoolSize:      -1, // pipelines share it
		PoolTimeout:           c.PublishTimeout,
		ConnMaxIdleTime:       5 * time.Minute,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
	if c.Mode == Cluster {
		u.IsClusterMode = true
		// A node that failed is asked again soon: there may be no other.
		u.FailingTimeoutSeconds = 1
	}
	return u
}

// quiet keeps the client from writing to standard error what is handled and
// logged here.
var quiet = sync.OnceFunc(func() { goredis.SetLogger(silence{}) })

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// dialed is the context's key of an *atomic.Bool: whether a connection was made.
type dialed struct{}

var errDialed = errors.New("connection ended")

// once returns a context in which one connection can be made. A goredis.PubSub
// makes a new connection by itself when one ends, and subscribes it while nobody
// can know; with this it only reports the end.
func once(ctx context.Context) context.Context {
	return context.WithValue(ctx, dialed{}, new(atomic.Bool))
}

// dialer resolves the name each time.
func dialer(secure *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		made, _ := ctx.Value(dialed{}).(*atomic.Bool)
		if made != nil && made.Load() {
			return nil, errDialed
		}
		plain := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
		var conn net.Conn
		var err error
		if secure == nil {
			conn, err = plain.DialContext(ctx, network, addr)
		} else {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			conn, err = (&tls.Dialer{NetDialer: plain, Config: secure}).DialContext(ctx, network, addr)
		}
		if err == nil && made != nil {
			made.Store(true)
		}
		return conn, err
	}
}

// command is a command that a client must not send again on its own, though it
// follows where a Cluster redirects.
type command struct{ *goredis.Cmd }

func (command) NoRetry() bool { return true }

// reply reports whether err is an answer of Redis, rather than none.
func reply(err error) bool {
	var e goredis.Error
	return errors.As(err, &e) && !errors.Is(err, goredis.Nil)
}
