package loop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/poll"
)

const (
	// sealedMost is how much is sealed before it is seen whether the socket takes
	// it: what a slow client's connection holds of its own at most. It is a record.
	sealedMost = 16 << 10
	// readsSecure is how often a socket is read in an event. A record takes two
	// reads, one that brings its length and one for the rest.
	readsSecure = 4
)

// secure is a connection's TLS, and the net.Conn below it. A Terminator does the
// handshake, on a socket that can be waited for. Then it is its loop's, and below
// is the bare descriptor: reading what is not there is a timeout, which a tls.Conn
// survives, and what is written is collected in Loop.sealed, which the socket is
// given at once and whose rest the connection's outbox keeps. For net/http it is
// one that can be waited for again.
type secure struct {
	tls    *tls.Conn
	socket waiter        // nil on a loop
	turns  chan struct{} // who computes in a handshake has taken one out; nil afterwards
	early  []byte        // was read ahead of the handshake
	loop   *Loop
	fd     int32
	reads  int8 // from the socket that are left in this event
}

// waiter is a socket whose reads and writes wait.
type waiter interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// Secure says whether the connection came by TLS.
func (c *Conn) Secure() bool { return c.secure != nil }

// attach gives the TLS to the loop that owns the descriptor.
func (s *secure) attach(l *Loop, fd int) {
	s.loop, s.fd = l, int32(fd)
}

// detach takes it from its loop: from now on it waits on the socket.
func (s *secure) detach(socket net.Conn) net.Conn {
	s.socket, s.loop = socket, nil
	return s.tls
}

// Read is net.Conn's, for the tls.Conn.
func (s *secure) Read(b []byte) (int, error) {
	if len(s.early) > 0 {
		n := copy(b, s.early)
		if s.early = s.early[n:]; len(s.early) == 0 {
			s.early = nil
		}
		return n, nil
	}
	if s.socket != nil {
		return s.waiting(s.socket.Read, b)
	}
	if s.reads <= 0 {
		return 0, os.ErrDeadlineExceeded
	}
	s.reads--
	n, err := poll.Read(int(s.fd), b)
	if err == poll.ErrAgain {
		err = os.ErrDeadlineExceeded
	}
	if n < len(b) {
		s.reads = 0 // that was all
	}
	return n, err
}

// Write is net.Conn's, for the tls.Conn.
func (s *secure) Write(b []byte) (int, error) {
	if s.socket != nil {
		return s.waiting(s.socket.Write, b)
	}
	s.loop.sealed = append(s.loop.sealed, b...)
	return len(b), nil
}

// waiting lets others compute while call waits.
func (s *secure) waiting(call func([]byte) (int, error), b []byte) (int, error) {
	if s.turns == nil {
		return call(b)
	}
	s.turns <- struct{}{}
	defer func() { <-s.turns }()
	return call(b)
}

// Close is net.Conn's. A loop closes its descriptors itself.
func (s *secure) Close() error {
	if s.socket == nil {
		return nil
	}
	return s.socket.Close()
}

// SetDeadline is net.Conn's. On a loop nothing waits.
func (s *secure) SetDeadline(t time.Time) error {
	if s.socket == nil {
		return nil
	}
	return s.socket.SetDeadline(t)
}

// SetReadDeadline is net.Conn's.
func (s *secure) SetReadDeadline(t time.Time) error {
	if s.socket == nil {
		return nil
	}
	return s.socket.SetReadDeadline(t)
}

// SetWriteDeadline is net.Conn's.
func (s *secure) SetWriteDeadline(t time.Time) error {
	if s.socket == nil {
		return nil
	}
	return s.socket.SetWriteDeadline(t)
}

// LocalAddr is net.Conn's.
func (s *secure) LocalAddr() net.Addr {
	if c, ok := s.socket.(net.Conn); ok {
		return c.LocalAddr()
	}
	return net.TCPAddrFromAddrPort(netip.AddrPort{})
}

// RemoteAddr is net.Conn's. Nobody asks it: who is there, Conn.Client says.
func (s *secure) RemoteAddr() net.Addr {
	if c, ok := s.socket.(net.Conn); ok {
		return c.RemoteAddr()
	}
	return net.TCPAddrFromAddrPort(netip.AddrPort{})
}

// readSecure reads what is there, as often as reads says, and all of it that the
// tls.Conn has: of that the poller knows nothing.
func (l *Loop) readSecure(c *Conn, reads int) {
	s := c.secure
	s.reads = int8(reads * readsSecure)
	for c.state != closed {
		n, err := s.tls.Read(l.buf)
		l.answered(c)
		if n > 0 && c.state != closed {
			l.received(c, l.buf[:n])
		}
		switch {
		case err == nil:
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
		case c.state == closed:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			l.ended(c)
		default:
			l.failed(c, err)
		}
		return
	}
}

// answered sends what TLS itself has to say to what was read: a new key, or an
// alert. Who asks for answers and takes none is ended.
func (l *Loop) answered(c *Conn) {
	if len(l.sealed) == 0 {
		return
	}
	blocked := c.hold&holdBlocked != 0
	if err := c.push(); err != nil && !blocked {
		c.short(0, err)
	}
	if c.state == closed || c.roomFor(0) {
		return
	}
	if c.state == handshaking {
		l.failed(c, poll.ErrAgain)
	}
	c.Abort(metrics.CloseReplies)
}

// seal gives the socket b through TLS and returns how much of it was taken, which
// with ErrAgain may be all of it: the socket is full, and the outbox has what it
// did not take of that.
func (c *Conn) seal(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var taken int
		if taken, err = c.secure.tls.Write(b[n:min(n+sealedMost, len(b))]); err != nil {
			c.loop.sealed = c.loop.sealed[:0]
			return n, err
		}
		if err = c.push(); err != nil && err != poll.ErrAgain {
			return 0, err
		}
		n += taken
	}
	return n, err
}

// push gives the socket what was sealed, behind what it has not taken of that
// yet.
func (c *Conn) push() error {
	l := c.loop
	b := l.sealed
	l.sealed = l.sealed[:0]
	n, err := 0, poll.ErrAgain
	if c.out == nil || len(c.out.sealed) == 0 {
		n, err = poll.Write(int(c.fd), b)
	}
	if n == len(b) {
		return nil
	}
	if err != nil && err != poll.ErrAgain {
		return err
	}
	o := c.box()
	o.sealed = append(o.sealed, b[n:]...)
	l.queued += len(b) - n
	return poll.ErrAgain
}

// pushRest is push for what the outbox keeps; false: there is still some.
func (c *Conn) pushRest(o *outbox) bool {
	if len(o.sealed) == 0 {
		return true
	}
	n, err := poll.Write(int(c.fd), o.sealed)
	c.loop.queued -= n
	o.sealed = o.sealed[:copy(o.sealed, o.sealed[n:])]
	if len(o.sealed) > 0 {
		c.short(n, err)
		return false
	}
	return true
}

// sayEnd tells the peer, in TLS, that nothing more comes; false: the socket has
// not taken that yet.
func (c *Conn) sayEnd() bool {
	if err := c.secure.tls.CloseWrite(); err != nil || len(c.loop.sealed) == 0 {
		return true // it has been said
	}
	if err := c.push(); err != nil {
		c.short(0, err)
		return c.state == closed
	}
	return true
}
