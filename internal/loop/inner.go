package loop

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fanfare-ws/fanfare/internal/poll"
)

// innerBuffer is what the kernel may hold of each direction of an inner
// connection, before the kernel doubles it: what is more waits where a client's
// does, in its room's log.
const innerBuffer = 8 << 10

// Connect gives this process a connection to the loop, as a client of that
// address has one: who serves a client in another way than by WebSocket speaks
// for it by that. What it says in X-Forwarded-Proto is believed. Any goroutine may
// call it. A loop that stops ends the connection.
func (l *Loop) Connect(client netip.AddrPort) (net.Conn, error) {
	near, far, err := poll.Pair(innerBuffer)
	if err != nil {
		return nil, fmt.Errorf("connect to an event loop: %w", err)
	}
	file := os.NewFile(uintptr(near), "")
	conn, err := net.FileConn(file)
	_ = file.Close()
	if err == nil && far >= firstReserved() {
		_ = conn.Close()
		err = unix.EMFILE
	}
	if err != nil {
		_ = poll.Close(far)
		return nil, fmt.Errorf("connect to an event loop: %w", err)
	}
	l.adoptLater(adoption{fd: far, peer: client, inner: true})
	return conn, nil
}
