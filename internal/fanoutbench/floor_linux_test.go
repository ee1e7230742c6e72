package fanoutbench

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/fanfare-ws/fanfare/internal/poll"
)

// serveFloor is the floor. Whoever connects first is the publisher: what it
// sends is written to all who have connected after it, one write each.
func serveFloor() error {
	runtime.LockOSThread()
	ln, err := poll.Listen("127.0.0.1:0", poll.SocketOptions{})
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	publisher, _, err := ln.Accept()
	if err != nil {
		return err
	}
	members := make(chan int, 1<<16)
	go func() {
		for {
			fd, _, err := ln.Accept()
			if err != nil {
				return
			}
			members <- fd
		}
	}()
	if err := unix.SetNonblock(publisher, false); err != nil {
		return err
	}
	var fds []int
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(publisher, buf)
		if n <= 0 || err != nil {
			return err
		}
		if n == 4 { // how many will have connected: take them all
			for want := int(buf[0])<<8 | int(buf[1]); len(fds) < want; {
				fds = append(fds, <-members)
			}
			if _, err := unix.Write(publisher, buf[:4]); err != nil {
				return err
			}
			continue
		}
		for _, fd := range fds {
			if m, err := poll.Write(fd, buf[:n]); m != n {
				return fmt.Errorf("floor: wrote %d of %d: %w", m, n, err)
			}
		}
	}
}

func init() {
	if os.Getenv("FLOOR") == "" {
		return
	}
	if err := serveFloor(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

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

// read reads what has come and returns how many bytes.
func (m *members) read() (bytes int, err error) {
	err = m.each(func(b []byte) { bytes += len(b) })
	return bytes, err
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
