package floor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/fanfare-ws/fanfare/internal/poll"
	"github.com/fanfare-ws/fanfare/loadtest/internal/swarm"
)

// mostBody bounds a hello and a broadcast.
const mostBody = 1 << 20

// serverState is the members of each room.
type serverState struct {
	mu    sync.RWMutex
	rooms map[uint32][]int
	// What breaks the server: an accept or a read that fails.
	failed chan error
}

// Serve listens, prints its address as line, and serves one publisher until that
// goes away.
func Serve(out io.Writer) error {
	ln, err := poll.Listen("127.0.0.1:0", poll.SocketOptions{NoDelay: true})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, ln.Addr())
	s := &serverState{rooms: make(map[uint32][]int), failed: make(chan error, 1)}
	publisher := make(chan int, 1)
	go s.accept(ln, publisher)
	select {
	case fd := <-publisher:
		return s.broadcast(fd)
	case err := <-s.failed:
		return err
	}
}

// accept takes connections and learns what they are.
func (s *serverState) accept(ln *poll.Listener, publisher chan<- int) {
	for {
		fd, _, err := ln.Accept()
		if err == nil {
			err = unix.SetNonblock(fd, false)
		}
		if err != nil {
			s.failed <- err
			return
		}
		go s.greet(fd, publisher)
	}
}

// greet takes a hello, and gives its bytes back once the connection has its place.
func (s *serverState) greet(fd int, publisher chan<- int) {
	room, body, err := readPlain(fd, nil)
	if err != nil {
		_ = poll.Close(fd) // a client that gave up
		return
	}
	if room != swarm.PlainPublisher {
		s.mu.Lock()
		s.rooms[room] = append(s.rooms[room], fd)
		s.mu.Unlock()
	}
	if _, err := unix.Write(fd, body); err != nil {
		return // it shows at the next broadcast
	}
	if room == swarm.PlainPublisher {
		publisher <- fd
	}
}

// broadcast is the loop: read what the publisher sends, write it to each member.
func (s *serverState) broadcast(fd int) error {
	runtime.LockOSThread()
	var buffer []byte
	for {
		room, body, err := readPlain(fd, buffer)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		buffer = body[:cap(body)]
		s.mu.RLock()
		for _, member := range s.rooms[room] {
			if n, err := poll.Write(member, body); n != len(body) {
				s.mu.RUnlock()
				return fmt.Errorf("floor: a member took %d bytes of %d: %w", n, len(body), err)
			}
		}
		s.mu.RUnlock()
	}
}

// readPlain reads a header and what follows it, into buffer where it fits.
func readPlain(fd int, buffer []byte) (room uint32, body []byte, err error) {
	var header [swarm.PlainHeader]byte
	if err := readFull(fd, header[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(header[4:])
	if size > mostBody {
		return 0, nil, fmt.Errorf("floor: %d bytes", size)
	}
	if int(size) > cap(buffer) {
		buffer = make([]byte, size)
	}
	body = buffer[:size]
	return binary.BigEndian.Uint32(header[:4]), body, readFull(fd, body)
}

func readFull(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Read(fd, b)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case n == 0:
			return io.EOF
		}
		b = b[max(n, 0):]
	}
	return nil
}
