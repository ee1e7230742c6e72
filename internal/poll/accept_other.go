//go:build unix && !linux

package poll

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// inherits: what a listener accepts has its socket options.
const inherits = false

func accept(fd int) (int, netip.AddrPort, error) {
	s, from, err := unix.Accept(fd)
	if err != nil {
		return -1, netip.AddrPort{}, err
	}
	unix.CloseOnExec(s)
	if err := unix.SetNonblock(s, true); err != nil {
		unix.Close(s)
		return -1, netip.AddrPort{}, err
	}
	return s, addrPort(from), nil
}

// deferAccept has no equal here that waits for anything sent.
func deferAccept(int) error { return nil }

func addrPort(from unix.Sockaddr) netip.AddrPort {
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// setUserTimeout has no equal here; the heartbeat ends what is half-open.
func setUserTimeout(int, time.Duration) error { return nil }
