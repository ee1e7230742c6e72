package gateway

import (
	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/loop"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

const (
	// PathWS and PathEcho are where WebSockets are upgraded.
	PathWS   = "/ws"
	PathEcho = "/echo"

	retryAfter = "1" // seconds, for who is refused for load

	reasonAcceptRate = "accept_rate"
)

// Upgrade is loop.Handler's: it decides who may connect.
func (s *shard) Upgrade(c *loop.Conn, r *frame.Request) (loop.Admission, *frame.Refusal) {
	switch {
	case r.Path == PathWS:
	case r.Path == PathEcho && s.gw.cfg.Echo:
	default:
		return loop.Admission{}, &frame.Refusal{Status: 404, Reason: frame.ReasonPath, Message: "no WebSocket here: connect to " + PathWS}
	}
	if refusal := s.overload(); refusal != nil {
		return loop.Admission{}, refusal
	}
	q, refusal := s.enterAddress(c.Client().Addr())
	if refusal != nil {
		return loop.Admission{}, refusal
	}
	admission, refusal := s.admit(c, r, q)
	if _, ok := c.Data.(*session); refusal != nil || !ok {
		s.gw.leave(q) // a session gives it back itself
	}
	return admission, refusal
}

// admit judges what the request says. A session is counted by q from now on.
func (s *shard) admit(c *loop.Conn, r *frame.Request, q *quota) (loop.Admission, *frame.Refusal) {
	if refusal := s.gw.live().Edge.admit(r, scheme(c, r)); refusal != nil {
		return loop.Admission{}, refusal
	}
	query, refusal := r.QueryValues()
	if refusal != nil {
		return loop.Admission{}, refusal
	}
	id, refusal := s.gw.Identify(query, r.HeaderValues("Authorization"), r.Subprotocols())
	if refusal != nil {
		return loop.Admission{}, refusal
	}
	if r.Path == PathEcho {
		c.Data = &echo{shard: s}
		return loop.Admission{Deflate: s.gw.cfg.Deflate, Binary: true}, nil
	}
	g, problem := parseGreeting(query)
	if problem != "" {
		return loop.Admission{}, frame.BadRequest(frame.ReasonQuery, problem)
	}
	ses := newSession(s, c, g)
	ses.quota = q
	if id != nil {
		ses.caller = s.gw.newCaller(ses, id)
	}
	if refusal := s.enterUser(ses); refusal != nil {
		return loop.Admission{}, refusal
	}
	c.Data = ses
	return loop.Admission{Subprotocol: protocol.Subprotocol, Deflate: s.gw.cfg.Deflate}, nil
}

// scheme is what the client's request came by, http or https; "" where that is
// not known, for what is before the gateway may end TLS and not say so.
func scheme(c *loop.Conn, r *frame.Request) string {
	switch {
	case c.Proxied():
		return r.ForwardedProto()
	case c.Secure():
		return "https"
	}
	return ""
}

// overload counts what limit the gateway's overload is of.
func (s *shard) overload() *frame.Refusal {
	refusal := s.gw.overload()
	if refusal == nil {
		return nil
	}
	switch refusal.Reason {
	case frame.ReasonConnections:
		s.m.Limited(metrics.LimitConnections)
	case frame.ReasonQueuedBytes:
		s.m.Limited(metrics.LimitQueuedBytes)
	case frame.ReasonMemory:
		s.m.Limited(metrics.LimitMemory)
	}
	return refusal
}

// overload says why no one may connect now; nil is that they may.
func (g *Gateway) overload() *frame.Refusal {
	refuse := func(reason, message string) *frame.Refusal {
		return &frame.Refusal{Status: 503, Reason: reason, Code: "unavailable", Message: message, Header: [][2]string{{"Retry-After", retryAfter}}}
	}
	live := g.live()
	limits := &live.Limits
	switch {
	case g.draining.Load():
		return refuse(frame.ReasonDraining, "this gateway is going away")
	case g.brokerReady() != nil:
		return refuse(frame.ReasonNotReady, "this gateway is not ready")
	case limits.Connections > 0 && g.Connections() >= limits.Connections:
		return refuse(frame.ReasonConnections, "this gateway has all the connections it may have")
	case limits.QueuedBytes > 0 && g.queuedBytes() >= limits.QueuedBytes:
		return refuse(frame.ReasonQueuedBytes, "this gateway's queues are full")
	case limits.MemoryBytes > 0 && g.memory.Load() >= limits.MemoryBytes:
		return refuse(frame.ReasonMemory, "this gateway has no memory to spare")
	case g.accepts.take(monotonic(), 1, rate{int64(live.AcceptRate), int64(live.AcceptRate)}) > 0:
		return refuse(reasonAcceptRate, "too many connect at once")
	}
	return nil
}
