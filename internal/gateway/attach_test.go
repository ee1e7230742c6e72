package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// attach is a handler that answers with what its own handshake was answered with,
// and stays until that connection ends, which it says with the last frame.
func attach(t *testing.T) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := Attach(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		defer conn.Close()
		defer context.AfterFunc(r.Context(), func() { conn.Close() })() // who asked has gone
		_ = conn.SetDeadline(time.Now().Add(patience))
		d := dialing{path: "/ws?room=r", headers: []string{"Origin: " + r.Header.Get("Origin"), "X-Forwarded-Proto: " + ForwardedProto(r)}}
		if _, err := io.WriteString(conn, d.request(r.Host)); err != nil {
			t.Error(err)
		}
		c := &client{t: t, conn: conn, buf: make([]byte, 4096)}
		answer, err := c.answer()
		if err != nil {
			t.Error(err)
			return
		}
		if answer.StatusCode != http.StatusSwitchingProtocols {
			w.WriteHeader(answer.StatusCode)
			return
		}
		_ = http.NewResponseController(w).Flush()
		for c.code == 0 {
			if _, err := c.poll(patience); err != nil && c.code == 0 {
				break
			}
		}
		fmt.Fprint(w, c.code)
	})
}

// get asks for what Public serves. The answer's body has to be closed.
func (s *service) get(headers ...string) *http.Response {
	s.t.Helper()
	r, err := http.NewRequest("GET", s.origin()+"/", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	res, err := s.web().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { res.Body.Close() })
	return res
}

func body(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// What is attached is a connection as any other: counted, greeted and sent away
// by a drain, for which Stop waits.
func TestWhatIsAttachedIsAConnection(t *testing.T) {
	s := run(t, func(c *setup) {
		c.Public, c.Loops = attach(t), 2
		c.Limits.HandshakesPerAddress = 1 // the request does not take the place of its own handshake
	})
	var answers []*http.Response
	for range 3 {
		res := s.get("Origin: " + s.origin())
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", res.Status, body(t, res))
		}
		answers = append(answers, res)
	}
	s.untilMetric("fanfare_sse_streams", 3)
	s.untilMetric("fanfare_memberships", 3)
	if n := s.metric("fanfare_connections"); n != 3 {
		t.Errorf("%v connections", n)
	}
	stopped := make(chan struct{})
	go func() { s.stop(); close(stopped) }()
	for _, res := range answers {
		if code := body(t, res); code != fmt.Sprint(protocol.CloseRestart) {
			t.Errorf("ended with %s", code)
		}
	}
	receive(t, stopped)
	if n := s.metric("fanfare_sse_streams"); n != 0 {
		t.Errorf("%v streams after the end", n)
	}
}

func TestWhatIsAttachedIsUnderTheSameLimitsAndOrigins(t *testing.T) {
	s := run(t, func(c *setup) {
		c.Public = attach(t)
		c.Limits.Connections = 1
		c.Edge = NewEdge(EdgeConfig{Origins: []string{"https://good.test"}, TrustedProxies: []string{"127.0.0.1"}})
	})
	if res := s.get("Origin: https://bad.test"); res.StatusCode != http.StatusForbidden {
		t.Errorf("a wrong origin: %s", res.Status)
	}
	if res := s.get("Origin: https://good.test", "X-Forwarded-For: 192.0.2.7"); res.StatusCode != http.StatusOK {
		t.Errorf("a right origin: %s", res.Status)
	}
	s.untilMetric("fanfare_connections", 1)
	if res := s.get("Origin: https://good.test"); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one too many: %s", res.Status)
	}
}

// By what the request came, a trusted proxy says; from others that is not
// believed, and http is taken for what the gateway speaks.
func TestWhatIsAttachedIsOfTheSchemeThatItCameBy(t *testing.T) {
	needsPlain(t)
	for proxies, want := range map[string]int{"127.0.0.1": http.StatusForbidden, "192.0.2.1": http.StatusOK} {
		s := run(t, func(c *setup) {
			c.Public = attach(t)
			c.Edge = NewEdge(EdgeConfig{TrustedProxies: []string{proxies}})
		})
		res := s.get("Origin: "+s.origin(), "X-Forwarded-Proto: https")
		if res.StatusCode != want {
			t.Errorf("trusted %s: %s, want %d", proxies, res.Status, want)
		}
		res.Body.Close()
		s.untilMetric("fanfare_connections", 0)
	}
}

func TestARequestFromElsewhereHasNoGateway(t *testing.T) {
	if _, err := Attach(httptest.NewRequest("GET", "/", nil)); !errors.Is(err, ErrDetached) {
		t.Error(err)
	}
	if p := ForwardedProto(httptest.NewRequest("GET", "/", nil)); p != "" {
		t.Error(p)
	}
}
