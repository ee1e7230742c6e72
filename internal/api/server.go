package api

import (
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxAdminConnections bounds the connections of the admin port, so that who opens
// them without end takes no descriptors from the clients.
const maxAdminConnections = 1024

// NewAdminServer makes the server of the admin port. A caller has 10 s for a
// request with its body, and a connection that asks for nothing is kept for 2
// minutes, longer than balancers keep theirs. WriteTimeout is long for the sake
// of profiles; calls have times of their own.
func NewAdminServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:        h,
		ReadTimeout:    10 * time.Second, // of the head too
		WriteTimeout:   5 * time.Minute,
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// ListenAdmin listens for the admin port. One connection too many is closed.
func ListenAdmin(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return &boundedListener{Listener: l, slots: make(chan struct{}, maxAdminConnections)}, nil
}

// boundedListener has no more connections open than slots.
type boundedListener struct {
	net.Listener
	slots chan struct{}
}

func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &boundedConn{Conn: c, slots: l.slots}, nil
		default:
			_ = c.Close()
		}
	}
}

// boundedConn gives its slot back once.
type boundedConn struct {
	net.Conn
	slots chan struct{}
	once  sync.Once
}

func (c *boundedConn) Close() error {
	c.once.Do(func() { <-c.slots })
	return c.Conn.Close()
}
