package loop

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/poll"
)

func TestIdleConnectionHoldsNothingButItsConn(t *testing.T) {
	if size := unsafe.Sizeof(Conn{}); size > 128 {
		t.Errorf("a Conn has %d bytes", size)
	}
	var conn *Conn
	s := serve(t, Config{}, &handler{open: func(c *Conn) { conn = c }})
	goroutines := runtime.NumGoroutine()
	c := s.connect()
	c.send(frame.OpText, "once")
	c.want(frame.OpText, "once")
	s.do(func() {
		if conn.out != nil || conn.partial != nil || conn.QueuedBytes() != 0 {
			t.Errorf("holds %v %v", conn.out, conn.partial)
		}
	})
	if got := runtime.NumGoroutine(); got > goroutines {
		t.Errorf("%d goroutines more", got-goroutines)
	}
}

func TestStaleEventMeetsNoNewerConnection(t *testing.T) {
	var conns []*Conn
	var tokens []poll.Token
	ended := 0
	s := serve(t, Config{}, &handler{
		open:   func(c *Conn) { conns, tokens = append(conns, c), append(tokens, c.token()) },
		closed: func(*Conn) { ended++ },
	})
	s.connect().Close()
	s.settle("the first is gone", func() bool { return s.loop.Conns() == 0 })
	c := s.connect()
	s.do(func() {
		first, second := conns[0], conns[1]
		if first.slot != second.slot {
			t.Errorf("the slot was not reused: %d, %d", first.slot, second.slot)
			return
		}
		// The first one's event, late. Were it the second one's, its end would be read.
		if err := poll.CloseWrite(int(second.fd)); err != nil {
			t.Error(err)
		}
		second.hold |= holdBlocked
		s.loop.dispatch(poll.Event{Token: tokens[0], Readable: true, Writable: true, Hangup: true})
		if second.hold&holdBlocked == 0 {
			t.Error("a stale event reached the newer connection")
		}
		second.hold &^= holdBlocked
		s.loop.dispatch(poll.Event{Token: poll.NewToken(1<<20, 0), Readable: true})
	})
	c.wantEnd()
}

func TestEventAfterTheEndInTheSameTurnIsDropped(t *testing.T) {
	var conn *Conn
	s := serve(t, Config{}, &handler{open: func(c *Conn) { conn = c }})
	s.connect()
	s.do(func() {
		conn.Abort(metrics.CloseShutdown)
		s.loop.dispatch(poll.Event{Token: conn.token(), Readable: true, Writable: true})
		if s.loop.slots[conn.slot] != conn {
			t.Error("the slot was freed within the turn")
		}
	})
	s.settle("the slot is free", func() bool { return s.loop.slots[conn.slot] == nil })
}

func TestPostsOfEachGoroutineComeInOrder(t *testing.T) {
	s := serve(t, Config{}, &handler{})
	const posters, each = 4, 2000
	var next [posters]int
	var wg sync.WaitGroup
	for p := range posters {
		wg.Go(func() {
			for i := range each {
				s.loop.Post(func() {
					if next[p] != i {
						t.Errorf("poster %d: %d came after %d", p, i, next[p]-1)
					}
					next[p] = i + 1
				})
			}
		})
	}
	wg.Wait()
	s.do(func() {
		for p, n := range next {
			if n != each {
				t.Errorf("poster %d: %d of %d came", p, n, each)
			}
		}
	})
	if got := s.metrics.InboxDepth.Value(); got != 0 {
		t.Errorf("inbox depth %d", got)
	}
}

func TestTurnThatHasMoreComesAgainWithoutWaiting(t *testing.T) {
	left := 0
	done := make(chan struct{}, 1)
	h := &handler{}
	s := serveManual(t, Config{}, h) // nothing but posts and more wakes this loop
	s.do(func() {
		left = 1000
		h.turn = func() bool {
			if left > 0 {
				if left--; left == 0 {
					done <- struct{}{}
				}
			}
			return left > 0
		}
	})
	begun := time.Now()
	await(t, done)
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("1000 turns took %v", took)
	}
}

func TestEachSeesTheOpenOnes(t *testing.T) {
	s := serve(t, Config{}, &handler{})
	s.connect()
	s.connect()
	s.dial()
	s.settle("all three are there", func() bool { return s.loop.Conns() == 3 })
	n := 0
	s.do(func() { s.loop.Each(func(*Conn) { n++ }) })
	if n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestPeerIsTheClientsAddress(t *testing.T) {
	var conn *Conn
	s := serve(t, Config{}, &handler{open: func(c *Conn) { conn = c }})
	c := s.connect()
	s.do(func() {
		if got := conn.Client().String(); got != c.LocalAddr().String() {
			t.Errorf("peer %s, want %s", got, c.LocalAddr())
		}
	})
}

func TestStopEndsAll(t *testing.T) {
	var closed int
	s := serve(t, Config{Linger: 100 * time.Millisecond}, &handler{closed: func(*Conn) { closed++ }})
	polite, rude, unfinished := s.connect(), s.connect(), s.dial()
	unfinished.write(request()[:20])
	s.settle("all are there", s.headsBegun)
	s.loop.Stop()
	s.loop.Stop()
	unfinished.wantRefusal(503, "draining")
	polite.wantClose(1001)
	polite.send(frame.OpClose, "\x03\xe9")
	polite.wantEnd()
	rude.wantClose(1001) // and never answers
	err := await(t, s.stopped)
	s.stopped <- err
	if err != nil || closed != 2 || s.loop.Conns() != 0 {
		t.Errorf("Run returned %v, %d of 2 closed, %d sockets left", err, closed, s.loop.Conns())
	}
	// What comes now is let go.
	s.loop.Post(func() { t.Error("posted after Run") })
	ours, theirs := socketPair(t)
	defer theirs.Close()
	s.loop.Adopt(ours, netip.AddrPort{})
	if _, err := theirs.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("adopted after Run: %v", err)
	}
}

func socketPair(t *testing.T) (int, *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], os.NewFile(uintptr(fds[1]), "theirs")
}

func TestChurnMixesNoConnectionsUp(t *testing.T) {
	s := serve(t, Config{}, &handler{})
	const dialers, each = 8, 60
	var wg sync.WaitGroup
	for d := range dialers {
		wg.Go(func() {
			for i := range each {
				if err := s.churn(d, i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s.settle("all are gone", func() bool { return s.loop.Conns() == 0 })
	s.do(func() {
		if n := len(s.loop.slots); n > 2*dialers {
			t.Errorf("%d slots for %d connections at a time: they are not used again", n, dialers)
		}
	})
}

// churn connects, asks for its own name, and leaves in one of several ways.
func (s *server) churn(dialer, i int) error {
	conn, err := s.tryDial()
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	name := fmt.Sprintf("dialer %d, connection %d", dialer, i)
	if _, err := conn.Write(append(request(), masked(frame.OpText, name)...)); err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	for line := ""; line != "\r\n"; {
		if line, err = r.ReadString('\n'); err != nil {
			return err
		}
	}
	if f, err := readFrame(r); err != nil || string(f.Payload) != name {
		return fmt.Errorf("%s got %q, %v", name, f.Payload, err)
	}
	switch i % 3 {
	case 0:
		_, err = conn.Write(masked(frame.OpClose, ""))
	case 1:
		if secure, ok := conn.(*tls.Conn); ok {
			conn = secure.NetConn()
		}
		err = conn.(*net.TCPConn).SetLinger(0) // a reset
	}
	return err
}
