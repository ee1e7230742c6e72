//go:build unix && (!linux || portable)

package poll

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Poller is poll(2) with a pipe: for development, not for many connections.
type Poller struct {
	// The loop's goroutine's. Entry 0 is the pipe.
	fds    []unix.PollFd
	tokens []Token
	index  map[int]int // descriptor to its place in fds
	from   int         // where the next look for events begins, so that all get their turn

	// Any goroutine's.
	pipe  [2]int
	awake atomic.Bool // a wake-up is on its way
}

// New returns a poller. The caller closes it.
func New() (*Poller, error) {
	p := &Poller{index: map[int]int{}}
	if err := unix.Pipe(p.pipe[:]); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	for _, fd := range p.pipe {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			p.Close()
			return nil, fmt.Errorf("pipe: %w", err)
		}
	}
	p.fds = []unix.PollFd{{Fd: int32(p.pipe[0]), Events: unix.POLLIN}}
	p.tokens = []Token{wakeToken}
	return p, nil
}

// Close frees the poller's descriptors, not those registered. No Wake may come
// during it or later.
func (p *Poller) Close() error {
	return errors.Join(unix.Close(p.pipe[0]), unix.Close(p.pipe[1]))
}

// Add registers fd, with read interest.
func (p *Poller) Add(fd int, t Token) error {
	if _, ok := p.index[fd]; ok {
		return unix.EEXIST
	}
	p.index[fd] = len(p.fds)
	p.fds = append(p.fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	p.tokens = append(p.tokens, t)
	return nil
}

// Watch changes what a registered fd waits for: reading always, writing as said.
func (p *Poller) Watch(fd int, t Token, writable bool) error {
	i, ok := p.index[fd]
	if !ok {
		return unix.ENOENT
	}
	p.tokens[i] = t
	p.fds[i].Events = unix.POLLIN
	if writable {
		p.fds[i].Events |= unix.POLLOUT
	}
	return nil
}

// Remove forgets fd.
func (p *Poller) Remove(fd int) error {
	i, ok := p.index[fd]
	if !ok {
		return unix.ENOENT
	}
	last := len(p.fds) - 1
	p.fds[i], p.tokens[i] = p.fds[last], p.tokens[last]
	p.index[int(p.fds[i].Fd)] = i
	p.fds, p.tokens = p.fds[:last], p.tokens[:last]
	delete(p.index, fd)
	return nil
}

// Forget is what a closing descriptor needs: poll(2) keeps no set in the kernel
// that would forget it by itself.
func (p *Poller) Forget(fd int) { _ = p.Remove(fd) }

// Wake ends the Wait that runs or comes next. At most one wake-up is on its way,
// however many calls. Any goroutine may call it.
func (p *Poller) Wake() {
	if !p.awake.Swap(true) {
		_, _ = unix.Write(p.pipe[1], []byte{0})
	}
}

// Wait fills events and returns how many; 0 after the timeout or a Wake.
// A timeout below 0 is for ever, 0 only looks.
func (p *Poller) Wait(events []Event, timeout time.Duration) (int, error) {
	milliseconds := -1
	if timeout >= 0 {
		milliseconds = int((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	ready, err := unix.Poll(p.fds, milliseconds)
	if errors.Is(err, unix.EINTR) {
		// As after a timeout: the loop comes again and counts the time anew.
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("poll: %w", err)
	}
	if ready > 0 && p.fds[0].Revents != 0 {
		p.drain()
		ready--
	}
	return p.translate(events, ready), nil
}

// drain empties the pipe, and only then lets the next Wake through.
func (p *Poller) drain() {
	var b [8]byte
	_, _ = unix.Read(p.pipe[0], b[:])
	p.awake.Store(false)
}

func (p *Poller) translate(events []Event, ready int) int {
	const ended = unix.POLLHUP | unix.POLLERR | unix.POLLNVAL
	n, sockets := 0, len(p.fds)-1
	for k := 0; k < sockets && n < len(events) && n < ready; k++ {
		i := 1 + (p.from+k)%sockets
		got := p.fds[i].Revents
		if got == 0 {
			continue
		}
		events[n] = Event{
			Token:    p.tokens[i],
			Readable: got&(unix.POLLIN|ended) != 0,
			Writable: got&unix.POLLOUT != 0,
			Hangup:   got&ended != 0,
		}
		n++
		if n == len(events) {
			p.from = i
		}
	}
	return n
}
