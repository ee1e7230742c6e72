package loop

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/poll"
)

const (
	sparedPartials = 64
	headGuess      = 1024 // bytes for a head that comes in parts
	// lingering is how many refused sockets of a loop may wait for their peer to
	// read the answer; a flood beyond it is cut off.
	lingering = 1024
)

// adopt makes a socket a connection.
func (l *Loop) adopt(a adoption) {
	if l.stopping {
		l.metrics.Rejected(frame.ReasonDraining)
		l.decline(a)
		return
	}
	c := &Conn{
		loop:     l,
		hold:     holdState,
		fd:       int32(a.fd),
		id:       connIDs.Add(1),
		lastSeen: l.now,
		secure:   a.secure,
	}
	if c.secure != nil {
		c.secure.attach(l, a.fd)
	}
	c.setClient(a.peer)
	l.place(c)
	l.metrics.Handshakes.Add(1)
	if err := l.poller.Add(a.fd, c.token()); err != nil {
		l.failed(c, err)
		return
	}
	refusal := l.enter(c, a.inner)
	if refusal == nil && a.header != nil {
		refusal = l.named(c, *a.header)
	}
	if refusal != nil {
		l.refuse(c, refusal)
		return
	}
	if l.cfg.HandshakeTimeout > 0 {
		l.schedule(c, l.now+int64(l.cfg.HandshakeTimeout))
	}
	if c.secure != nil {
		l.readable(c, false) // what came right behind its handshake
	}
}

// place gives c a slot.
func (l *Loop) place(c *Conn) {
	if n := len(l.free); n > 0 {
		c.slot = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		c.slot = uint32(len(l.slots))
		l.slots = append(l.slots, nil)
		l.generations = append(l.generations, 0)
	}
	l.slots[c.slot] = c
}

// receivedHead collects the request head. Each byte is searched once.
func (l *Loop) receivedHead(c *Conn, b []byte) {
	searched := 0
	if p := c.partial; p != nil {
		searched = len(p.head)
		p.head = append(p.head, b...)
		b = p.head
	}
	if c.flags&flagPreface != 0 {
		n, refusal := l.preface(c, b)
		if refusal != nil {
			l.refuse(c, refusal)
			return
		}
		if n == 0 {
			l.keepHead(c, b)
			return
		}
		b, searched = b[n:], 0
	}
	if end := frame.HeadEnd(b, searched); end >= 0 {
		p := c.partial // b may lie in it
		c.partial = nil
		l.answer(c, b, end)
		l.spare(p)
		return
	}
	if limit := l.cfg.Head.Bytes; limit > 0 && len(b) >= limit {
		l.refuse(c, frame.HeadTooLarge(l.cfg.Head))
		return
	}
	l.keepHead(c, b)
}

// keepHead keeps b for what comes next. Where something is kept already, b is all
// of it but for a header before it that has been read.
func (l *Loop) keepHead(c *Conn, b []byte) {
	if c.partial == nil {
		c.partial = l.newPartial()
	}
	p := c.partial
	if cap(p.head) == 0 {
		p.head = make([]byte, 0, headGuess)
	}
	if len(b) != len(p.head) {
		p.head = append(p.head[:0], b...)
	}
}

// answer answers a complete head, which is b[:end].
func (l *Loop) answer(c *Conn, b []byte, end int) {
	r := &l.request
	if refusal := frame.ParseHead(r, b[:end], l.cfg.Head); refusal != nil {
		l.refuse(c, refusal)
		return
	}
	if refusal := l.forwarded(c, r); refusal != nil {
		l.refuse(c, refusal)
		return
	}
	if !r.IsUpgrade() {
		l.plain(c, b)
		return
	}
	handshake, refusal := frame.ReadHandshake(r)
	if refusal != nil {
		l.refuse(c, refusal)
		return
	}
	admission, refusal := l.handler.Upgrade(c, r)
	if refusal != nil {
		l.refuse(c, refusal)
		return
	}
	up := handshake.Accept(l.control[:0], frame.UpgradeOptions{
		Subprotocol: admission.Subprotocol,
		Deflate:     admission.Deflate && l.cfg.Deflate,
	})
	if up.Deflate {
		c.flags |= flagDeflate
	}
	if admission.Binary {
		c.flags |= flagBinary
	}
	l.control = up.Response
	l.open(c, up.Response)
	l.receivedFrames(c, b[end:])
}

// open: c is a WebSocket from now on.
func (l *Loop) open(c *Conn, response []byte) {
	l.handshakeOver(c)
	l.metrics.Opened.Inc()
	l.metrics.Connections.Add(1)
	c.state = open
	c.hold &^= holdState
	c.flags |= flagOpened | flagUnpinged
	c.lastSeen = l.now
	c.enqueue(response)
	l.scheduleFirst(c)
	l.handler.Open(c)
}

