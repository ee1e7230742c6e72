//go:build linux && !portable

package poll

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkWait compares the ways to wait. Goroutines of the same process, on
// net.Conn, play ping-pong with a loop that echoes; run it with -cpu 1,2.
// block is epoll_wait in a system call that the scheduler knows of, as a loop
// without Go's poller would do it, after a look and a turn for other goroutines.
func BenchmarkWait(b *testing.B) {
	ways := []struct {
		name string
		wait func(*Poller, []Event) (int, error)
	}{
		{"park", func(p *Poller, e []Event) (int, error) { return p.Wait(e, time.Second) }},
		{"block", blockingWait},
	}
	for _, conns := range []int{1, 64} {
		for _, w := range ways {
			b.Run(fmt.Sprintf("%s/%d", w.name, conns), func(b *testing.B) { pingPong(b, conns, w.wait) })
		}
	}
}

func blockingWait(p *Poller, events []Event) (int, error) {
	if n, err := p.Wait(events, 0); n > 0 || err != nil {
		return n, err
	}
	runtime.Gosched()
	if n, err := p.Wait(events, 0); n > 0 || err != nil {
		return n, err
	}
	n, err := unix.EpollWait(p.epfd, p.kernel, 1000)
	if err == unix.EINTR {
		return 0, nil
	}
	return p.translate(events, n), err
}

func pingPong(b *testing.B, conns int, wait func(*Poller, []Event) (int, error)) {
	p, err := New()
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	ln, err := Listen("127.0.0.1:0", SocketOptions{NoDelay: true})
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	clients := make([]net.Conn, conns)
	for i := range clients {
		if clients[i], err = net.Dial("tcp", ln.Addr().String()); err != nil {
			b.Fatal(err)
		}
		defer clients[i].Close()
		fd, _, err := ln.Accept()
		if err != nil {
			b.Fatal(err)
		}
		defer Close(fd)
		if err := p.Add(fd, Token(fd)); err != nil {
			b.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var loop sync.WaitGroup
	loop.Go(func() {
		events, buf := make([]Event, 256), make([]byte, 64)
		for {
			n, err := wait(p, events)
			if err != nil {
				return
			}
			for _, e := range events[:n] {
				if k, err := Read(int(e.Token), buf); err == nil {
					_, _ = Write(int(e.Token), buf[:k])
				}
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	b.ResetTimer()
	var players sync.WaitGroup
	for i, c := range clients {
		rounds := b.N / conns
		if i < b.N%conns {
			rounds++
		}
		players.Go(func() {
			ball := make([]byte, 8)
			for range rounds {
				_, _ = c.Write(ball)
				_, _ = io.ReadFull(c, ball)
			}
		})
	}
	players.Wait()
	b.StopTimer()
	close(stop)
	p.Wake()
	loop.Wait()
}
