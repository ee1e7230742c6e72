//go:build linux && !portable

package poll

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Poller is an epoll set with an eventfd.
//
// A blocking epoll_wait keeps its processor until the runtime's monitor takes it
// away, up to 10 ms later, in which nothing else runs on it. So Wait looks
// without blocking, and then parks in Go's own poller, for an epoll descriptor
// can itself be polled: the goroutine sleeps and no thread with it.
// BenchmarkWait has both ways.
type Poller struct {
	// The loop's goroutine's.
	epfd   int
	file   *os.File // epfd, registered with Go's poller
	raw    syscall.RawConn
	kernel []unix.EpollEvent
	found  int
	timed  bool // file has a read deadline

	// Any goroutine's.
	wakefd int
	awake  atomic.Bool // a wake-up is on its way
}

// New returns a poller. The caller closes it.
func New() (*Poller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	wakefd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epfd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p := &Poller{epfd: epfd, wakefd: wakefd}
	if err := p.open(); err != nil {
		unix.Close(wakefd)
		if p.file != nil {
			p.file.Close()
		} else {
			unix.Close(epfd)
		}
		return nil, err
	}
	return p, nil
}

func (p *Poller) open() error {
	// Edge-triggered, so it need never be read.
	if err := p.control(unix.EPOLL_CTL_ADD, p.wakefd, wakeToken, unix.EPOLLIN|unix.EPOLLET); err != nil {
		return fmt.Errorf("watch eventfd: %w", err)
	}
	// os.NewFile hands only a non-blocking descriptor to Go's poller.
	if err := unix.SetNonblock(p.epfd, true); err != nil {
		return fmt.Errorf("epoll descriptor: %w", err)
	}
	p.file = os.NewFile(uintptr(p.epfd), "epoll")
	if err := p.file.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("epoll descriptor in the runtime's poller: %w", err)
	}
	raw, err := p.file.SyscallConn()
	p.raw = raw
	return err
}

// Close frees the poller's descriptors, not those registered. No Wake may come
// during it or later.
func (p *Poller) Close() error {
	unix.Close(p.wakefd)
	return p.file.Close()
}

const readInterest = unix.EPOLLIN | unix.EPOLLRDHUP

// Add registers fd, with read interest.
func (p *Poller) Add(fd int, t Token) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, t, readInterest)
}

// Watch changes what a registered fd waits for: reading always, writing as said.
func (p *Poller) Watch(fd int, t Token, writable bool) error {
	if writable {
		return p.control(unix.EPOLL_CTL_MOD, fd, t, readInterest|unix.EPOLLOUT)
	}
	return p.control(unix.EPOLL_CTL_MOD, fd, t, readInterest)
}

// Remove forgets fd. A descriptor that is about to be closed need not be
// removed, unless a duplicate of it lives on.
func (p *Poller) Remove(fd int) error {
	return p.control(unix.EPOLL_CTL_DEL, fd, 0, 0)
}

// Forget is what a closing descriptor needs: with epoll, nothing.
func (p *Poller) Forget(int) {}

func (p *Poller) control(op, fd int, t Token, events uint32) error {
	// The kernel keeps 64 bits of ours, of which the package names two halves.
	e := unix.EpollEvent{Events: events, Fd: int32(t), Pad: int32(t >> 32)}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.epfd), uintptr(op), uintptr(fd),
		uintptr(unsafe.Pointer(&e)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// Wake ends the Wait that runs or comes next. At most one wake-up is on its way,
// however many calls. Any goroutine may call it.
func (p *Poller) Wake() {
	if p.awake.Swap(true) {
		return
	}
	one := uint64(1)
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(p.wakefd), uintptr(unsafe.Pointer(&one)), 8)
}

// Wait fills events and returns how many; 0 after the timeout or a Wake.
// A timeout below 0 is for ever, 0 only looks.
func (p *Poller) Wait(events []Event, timeout time.Duration) (int, error) {
	if len(p.kernel) != len(events) {
		p.kernel = make([]unix.EpollEvent, len(events))
	}
	n, err := p.look()
	if n == 0 && err == nil && timeout != 0 {
		n, err = p.park(timeout)
	}
	if err != nil {
		return 0, fmt.Errorf("epoll_wait: %w", err)
	}
	return p.translate(events, n), nil
}

// look asks without blocking; it never enters the scheduler.
func (p *Poller) look() (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epfd),
			uintptr(unsafe.Pointer(unsafe.SliceData(p.kernel))), uintptr(len(p.kernel)), 0, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// park sleeps in Go's poller until the set has something or the timeout is over.
func (p *Poller) park(timeout time.Duration) (int, error) {
	if timeout > 0 || p.timed {
		var deadline time.Time
		if p.timed = timeout > 0; p.timed {
			deadline = time.Now().Add(timeout)
		}
		if err := p.file.SetReadDeadline(deadline); err != nil {
			return 0, err
		}
	}
	var err error
	p.found = 0
	parked := p.raw.Read(func(uintptr) bool {
		p.found, err = p.look()
		return p.found > 0 || err != nil
	})
	if err == nil && parked != nil {
		if !os.IsTimeout(parked) {
			return 0, parked
		}
		// After a long stop of the process the timeout is over and the sockets are
		// full: what has arrived must not be overlooked.
		return p.look()
	}
	return p.found, err
}

func (p *Poller) translate(events []Event, n int) int {
	const ended = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	k := 0
	for i := range n {
		e := &p.kernel[i]
		t := Token(uint32(e.Fd)) | Token(uint32(e.Pad))<<32
		if t == wakeToken {
			// Before the loop looks into its inbox: a post after that look wakes anew.
			p.awake.Store(false)
			continue
		}
		events[k] = Event{
			Token:    t,
			Readable: e.Events&(unix.EPOLLIN|ended) != 0,
			Writable: e.Events&unix.EPOLLOUT != 0,
			Hangup:   e.Events&ended != 0,
		}
		k++
	}
	return k
}
