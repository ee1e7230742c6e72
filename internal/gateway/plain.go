package gateway

import (
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// plainWaiting is how many connections may wait for net/http to take them.
const plainWaiting = 256

// handoff is the listener of the net/http server that answers what is no
// WebSocket: its connections come from the event loops, with what was read.
type handoff struct {
	addr  net.Addr
	conns chan net.Conn
	once  sync.Once
	ended chan struct{}
}

func newHandoff(addr net.Addr) *handoff {
	return &handoff{addr: addr, conns: make(chan net.Conn, plainWaiting), ended: make(chan struct{})}
}

// take hands a connection over without waiting. One too many is closed.
func (h *handoff) take(c net.Conn) {
	select {
	case h.conns <- c:
	default:
		_ = c.Close()
	}
	select {
	case <-h.ended: // no one takes it out any more
		_ = h.Close()
	default:
	}
}

// Accept is net.Listener's.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.ended:
		return nil, net.ErrClosed
	}
}

// Close is net.Listener's.
func (h *handoff) Close() error {
	h.once.Do(func() { close(h.ended) })
	for {
		select {
		case c := <-h.conns:
			_ = c.Close()
		default:
			return nil
		}
	}
}

// Addr is net.Listener's.
func (h *handoff) Addr() net.Addr { return h.addr }

// newPlainServer is for short answers. A connection serves one request: what
// came after it on the same connection, an upgrade too, would have left its
// event loop.
func newPlainServer(h http.Handler, log *slog.Logger) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.SetKeepAlivesEnabled(false)
	return s
}
