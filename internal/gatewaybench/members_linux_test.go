package gatewaybench

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/fanfare-ws/fanfare/internal/poll"
)

// members are receiving sockets, read by the goroutine that waits for them.
type members struct {
	poller *poll.Poller
	events []poll.Event
	buf    []byte
	fds    []int
}

func newMembers() (*members, error) {
	p, err := poll.New()
	return &members{poller: p, events: make([]poll.Event, 1024), buf: make([]byte, 256<<10)}, err
}

func (m *members) close() {
	for _, fd := range m.fds {
		_ = poll.Close(fd)
	}
	_ = m.poller.Close()
}

// dial connects one socket and sends it what the handshake is, if there is one.
func dial(addr netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	return fd, unix.Connect(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())})
}

func (m *members) add(fd int) error {
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	m.fds = append(m.fds, fd)
	return m.poller.Add(fd, poll.NewToken(uint32(fd), 0))
}

// each reads what has come, a piece for each member that has any. It does not
// wait: a reader that sleeps makes the writer dearer by its wake-ups.
func (m *members) each(take func(read []byte)) error {
	n, err := m.poller.Wait(m.events, 0)
	if err != nil {
		return err
	}
	for _, e := range m.events[:n] {
		k, err := poll.Read(int(e.Token.Slot()), m.buf)
		if err != nil && err != poll.ErrAgain {
			return err
		}
		take(m.buf[:k])
	}
	return nil
}
