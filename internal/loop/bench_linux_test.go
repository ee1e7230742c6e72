package loop

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/poll"
)

// threadTime is what the calling thread has used of a processor.
func threadTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		panic(err)
	}
	return time.Duration(now.Nano())
}

// bench runs a loop and an acceptor, each on a thread of its own, and returns
// what they have used of a processor so far.
func bench(b *testing.B, h *handler) (addr string, l *Loop, used func() (loop, acceptor time.Duration)) {
	l, err := New(Config{Limits: Limits{Head: frame.HeadLimits{Bytes: 16 << 10, Headers: 100}, HandshakeTimeout: 10 * time.Second},
		Gate: NewGate(10000, 10000), HeartbeatInterval: 25 * time.Second, HeartbeatTimeout: time.Minute}, h, metrics.NewLoop())
	if err != nil {
		b.Fatal(err)
	}
	ln, err := poll.Listen("127.0.0.1:0", poll.SocketOptions{NoDelay: true, UserTimeout: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	a := NewAcceptor(ln, []*Loop{l}, nil, func(metrics.AcceptError) {})
	accepted, stopped := make(chan time.Duration, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		_ = a.Run()
		accepted <- threadTime()
	}()
	go func() {
		runtime.LockOSThread()
		_ = l.Run()
		close(stopped)
	}()
	b.Cleanup(func() {
		a.Close()
		l.Stop()
		<-stopped
	})
	return ln.Addr().String(), l, func() (time.Duration, time.Duration) {
		loop := make(chan time.Duration)
		l.Post(func() { loop <- threadTime() })
		a.Close()
		return <-loop, <-accepted
	}
}

// BenchmarkHandshake is what a connection costs the gateway from its accept to
// its end: the 101, one frame behind it, the end.
func BenchmarkHandshake(b *testing.B) {
	welcome := frame.AppendFrame(nil, frame.OpText, bytes.Repeat([]byte("w"), 200))
	addr, l, used := bench(b, &handler{open: func(c *Conn) { c.Send(welcome) }})
	hello := request("Origin: http://example.com", "User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
		"Sec-WebSocket-Protocol: test", "Accept-Language: en-US,en;q=0.9", "Cache-Control: no-cache")
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		answer := make([]byte, 1024)
		for pb.Next() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = conn.Write(hello)
			for n := 0; !bytes.HasSuffix(answer[:n], welcome); {
				k, err := conn.Read(answer[n:])
				if err != nil {
					b.Error(err)
					return
				}
				n += k
			}
			_ = conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
	})
	for l.Conns() > 0 {
		runtime.Gosched()
	}
	loop, acceptor := used()
	b.ReportMetric(float64(loop.Microseconds())/float64(b.N), "µs-loop/op")
	b.ReportMetric(float64(acceptor.Microseconds())/float64(b.N), "µs-accept/op")
}

// BenchmarkIdleConnection is what an idle connection holds of the heap. The
// clients are bare descriptors. Run it with -benchtime 1x.
func BenchmarkIdleConnection(b *testing.B) {
	addr, l, _ := bench(b, &handler{})
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	connect := func() int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			b.Fatal(err)
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: tcp.Port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			b.Fatal(err)
		}
		_, _ = unix.Write(fd, request())
		_, _ = unix.Read(fd, make([]byte, 1000))
		return fd
	}
	const conns = 8000
	fds := make([]int, conns)
	unix.Close(connect())
	before := heap()
	for i := range fds {
		fds[i] = connect()
	}
	b.ReportMetric(float64(heap()-before)/conns, "heap-B/conn")
	for _, fd := range fds {
		_ = poll.Reset(fd)
	}
	for l.Conns() > 0 {
		runtime.Gosched()
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkSharedWrite compares Ready and WriteShared with a bare write of the
// same bytes to the same sockets.
func BenchmarkSharedWrite(b *testing.B) {
	shared := frame.AppendFrame(nil, frame.OpText, bytes.Repeat([]byte("s"), 100))
	for _, way := range []struct {
		name  string
		write func(*Conn)
	}{
		{"shared", func(c *Conn) {
			if c.Ready() {
				c.WriteShared(shared)
			}
		}},
		{"bare", func(c *Conn) { _, _ = unix.Write(int(c.fd), shared) }},
	} {
		b.Run(way.name, func(b *testing.B) {
			var conns []*Conn
			addr, l, _ := bench(b, &handler{open: func(c *Conn) { conns = append(conns, c) }})
			const members = 200
			var readers sync.WaitGroup
			defer readers.Wait() // after the connections are closed
			for range members {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close()
				_, _ = conn.Write(request())
				readers.Go(func() { _, _ = io.Copy(io.Discard, conn) })
			}
			done := make(chan bool)
			for joined := false; !joined; {
				l.Post(func() { done <- len(conns) == members })
				joined = <-done
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N/members + 1 {
				l.Post(func() {
					for _, c := range conns {
						way.write(c)
					}
					done <- true
				})
				<-done
			}
		})
	}
}
