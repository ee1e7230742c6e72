package loop

import (
	"net/netip"

	"github.com/fanfare-ws/fanfare/internal/frame"
)

// Client is the address that the connection is for, without a zone: the socket's
// other end, or whom a proxy that Config.Trusted trusts has it from. The port is
// 0 where the proxy does not say.
func (c *Conn) Client() netip.AddrPort {
	addr := netip.AddrFrom16(c.address)
	if c.flags&flagIPv4 != 0 {
		addr = addr.Unmap()
	}
	return netip.AddrPortFrom(addr, c.port)
}

func (c *Conn) setClient(p netip.AddrPort) {
	c.address, c.port = p.Addr().As16(), p.Port()
	c.flags &^= flagIPv4
	if p.Addr().Is4() {
		c.flags |= flagIPv4
	}
}

// Proxied says whether a trusted proxy passes on this connection's requests, so
// that what it says of them in their header is believed.
func (c *Conn) Proxied() bool { return c.flags&flagProxied != 0 }

// Inner says whether this process is at the other end, by Loop.Connect.
func (c *Conn) Inner() bool { return c.flags&flagInner != 0 }

func (l *Loop) trusted(a netip.Addr) bool { return l.cfg.Trusted != nil && l.cfg.Trusted(a) }

// enter has the gate count c: in all, and for its address unless that is a
// proxy's, behind which everyone is. Who is at the other end of an inner
// connection is as trusted as a proxy, and speaks for that address.
func (l *Loop) enter(c *Conn, inner bool) *frame.Refusal {
	addr := c.Client().Addr()
	if inner {
		c.flags |= flagInner
		c.flags |= flagProxied
	}
	if l.trusted(addr) {
		c.flags |= flagProxied
		if l.cfg.ProxyProtocol && !inner && c.secure == nil { // which the terminator reads
			c.flags |= flagPreface
		}
		addr = netip.Addr{}
	}
	if l.cfg.Gate == nil {
		return nil
	}
	refusal := l.cfg.Gate.enter(addr)
	if refusal == nil {
		c.flags |= flagAdmitted
	}
	if refusal == nil && addr.IsValid() {
		c.flags |= flagCounted
	}
	return refusal
}

// passedOn: a proxy has said whom it has c from. From now on that is who c is,
// for the gate too.
func (l *Loop) passedOn(c *Conn, client netip.AddrPort) *frame.Refusal {
	c.setClient(client)
	if c.flags&flagAdmitted == 0 {
		return nil
	}
	refusal := l.cfg.Gate.identify(client.Addr())
	if refusal == nil {
		c.flags |= flagCounted
	}
	return refusal
}

// preface reads the PROXY header that b begins with, n bytes; 0 is that more have
// to come.
func (l *Loop) preface(c *Conn, b []byte) (n int, refusal *frame.Refusal) {
	header, n, refusal := frame.ParseProxyHeader(b)
	if n == 0 || refusal != nil {
		return 0, refusal
	}
	return n, l.named(c, header)
}

// named: the PROXY header of c has been read. A proxy that does not name a client
// may pass on the bytes of anyone, so that their own header is not believed; but
// where it names another proxy of ours, that one's is.
func (l *Loop) named(c *Conn, header frame.ProxyHeader) *frame.Refusal {
	c.flags &^= flagPreface
	switch client := header.Client; {
	case !client.IsValid():
		c.flags &^= flagProxied
	case l.trusted(client.Addr()):
		c.setClient(client)
	default:
		c.flags &^= flagProxied
		return l.passedOn(c, client)
	}
	return nil
}

// forwarded reads who is behind a trusted proxy from the request that it passed
// on.
func (l *Loop) forwarded(c *Conn, r *frame.Request) *frame.Refusal {
	if !c.Proxied() {
		return nil
	}
	client, ok := r.ForwardedFor(l.trusted)
	if !ok {
		return nil
	}
	return l.passedOn(c, client)
}

// counted is what the gate has c's place under, which is given back with it: the
// zero address where it is counted among all alone.
func (c *Conn) counted() netip.Addr {
	if c.flags&flagCounted == 0 {
		return netip.Addr{}
	}
	return c.Client().Addr()
}