// plain hands a request that is no upgrade to Config.Plain, with all that was
// read. The loop forgets the socket.
func (l *Loop) plain(c *Conn, b []byte) {
	if l.cfg.Plain == nil {
		l.refuse(c, &frame.Refusal{
			Status:  http.StatusUpgradeRequired,
			Code:    "upgrade_required",
			Message: "only WebSocket upgrades are served here",
			Header:  [][2]string{{"Upgrade", "websocket"}},
			Reason:  frame.ReasonPath,
		})
		return
	}
	leave := l.keepPlace(c)
	l.handshakeOver(c)
	// The duplicate below shares the registration, so closing would not end it.
	_ = l.poller.Remove(int(c.fd))
	file := os.NewFile(uintptr(c.fd), "")
	conn, err := net.FileConn(file)
	_ = file.Close()
	c.fd = -1
	l.end(c)
	if err != nil {
		leave()
		return
	}
	if c.secure != nil {
		conn = c.secure.detach(conn)
	}
	l.cfg.Plain(&plainConn{
		Conn: conn, client: c.Client(), proxied: c.Proxied(), secure: c.Secure(), read: append([]byte(nil), b...), leave: leave,
	})
}

// keepPlace lets c's place at the gate be given back later than its handshake is
// over, once: who holds requests open must not hold more than handshakes.
func (l *Loop) keepPlace(c *Conn) (leave func()) {
	if c.flags&flagAdmitted == 0 {
		return func() {}
	}
	c.flags &^= flagAdmitted
	addr := c.counted()
	return sync.OnceFunc(func() { l.cfg.Gate.leave(addr) })
}

// plainConn yields first what the loop has read. It has a place at the gate until
// it is closed or Settle is called.
type plainConn struct {
	net.Conn
	client  netip.AddrPort
	proxied bool
	secure  bool
	read    []byte
	leave   func()
}

// Settle gives the place at the gate back: who is there now counts as a
// connection.
func (p *plainConn) Settle() { p.leave() }

// Proxied is Conn.Proxied's.
func (p *plainConn) Proxied() bool { return p.proxied }

// Secure is Conn.Secure's.
func (p *plainConn) Secure() bool { return p.secure }

// RemoteAddr is Conn.Client's: that of whom the request is from.
func (p *plainConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(p.client) }

func (p *plainConn) Close() error {
	defer p.leave()
	return p.Conn.Close()
}

func (p *plainConn) Read(b []byte) (int, error) {
	if len(p.read) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.read)
	if p.read = p.read[n:]; len(p.read) == 0 {
		p.read = nil
	}
	return n, nil
}

// CloseWrite is there for net/http, which shuts the writing side before it
// closes on unread bytes.
func (p *plainConn) CloseWrite() error {
	if half, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// refuse answers a handshake with HTTP and ends the connection, once the peer
// has had time to read the answer.
func (l *Loop) refuse(c *Conn, refusal *frame.Refusal) {
	if c.state != handshaking {
		return
	}
	l.metrics.Rejected(refusal.Reason)
	l.handshakeOver(c)
	l.dropPartial(c)
	c.state = closing
	c.flags |= flagDiscard
	c.enqueue(refusal.Append(nil))
	c.Flush()
	if c.state == closed {
		return
	}
	if l.refused >= lingering {
		l.end(c)
		return
	}
	c.flags |= flagRefused
	l.refused++
	l.schedule(c, l.now+int64(l.cfg.Linger))
}

// timedOut refuses a head that did not come in time, which is that of when the
// socket was adopted.
func (l *Loop) timedOut(c *Conn) {
	within := time.Duration(c.due - c.lastSeen).Round(time.Millisecond)
	l.refuse(c, &frame.Refusal{
		Status:  http.StatusRequestTimeout,
		Message: "the request head did not arrive within " + within.String(),
		Reason:  frame.ReasonTimeout,
	})
}

// handshakeOver ends what the handshake holds, however it went.
func (l *Loop) handshakeOver(c *Conn) {
	l.metrics.Handshakes.Add(-1)
	if c.flags&flagAdmitted != 0 {
		c.flags &^= flagAdmitted
		l.cfg.Gate.leave(c.counted())
	}
	l.wheel.remove(c)
}

func (l *Loop) newPartial() *partial {
	if n := len(l.partials); n > 0 {
		p := l.partials[n-1]
		l.partials = l.partials[:n-1]
		return p
	}
	return new(partial)
}

// dropPartial: what had begun is whole, or over.
func (l *Loop) dropPartial(c *Conn) {
	l.spare(c.partial)
	c.partial = nil
}

func (l *Loop) spare(p *partial) {
	if p == nil {
		return
	}
	if len(l.partials) < sparedPartials && cap(p.head) <= sparedBytes {
		*p = partial{head: p.head[:0]}
		l.partials = append(l.partials, p)
	}
}

// freeSlot lets c's slot go to another, under another generation.
func (l *Loop) freeSlot(c *Conn) {
	l.slots[c.slot] = nil
	l.generations[c.slot]++
	l.free = append(l.free, c.slot)
	l.conns.Add(-1)
	if c.fd < 0 {
		return
	}
	l.poller.Forget(int(c.fd))
	if c.flags&flagReset != 0 {
		_ = poll.Reset(int(c.fd))
	} else {
		_ = poll.Close(int(c.fd))
	}
}
