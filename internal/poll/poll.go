// Package poll is the system calls behind an event loop: readiness, raw reads
// and writes, accepting. It knows no WebSocket and starts no goroutine.
//
// A Poller belongs to one goroutine, its loop's; only Wake may be called from
// others. On Linux it is epoll with an eventfd, elsewhere poll(2) with a pipe,
// which serves for development. The build tag portable takes poll(2) on Linux
// too, so that tests run over it there.
//
// Sockets are raw non-blocking descriptors, so an idle connection has neither a
// goroutine nor a net.Conn nor an entry in Go's own poller.
package poll

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Token is what a descriptor is registered with and comes back in its events.
// A loop puts a slot in the low half and the slot's generation in the high one,
// so that a stale event never meets a newer connection.
type Token uint64

// wakeToken is the poller's own: no slot is that large.
const wakeToken Token = 1<<64 - 1

// NewToken joins a slot and its generation.
func NewToken(slot, generation uint32) Token {
	return Token(slot) | Token(generation)<<32
}

// Slot is the low half.
func (t Token) Slot() uint32 { return uint32(t) }

// Generation is the high half.
func (t Token) Generation() uint32 { return uint32(t >> 32) }

// Event says what a descriptor is ready for. Hangup: the peer has closed its
// writing side, or the socket has failed; what is left is to be read to its
// end, so Readable is true with it.
type Event struct {
	Token                      Token
	Readable, Writable, Hangup bool
}

// ErrAgain is what a read or write says that would block.
var ErrAgain = errors.New("poll: would block")

// OutOfDescriptors says whether err means that the process or the machine has
// no room for another descriptor now: EMFILE, ENFILE, ENOBUFS or ENOMEM.
func OutOfDescriptors(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || OutOfMemory(err)
}

// OutOfMemory is the half of OutOfDescriptors that is the kernel's memory.
func OutOfMemory(err error) bool {
	return errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM)
}

// TimedOut says whether err means that the kernel gave up on data that the peer
// did not acknowledge (TCP_USER_TIMEOUT).
func TimedOut(err error) bool { return errors.Is(err, unix.ETIMEDOUT) }

// SocketOptions are those of a connection. A zero field leaves the system's.
type SocketOptions struct {
	NoDelay     bool
	UserTimeout time.Duration // unacknowledged data ends the connection; Linux only
	SendBuffer  int           // bytes; the kernel doubles it
	Unsent      int           // bytes that may wait in the kernel without being sent (TCP_NOTSENT_LOWAT)
}

// SetSocketOptions sets the options of fd. On Linux a listener hands its own on
// to what it accepts, so there they cost a connection no system call.
func SetSocketOptions(fd int, o SocketOptions) error {
	if o.NoDelay {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return err
		}
	}
	if o.SendBuffer > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, o.SendBuffer); err != nil {
			return err
		}
	}
	if o.Unsent > 0 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, o.Unsent); err != nil {
			return err
		}
	}
	if o.UserTimeout > 0 {
		return setUserTimeout(fd, o.UserTimeout)
	}
	return nil
}

// Pair makes two non-blocking sockets, each the other's end. buffer is what each
// direction may hold, which the kernel doubles.
func Pair(buffer int) (a, b int, err error) {
	// A child forked meanwhile would hold both ends open.
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, -1, err
	}
	for _, fd := range fds {
		err = errors.Join(err, unix.SetNonblock(fd, true),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, buffer),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer))
	}
	if err != nil {
		_ = unix.Close(fds[0])
		_ = unix.Close(fds[1])
		return -1, -1, err
	}
	return fds[0], fds[1], nil
}

// CloseWrite shuts the writing side of fd: what was written still goes out, and
// then a FIN.
func CloseWrite(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }

// Reset closes fd at once: what the peer has not taken is thrown away with the
// kernel's memory for it, and the peer sees a reset.
func Reset(fd int) error {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	return Close(fd)
}

// Duplicate returns another descriptor of what fd is one of.
func Duplicate(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }

// Release takes a descriptor out of Go's poller, which would wake someone for
// every byte, and closes the file.
func Release(file *os.File) (fd int, err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return -1, err
	}
	if failed := raw.Control(func(own uintptr) { fd, err = Duplicate(int(own)) }); failed != nil {
		return -1, failed
	}
	if err != nil {
		return -1, fmt.Errorf("take over a socket: %w", err)
	}
	_ = file.Close()
	return Lower(fd), nil
}

// Lower moves fd to the lowest free descriptor and returns that; fd itself where
// none is lower.
func Lower(fd int) int {
	low, err := Duplicate(fd)
	if err != nil {
		return fd
	}
	if low > fd {
		_ = unix.Close(low)
		return fd
	}
	_ = unix.Close(fd)
	return low
}
