package poll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listener accepts raw descriptors. It may be closed from any goroutine.
type Listener struct {
	file    *os.File // the listening socket, in Go's poller
	raw     syscall.RawConn
	addr    net.Addr
	options SocketOptions
	closed  atomic.Bool
}

// Listen listens on a TCP address, with the kernel's backlog. What it accepts
// has the options.
func Listen(addr string, o SocketOptions) (*Listener, error) {
	// Keep-alive probes would be set by net.Conn only; ours is the heartbeat.
	config := net.ListenConfig{KeepAlive: -1}
	// Go listens with Multipath TCP where it can, which knows no TCP_USER_TIMEOUT.
	config.SetMultipathTCP(false)
	ln, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	// A net.Listener's own RawConn refuses to wait for reading, a file's does not.
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		return nil, err
	}
	l := &Listener{file: file, addr: ln.Addr(), options: o}
	if l.raw, err = file.SyscallConn(); err == nil {
		err = l.inherit()
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l, nil
}

func (l *Listener) inherit() error {
	return l.control(func(fd int) error { return SetSocketOptions(fd, l.options) })
}

// Defer has Accept return who has sent something, and others a second after they
// came; on Linux only. So what is accepted can be read, and a handshake costs one
// wake-up less.
func (l *Listener) Defer() error { return l.control(deferAccept) }

func (l *Listener) control(f func(fd int) error) (err error) {
	if failed := l.raw.Control(func(fd uintptr) { err = f(int(fd)) }); failed != nil {
		return failed
	}
	return err
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.addr }

// Close ends a waiting Accept, which then says net.ErrClosed.
func (l *Listener) Close() error {
	l.closed.Store(true)
	return l.file.Close()
}

// Accept waits, parked in Go's poller, for the next connection. The descriptor
// is non-blocking and the caller's. An address mapped from IPv4 comes unmapped.
func (l *Listener) Accept() (fd int, peer netip.AddrPort, err error) {
	parked := l.raw.Read(func(listener uintptr) bool {
		fd, peer, err = accept(int(listener))
		// A client that gave up in the backlog is not ours to report.
		for errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED) {
			fd, peer, err = accept(int(listener))
		}
		return !errors.Is(err, unix.EAGAIN)
	})
	if parked != nil {
		if l.closed.Load() {
			parked = net.ErrClosed
		}
		return -1, peer, fmt.Errorf("accept: %w", parked)
	}
	if err != nil {
		return -1, peer, fmt.Errorf("accept: %w", err)
	}
	if !inherits {
		// A connection that is already gone shows at its first read.
		_ = SetSocketOptions(fd, l.options)
	}
	return fd, peer, nil
}
