package swarm

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/poll"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// link is a connection's TLS, and the net.Conn below it. A goroutine does the
// handshake, on a socket that can be waited for. Then it is the swarm's, and below
// is the bare descriptor: reading what is not there is a timeout, which a tls.Conn
// survives, and what is written is collected in Swarm.sealed.
type link struct {
	swarm  *Swarm
	tls    *tls.Conn
	socket *os.File // nil: the handshake is over
	fd     int
}

// handshakes are the TLS handshakes under way. Goroutines hand in how theirs
// ended, and wake the swarm.
type handshakes struct {
	turns   chan struct{} // who is in one has put one in
	running sync.WaitGroup
	mu      sync.Mutex
	ended   []shaken
}

// handshakesAtOnce bounds those that compute, or wait for the gateway to: a
// thousand at once would all be late, where one after the other most are in time.
const handshakesAtOnce = 128

// shaken is a TLS handshake that is over.
type shaken struct {
	slot, generation uint32
	fd               int
	err              error
}

// secure begins the TLS handshake on a connected socket.
func (s *Swarm) secure(c *client, config *tls.Config) {
	if err := s.poller.Remove(c.fd); err != nil {
		s.fail(err)
		return
	}
	l := &link{swarm: s, socket: os.NewFile(uintptr(c.fd), "")}
	l.tls = tls.Client(l, config)
	c.link, c.fd, c.state = l, -1, securing
	over := shaken{slot: c.slot, generation: c.generation, fd: -1}
	socket := l.socket
	s.shaking.running.Go(func() {
		s.shaking.turns <- struct{}{}
		defer func() { <-s.shaking.turns }()
		// That it takes too long, an alarm says, which closes the socket.
		if over.err = l.tls.Handshake(); over.err == nil {
			over.fd, over.err = poll.Release(socket)
		}
		s.shaking.mu.Lock()
		s.shaking.ended = append(s.shaking.ended, over)
		s.shaking.mu.Unlock()
		s.Wake()
	})
}

// secured goes on where TLS handshakes are over.
func (s *Swarm) secured(now int64) {
	s.shaking.mu.Lock()
	ended := s.shaking.ended
	s.shaking.ended = nil
	s.shaking.mu.Unlock()
	for _, h := range ended {
		c := &s.clients[h.slot]
		switch {
		case c.generation != h.generation:
			if h.fd >= 0 {
				_ = poll.Close(h.fd)
			}
		case h.err != nil:
			s.ended(c, insecure(h.err), now)
		default:
			s.adopt(c, h.fd)
		}
	}
}

// adopt takes a connection back from its handshake.
func (s *Swarm) adopt(c *client, fd int) {
	c.link.socket, c.link.fd, c.fd = nil, fd, fd
	c.state = handshaking
	if err := s.poller.Add(fd, c.token()); err != nil {
		s.fail(err)
		return
	}
	var request []byte
	request, c.key = s.appendRequest(nil, &s.targets[c.target])
	s.write(c, request)
}

// insecure is what a client makes of a failed handshake. Nobody mends a
// certificate by coming back.
func insecure(err error) ending {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return ending{what: "TLS: " + certificate.Err.Error(), verdict: protocol.Stop}
	}
	return ending{what: "TLS: " + reason(err)}
}

// seal returns b as it goes onto the wire, until the next call.
func (s *Swarm) seal(c *client, b []byte) []byte {
	_, _ = c.link.tls.Write(b) // to memory; a connection that is over shows at the next read
	return s.unsent()
}

// unseal reads what is there of a connection with TLS. What TLS itself has to say
// to it goes out.
func (s *Swarm) unseal(c *client) (int, error) {
	n, err := c.link.tls.Read(s.buffer)
	if b := s.unsent(); len(b) > 0 {
		s.push(c, b)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = poll.ErrAgain
	}
	return n, err
}

// unsent takes what was sealed.
func (s *Swarm) unsent() []byte {
	b := s.sealed
	s.sealed = s.sealed[:0]
	return b
}

// abandon ends a handshake that is under way.
func (l *link) abandon() {
	if l.socket != nil {
		_ = l.socket.Close()
	}
}

// close ends all handshakes and what came of them.
func (h *handshakes) close() {
	h.running.Wait()
	for _, over := range h.ended {
		if over.fd >= 0 {
			_ = poll.Close(over.fd)
		}
	}
}

// trusting is the configuration for a host, with certificates in PEM to trust; nil:
// those of the system.
func trusting(ca []byte, host string) (*tls.Config, error) {
	config := &tls.Config{ServerName: host, NextProtos: []string{"http/1.1"}}
	if ca != nil {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return nil, errors.New("no certificates in PEM")
		}
	}
	return config, nil
}

// Read is net.Conn's, for the tls.Conn.
func (l *link) Read(b []byte) (int, error) {
	if l.socket != nil {
		return l.socket.Read(b)
	}
	n, err := poll.Read(l.fd, b)
	if err == poll.ErrAgain {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// Write is net.Conn's, for the tls.Conn.
func (l *link) Write(b []byte) (int, error) {
	if l.socket != nil {
		return l.socket.Write(b)
	}
	l.swarm.sealed = append(l.swarm.sealed, b...)
	return len(b), nil
}

// Close is net.Conn's. The swarm closes its descriptors itself.
func (l *link) Close() error { return nil }

// LocalAddr is net.Conn's. Nobody asks for addresses here.
func (l *link) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.AddrPort{}) }

// RemoteAddr is net.Conn's.
func (l *link) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.AddrPort{}) }

// SetDeadline is net.Conn's. Alarms of the swarm end what takes too long.
func (l *link) SetDeadline(time.Time) error { return nil }

// SetReadDeadline is net.Conn's.
func (l *link) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline is net.Conn's.
func (l *link) SetWriteDeadline(time.Time) error { return nil }
