package api

import (
	"container/list"
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
		ConnState:      waits,
	}
}

// ListenAdmin listens for the admin port. Where there are too many connections,
// the one that has asked for nothing for longest makes room: backends keep many
// that they do not use, and who looks whether the gateway is alive must not find
// the door shut for them. Only while all are being answered a new one is closed.
func ListenAdmin(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return newBoundedListener(l, maxAdminConnections), nil
}

// boundedListener has no more connections open than slots.
type boundedListener struct {
	net.Listener
	slots chan struct{}

	mu      sync.Mutex
	waiting *list.List // of *boundedConn that ask for nothing, for longest first
}

func newBoundedListener(l net.Listener, most int) *boundedListener {
	return &boundedListener{Listener: l, slots: make(chan struct{}, most), waiting: list.New()}
}

func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.enter() {
			return &boundedConn{Conn: c, listener: l}, nil
		}
		_ = c.Close()
	}
}

// enter takes a slot, if need be that of a connection that waits.
func (l *boundedListener) enter() bool {
	for {
		select {
		case l.slots <- struct{}{}:
			return true
		default:
		}
		l.mu.Lock()
		first := l.waiting.Front()
		l.mu.Unlock()
		if first == nil {
			return false
		}
		_ = first.Value.(*boundedConn).Close() // gives its slot back
	}
}

// boundedConn gives its slot back once.
type boundedConn struct {
	net.Conn
	listener *boundedListener
	place    *list.Element // among those that wait; guarded by the listener's mu
	closed   bool          // likewise
}

func (c *boundedConn) Close() error {
	l := c.listener
	l.mu.Lock()
	if !c.closed {
		c.closed = true
		c.leave()
		<-l.slots
	}
	l.mu.Unlock()
	return c.Conn.Close()
}

// leave takes it from those that wait.
func (c *boundedConn) leave() {
	if c.place != nil {
		c.listener.waiting.Remove(c.place)
		c.place = nil
	}
}

// waits is told by net/http what a connection does: one that is active has sent a
// byte of a request that is not answered yet.
func waits(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*boundedConn)
	if !ok {
		return
	}
	l := c.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	c.leave()
	if !c.closed && (state == http.StateNew || state == http.StateIdle) {
		c.place = l.waiting.PushBack(c)
	}
}
