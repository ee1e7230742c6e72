package deploytest

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// standIns are what listens in place of the three gateways, with these answers at
// their public ports; the admin ports say that they are ready.
func (f *topology) standIns(public http.HandlerFunc) {
	f.t.Helper()
	ready := func(http.ResponseWriter, *http.Request) {}
	for _, name := range []string{"gateway1", "gateway2", "gateway3"} {
		f.gateways = append(f.gateways, &process{t: f.t, name: name})
		for port, answer := range map[string]http.HandlerFunc{":8080": public, ":9090": ready} {
			l, err := net.Listen("tcp", f.at[name+port])
			if err != nil {
				f.t.Fatal(err)
			}
			s := httptest.NewUnstartedServer(answer)
			s.Listener.Close()
			s.Listener = l
			s.Start()
			f.t.Cleanup(s.Close)
		}
	}
}

// A gateway that ends before it answers may have stored what it was sent: HAProxy
// sends a handshake to the next, and a publication to nobody else.
func TestAPublicationIsNotSentTwice(t *testing.T) {
	t.Parallel()
	program(t, "haproxy")
	f := newTopology(t)
	var handshakes, publications atomic.Int32
	f.standIns(func(_ http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet:
			handshakes.Add(1)
		case http.MethodPost:
			publications.Add(1)
		}
		panic(http.ErrAbortHandler) // closes the connection
	})
	_, addr := f.haproxy()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		r, err := http.NewRequest(method, "http://"+addr+"/rooms/lobby/messages", strings.NewReader(`{"data":1}`))
		if err != nil {
			t.Fatal(err)
		}
		response, err := web.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode < 500 {
			t.Errorf("%s: %s", method, response.Status)
		}
	}
	if n := handshakes.Load(); n < 2 {
		t.Errorf("a handshake that no gateway answered was tried %d times", n)
	}
	if n := publications.Load(); n != 1 {
		t.Errorf("a publication was sent %d times", n)
	}
}

// nginx that has no connection left for a gateway says so, and not with the query.
func TestNginxKeepsSecretsAtItsLimit(t *testing.T) {
	t.Parallel()
	program(t, "nginx")
	f := newTopology(t)
	over := make(chan struct{})
	f.standIns(func(http.ResponseWriter, *http.Request) { <-over })
	t.Cleanup(func() { close(over) }) // before the stand-ins are closed
	balancer, addr := f.nginx("worker_processes auto", "worker_processes 1", "worker_connections 19900", "worker_connections 7")
	for range 6 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := fmt.Fprintf(c, "GET /ws?secret=%s HTTP/1.1\r\nHost: %s\r\n\r\n", secret, addr); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "a request is refused", func() error {
		if log := balancer.log.String(); !strings.Contains(log, " 500 ") {
			return fmt.Errorf("%s", log)
		}
		return nil
	})
	if log := balancer.log.String(); strings.Contains(log, secret) {
		t.Errorf("the query is logged:\n%s", log)
	}
}
