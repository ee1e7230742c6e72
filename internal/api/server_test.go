package api

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"
)

// adminPort serves with room for so many connections. idle waits until so many ask
// for nothing: the answer is there before its connection is one of them.
func adminPort(t *testing.T, most int, answer http.HandlerFunc) (dial func() net.Conn, idle func(n int)) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewAdminServer(answer, slog.New(slog.DiscardHandler))
	served := make(chan error, 1)
	l := newBoundedListener(inner, most)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	dial = func() net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(patience))
		return c
	}
	idle = func(n int) {
		t.Helper()
		now := func() int {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.waiting.Len()
		}
		for deadline := time.Now().Add(patience); now() != n; <-time.After(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d connections ask for nothing, want %d", now(), n)
			}
		}
	}
	return dial, idle
}

func say(c net.Conn, path string) {
	_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
}

func answered(c net.Conn) bool {
	n, _ := c.Read(make([]byte, 512))
	return n > 0
}

func asked(c net.Conn) bool {
	say(c, "/")
	return answered(c)
}

// A connection that is kept and not used takes nobody's place.
func TestAnIdleConnectionOfTheAdminPortMakesRoom(t *testing.T) {
	dial, idle := adminPort(t, 3, func(http.ResponseWriter, *http.Request) {})
	silent, first, second := dial(), dial(), dial()
	for _, c := range []net.Conn{first, second, first} { // of these second is idle for longer
		idle(3)
		if !asked(c) {
			t.Fatal("one of three is not answered")
		}
	}
	for i, gone := range []net.Conn{silent, second} {
		idle(3)
		if !asked(dial()) {
			t.Errorf("connection %d is not answered, for those that ask for nothing", 4+i)
		}
		if asked(gone) {
			t.Errorf("not the connection that was silent for longest has made room for connection %d", 4+i)
		}
	}
	if !asked(first) {
		t.Error("who asked last is not answered any more")
	}
}

// While all are being answered, one connection too many is closed.
func TestTheAdminPortHoldsSoManyConnections(t *testing.T) {
	busy, free := make(chan struct{}), make(chan struct{})
	dial, idle := adminPort(t, 2, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			busy <- struct{}{}
			<-free
		}
	})
	held := []net.Conn{dial(), dial()}
	for _, c := range held {
		say(c, "/long")
		<-busy
	}
	if asked(dial()) {
		t.Error("a third is answered")
	}
	close(free)
	for _, c := range held {
		if !answered(c) {
			t.Error("who was there is not answered")
		}
	}
	idle(2)
	held[0].Close()
	idle(1)
	if !asked(dial()) || !asked(held[1]) {
		t.Error("a connection that has gone keeps its place")
	}
}

// Nobody may take his time without end.
func TestTheAdminPortHasTimes(t *testing.T) {
	s := NewAdminServer(nil, slog.New(slog.DiscardHandler))
	for name, d := range map[string]time.Duration{"read": s.ReadTimeout, "write": s.WriteTimeout, "idle": s.IdleTimeout} {
		if d <= 0 || d > 10*time.Minute {
			t.Errorf("%s: %v", name, d)
		}
	}
	if s.MaxHeaderBytes > 64<<10 || s.MaxHeaderBytes == 0 {
		t.Errorf("%d bytes of headers", s.MaxHeaderBytes)
	}
}
