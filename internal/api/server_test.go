package api

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"
)

// One connection too many is closed, and takes nobody's place.
func TestTheAdminPortHoldsSoManyConnections(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &boundedListener{Listener: inner, slots: make(chan struct{}, 2)}
	server := NewAdminServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), slog.New(slog.DiscardHandler))
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	// ask tells whether a connection is answered.
	ask := func(c net.Conn) bool {
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		n, _ := c.Read(make([]byte, 512))
		return n > 0
	}
	dial := func() net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	held := []net.Conn{dial(), dial()}
	for _, c := range held {
		if !ask(c) {
			t.Fatal("one of two is not answered")
		}
	}
	if ask(dial()) {
		t.Error("a third is answered")
	}
	held[0].Close()
	for deadline := time.Now().Add(patience); !ask(dial()); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a connection that has gone keeps its place")
		}
	}
	if !ask(held[1]) {
		t.Error("who was there is not answered any more")
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
