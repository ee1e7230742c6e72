package poll

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	// The runtime's own poller and its descriptors stay for good.
	if ln, err := Listen("127.0.0.1:0", SocketOptions{}); err == nil {
		ln.Close()
	}
	before := openDescriptors()
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Println(err)
		code = 1
	}
	if after := openDescriptors(); before != after && code == 0 {
		fmt.Printf("descriptors open: %d before the tests, %d after\n", before, after)
		code = 1
	}
	os.Exit(code)
}

func openDescriptors() int {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		panic(err)
	}
	return len(entries)
}

func newPoller(t *testing.T) *Poller {
	t.Helper()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// pair is a client and the accepted descriptor.
func pair(t *testing.T, o SocketOptions) (*net.TCPConn, int, netip.AddrPort) {
	t.Helper()
	ln, err := Listen("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	fd, peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Close(fd) })
	return client.(*net.TCPConn), fd, peer
}

// wait returns the one event that comes.
func wait(t *testing.T, p *Poller) Event {
	t.Helper()
	events := make([]Event, 8)
	end := time.Now().Add(20 * time.Second)
	for {
		n, err := p.Wait(events, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			return events[0]
		}
		if n > 1 || time.Now().After(end) {
			t.Fatalf("%d events, want one", n)
		}
	}
}

func look(t *testing.T, p *Poller) int {
	t.Helper()
	n, err := p.Wait(make([]Event, 8), 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTokenKeepsBothHalves(t *testing.T) {
	token := NewToken(0xfffffffe, 0x80000001)
	if token.Slot() != 0xfffffffe || token.Generation() != 0x80000001 {
		t.Errorf("%x %x", token.Slot(), token.Generation())
	}
	p := newPoller(t)
	client, fd, _ := pair(t, SocketOptions{})
	if err := p.Add(fd, token); err != nil {
		t.Fatal(err)
	}
	_, _ = client.Write([]byte("x"))
	if got := wait(t, p); got != (Event{Token: token, Readable: true}) {
		t.Errorf("got %+v", got)
	}
}

func TestReadinessIsLevelTriggeredAndWritingOnlyOnDemand(t *testing.T) {
	p := newPoller(t)
	client, fd, _ := pair(t, SocketOptions{})
	token := NewToken(7, 9)
	if err := p.Add(fd, token); err != nil {
		t.Fatal(err)
	}
	if look(t, p) != 0 {
		t.Error("an idle socket is ready")
	}
	if err := p.Watch(fd, token, true); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := wait(t, p); got != (Event{Token: token, Writable: true}) {
			t.Errorf("got %+v", got)
		}
	}
	_, _ = client.Write([]byte("abc"))
	for got := wait(t, p); !got.Readable; got = wait(t, p) {
	}
	if err := p.Watch(fd, token, false); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2)
	if n, err := Read(fd, b); n != 2 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	if got := wait(t, p); got != (Event{Token: token, Readable: true}) {
		t.Errorf("with a byte left: %+v", got)
	}
	if n, err := Read(fd, b); n != 1 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	if n, err := Read(fd, b); n != 0 || err != ErrAgain {
		t.Errorf("read of nothing: %d, %v", n, err)
	}
	if err := p.Remove(fd); err != nil {
		t.Fatal(err)
	}
	_, _ = client.Write([]byte("x"))
	if look(t, p) != 0 {
		t.Error("a removed socket is ready")
	}
}

func TestPeersEndIsReadToItsEnd(t *testing.T) {
	p := newPoller(t)
	client, fd, _ := pair(t, SocketOptions{})
	if err := p.Add(fd, 1); err != nil {
		t.Fatal(err)
	}
	_, _ = client.Write([]byte("last"))
	_ = client.CloseWrite()
	for got := wait(t, p); !got.Readable; got = wait(t, p) {
	}
	b := make([]byte, 8)
	if n, err := Read(fd, b); string(b[:n]) != "last" || err != nil {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if got := wait(t, p); !got.Readable {
		t.Errorf("at the end: %+v", got)
	}
	if n, err := Read(fd, b); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
}

func TestWriteStopsWhereTheSocketIsFull(t *testing.T) {
	client, fd, _ := pair(t, SocketOptions{SendBuffer: 16 << 10})
	b := make([]byte, 16<<20)
	n, err := Write(fd, b)
	if n == 0 || n == len(b) || err != nil {
		t.Fatalf("wrote %d of %d, %v", n, len(b), err)
	}
	sent := n
	// The peer's window may still grow; without a reader that has an end.
	for err == nil {
		n, err = Write(fd, b)
		sent += n
	}
	if err != ErrAgain {
		t.Errorf("full: %v", err)
	}
	if err := CloseWrite(fd); err != nil {
		t.Error(err)
	}
	if got, err := io.Copy(io.Discard, client); got != int64(sent) || err != nil {
		t.Errorf("the peer got %d of %d, %v", got, sent, err)
	}
	if _, err := Write(fd, b); err == nil || err == ErrAgain {
		t.Errorf("write after the end: %v", err)
	}
}

func TestResetThrowsAwayWhatIsUnsent(t *testing.T) {
	ln, err := Listen("127.0.0.1:0", SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	fd, _, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := Reset(fd); err != nil {
		t.Error(err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the peer got %v", err)
	}
}

func TestWakeEndsAWait(t *testing.T) {
	p := newPoller(t)
	p.Wake() // one before counts for the next
	if n, err := p.Wait(make([]Event, 1), -1); n != 0 || err != nil {
		t.Errorf("woken: %d, %v", n, err)
	}
	for range 100 {
		var others sync.WaitGroup
		for range 4 {
			others.Go(p.Wake)
		}
		if n, err := p.Wait(make([]Event, 1), -1); n != 0 || err != nil {
			t.Errorf("woken: %d, %v", n, err)
		}
		others.Wait()
	}
}

func TestWaitEndsWithItsTimeout(t *testing.T) {
	p := newPoller(t)
	for _, timeout := range []time.Duration{30 * time.Millisecond, 0, 10 * time.Millisecond} {
		begun := time.Now()
		n, err := p.Wait(make([]Event, 1), timeout)
		if took := time.Since(begun); n != 0 || err != nil || took < timeout {
			t.Errorf("timeout %v: %d, %v after %v", timeout, n, err, took)
		}
	}
	// A past deadline does not shorten a later wait for ever.
	go p.Wake()
	if n, err := p.Wait(make([]Event, 1), -1); n != 0 || err != nil {
		t.Errorf("for ever: %d, %v", n, err)
	}
}

func TestAllReadySocketsGetTheirTurnInSmallBatches(t *testing.T) {
	p := newPoller(t)
	const sockets = 10
	for i := range sockets {
		client, fd, _ := pair(t, SocketOptions{})
		if err := p.Add(fd, Token(i)); err != nil {
			t.Fatal(err)
		}
		_, _ = client.Write([]byte("x"))
	}
	seen := map[Token]bool{}
	events := make([]Event, 3)
	for range sockets {
		n, err := p.Wait(events, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events[:n] {
			seen[e.Token] = true
		}
	}
	if len(seen) != sockets {
		t.Errorf("%d of %d sockets had their turn", len(seen), sockets)
	}
}

func TestAcceptedSocketsHaveTheListenersOptions(t *testing.T) {
	client, fd, peer := pair(t, SocketOptions{NoDelay: true, UserTimeout: 7 * time.Second, SendBuffer: 32 << 10})
	if peer.String() != client.LocalAddr().String() {
		t.Errorf("peer %s, want %s", peer, client.LocalAddr())
	}
	if v, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY); v == 0 || err != nil {
		t.Errorf("TCP_NODELAY %d, %v", v, err)
	}
	if v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF); v < 32<<10 || v > 128<<10 || err != nil {
		t.Errorf("SO_SNDBUF %d, %v", v, err)
	}
	if v, err := userTimeout(fd); v != 7*time.Second || err != nil {
		t.Errorf("TCP_USER_TIMEOUT %v, %v", v, err)
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("flags %x, %v: not non-blocking", flags, err)
	}
}

// dialSilently connects and says nothing.
func dialSilently(t *testing.T, ln *Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestWhoSaysNothingIsAcceptedBehindWhoDoes(t *testing.T) {
	if !inherits {
		t.Skip("only Linux defers")
	}
	ln, err := Listen("127.0.0.1:0", SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := ln.Defer(); err != nil {
		t.Fatal(err)
	}
	for range 10 { // a machine that stands still for a second defers nothing
		silent, spoken := dialSilently(t, ln), dialSilently(t, ln)
		if _, err := spoken.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		var first netip.AddrPort
		for i := range 2 {
			fd, peer, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			_ = Close(fd)
			if i == 0 {
				first = peer
			}
		}
		if first.String() == spoken.LocalAddr().String() {
			return
		}
		if first.String() != silent.LocalAddr().String() {
			t.Fatalf("%s was accepted, who is neither", first)
		}
	}
	t.Error("who said nothing was accepted first")
}

func TestClosingTheListenerEndsAccept(t *testing.T) {
	ln, err := Listen("127.0.0.1:0", SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, _, err := ln.Accept()
		ended <- err
	}()
	ln.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestAddressInUseIsAnError(t *testing.T) {
	ln, err := Listen("127.0.0.1:0", SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if again, err := Listen(ln.Addr().String(), SocketOptions{}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("got %v, %v", again, err)
	}
}

func TestLowerTakesTheLowestFreeDescriptor(t *testing.T) {
	var held []int
	for range 3 {
		fd, err := unix.Dup(0)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, fd)
	}
	if got := Lower(held[2]); got != held[2] {
		t.Errorf("moved %d to %d", held[2], got)
	}
	unix.Close(held[0])
	got := Lower(held[2])
	if got != held[0] {
		t.Errorf("moved to %d, want %d", got, held[0])
	}
	unix.Close(got)
	unix.Close(held[1])
}

func TestOutOfDescriptorsKnowsTheFourErrors(t *testing.T) {
	for _, err := range []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM} {
		if !OutOfDescriptors(fmt.Errorf("accept: %w", err)) {
			t.Errorf("not %v", err)
		}
	}
	if OutOfDescriptors(unix.ECONNABORTED) || OutOfDescriptors(nil) {
		t.Error("others too")
	}
}
