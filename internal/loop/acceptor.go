package loop

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/poll"
)

const (
	acceptBackoffFirst = 5 * time.Millisecond
	acceptBackoffLast  = time.Second
	reservedMost       = 32
)

// Listener is where an Acceptor accepts.
type Listener = poll.Listener

// unsent is how much of what a connection was written may wait in the kernel
// without being on its way. What is more waits in its room's log, where it costs
// nothing, is seen as queue depth, and is under the room's window. What is under
// way is not limited by it.
const unsent = 128 << 10

// Listen listens on a TCP address, host:port. The kernel ends a connection that
// was accepted there when its peer acknowledges nothing for the timeout. Who says
// nothing is accepted a second late.
func Listen(addr string, timeout time.Duration) (*Listener, error) {
	ln, err := poll.Listen(addr, poll.SocketOptions{NoDelay: true, UserTimeout: timeout, Unsent: unsent})
	if err != nil {
		return nil, err
	}
	if err := ln.Defer(); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// Acceptor hands what a listener accepts to the loop with the fewest
// connections. Out of descriptors it counts, backs off and goes on. The last
// descriptors of the process it leaves to others, the admin port first: a
// connection that would take one of them is held in hand until lower ones are
// free, and no further one is accepted.
type Acceptor struct {
	// Immutable.
	listener *Listener
	loops    []*Loop
	failed   func(metrics.AcceptError)
	tls      *Terminator // nil: connections are the loops' at once
	reserved int         // descriptors from this number on are not for connections
	closing  chan struct{}

	closeOnce sync.Once
	closeErr  error

	// Run's goroutine's.
	backoff time.Duration
}

// NewAcceptor returns an acceptor, which owns the listener from now on. t does a
// TLS handshake first with whom it accepts, unless it is nil. failed counts what
// accepting fails with; Run's goroutine calls it.
func NewAcceptor(ln *Listener, loops []*Loop, t *Terminator, failed func(metrics.AcceptError)) *Acceptor {
	return &Acceptor{
		listener: ln,
		loops:    loops,
		tls:      t,
		failed:   failed,
		reserved: firstReserved(),
		closing:  make(chan struct{}),
	}
}

func firstReserved() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || uint64(limit.Cur) > 1<<30 {
		return 1 << 30
	}
	return int(limit.Cur) - min(reservedMost, int(limit.Cur)/8)
}

// Run accepts on the calling goroutine until Close. It returns an error only if
// the listener cannot go on.
func (a *Acceptor) Run() error {
	for {
		fd, peer, err := a.listener.Accept()
		switch {
		case err == nil:
			if !a.place(fd, peer) {
				return nil
			}
		case errors.Is(err, net.ErrClosed):
			return nil
		default:
			a.failed(kindOf(err))
			if !a.pause() {
				return nil
			}
		}
	}
}

// Close ends Run and the listener. It does not wait for Run. Any goroutine may
// call it, more than once.
func (a *Acceptor) Close() error {
	a.closeOnce.Do(func() {
		close(a.closing)
		a.closeErr = a.listener.Close()
	})
	return a.closeErr
}

// place gives a connection to a loop, once its descriptor is not one of the last
// ones. It returns false when the acceptor closes meanwhile.
func (a *Acceptor) place(fd int, peer netip.AddrPort) bool {
	for fd >= a.reserved {
		a.failed(metrics.AcceptDescriptors)
		if !a.pause() {
			_ = poll.Close(fd)
			return false
		}
		fd = poll.Lower(fd)
	}
	a.backoff = 0
	if a.tls != nil {
		a.tls.take(fd, peer, a.idlest)
	} else {
		a.idlest().Adopt(fd, peer)
	}
	return true
}

func (a *Acceptor) idlest() *Loop {
	best := a.loops[0]
	for _, l := range a.loops[1:] {
		if l.Conns() < best.Conns() {
			best = l
		}
	}
	return best
}

// pause waits longer each time in a row; false when the acceptor closes.
func (a *Acceptor) pause() bool {
	a.backoff = min(max(2*a.backoff, acceptBackoffFirst), acceptBackoffLast)
	timer := time.NewTimer(a.backoff)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.closing:
		return false
	}
}

func kindOf(err error) metrics.AcceptError {
	switch {
	case poll.OutOfMemory(err):
		return metrics.AcceptMemory
	case poll.OutOfDescriptors(err):
		return metrics.AcceptDescriptors
	}
	return metrics.AcceptOther
}
