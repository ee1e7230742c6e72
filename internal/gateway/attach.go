package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"github.com/fanfare-ws/fanfare/internal/loop"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// ErrDetached is Attach's of a request that did not come to a gateway, or to one
// that has ended.
var ErrDetached = errors.New("no gateway to attach to")

// Attach gives who answers a request of the public port a connection to the
// gateway, on which it speaks the WebSocket protocol, handshake first, for the
// request's client. So another way in has the permissions, limits and policies of
// a WebSocket, because it is one. The handshake has to pass on what the request
// said: Host, Origin, the token, and ForwardedProto. The connection must be
// closed; the gateway's Stop waits for that.
func Attach(r *http.Request) (net.Conn, error) {
	d, ok := r.Context().Value(doorKey{}).(*door)
	if !ok {
		return nil, ErrDetached
	}
	if !d.gw.streams.begin() {
		return nil, ErrDetached
	}
	d.conn.Settle() // the connection to be made has its own place
	conn, err := d.gw.idlest().Connect(d.client)
	if err != nil {
		d.gw.streams.end()
		return nil, err
	}
	return &attached{Conn: conn, end: sync.OnceFunc(d.gw.streams.end)}, nil
}

// ForwardedProto is by what the client sent the request, http or https, for the
// header X-Forwarded-Proto of a handshake by Attach; empty: not known.
func ForwardedProto(r *http.Request) string {
	d, ok := r.Context().Value(doorKey{}).(*door)
	switch {
	case !ok:
		return ""
	case d.conn.Proxied():
		return r.Header.Get("X-Forwarded-Proto")
	case d.conn.Secure():
		return "https"
	}
	return ""
}

// MayRead reports whether the page that sent a request may have its answer: one of
// an origin that may connect. A request without an Origin is no page's.
func MayRead(r *http.Request) bool {
	d, ok := r.Context().Value(doorKey{}).(*door)
	if !ok {
		return false
	}
	o, ok := parseOrigin(strings.Join(r.Header.Values("Origin"), ","))
	edge := &d.gw.live().Edge
	return ok && edge.allows(o, r.Host, ForwardedProto(r))
}

type attached struct {
	net.Conn
	end func()
}

func (a *attached) Close() error {
	defer a.end()
	return a.Conn.Close()
}

// door is where a plain request came in.
type door struct {
	gw     *Gateway
	conn   plainConn
	client netip.AddrPort
}

type doorKey struct{}

// plainConn is what the loops hand over, beside being a net.Conn.
type plainConn interface {
	Settle()
	Proxied() bool
	Secure() bool
}

func (g *Gateway) withDoor(ctx context.Context, c net.Conn) context.Context {
	conn, ok := c.(plainConn)
	addr, isTCP := c.RemoteAddr().(*net.TCPAddr)
	if !ok || !isTCP {
		return ctx
	}
	return context.WithValue(ctx, doorKey{}, &door{gw: g, conn: conn, client: addr.AddrPort()})
}

// idlest is the loop with the fewest connections.
func (g *Gateway) idlest() *loop.Loop {
	best := g.shards[0].loop
	for _, s := range g.shards[1:] {
		if s.loop.Conns() < best.Conns() {
			best = s.loop
		}
	}
	return best
}

// streams counts what is attached, so that it can be waited for.
type streams struct {
	open *metrics.Gauge

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

func (s *streams) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	s.open.Add(1)
	return true
}

func (s *streams) end() {
	s.open.Add(-1)
	s.running.Done()
}

// close waits for what is attached, and takes no more.
func (s *streams) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.running.Wait()
}
