package gateway

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker"
)

// journal keeps what is written to it, by any goroutine.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// Whatever becomes of a handshake, nothing that it brought to say who it is stands
// anywhere that others read.
func TestNoTokenAndNoQueryIsWrittenAnywhere(t *testing.T) {
	i := newIssuer(t)
	logs := new(journal)
	broken := errors.New("panic as the test wants")
	var panics sync.Map // present: the next look at the broker panics
	s := run(t, i.trusted, func(c *setup) {
		c.Log = slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.Limits.HandshakeBytes = 8 << 10
		c.tap.reading = func(q broker.Query) error {
			if q.Room == "unread" {
				return broker.ErrUnavailable
			}
			return nil
		}
		c.tap.onReady = func() {
			if _, ok := panics.LoadAndDelete("next"); ok {
				panic(broken)
			}
		}
	})
	const mark = "s3cr3t" // in all that must not be seen
	good := i.token(auth.Claims{Subject: "ada", TokenID: "jti-" + mark, Expires: time.Now().Add(time.Hour)})
	signature := good[strings.LastIndexByte(good, '.')+1:]
	secrets := []string{mark, good, signature, "roomof"}
	bad := mark + good[6:]
	var seen bytes.Buffer
	try := func(d dialing) *client {
		t.Helper()
		c, res := s.handshake(d)
		_ = res.Header.Write(&seen)
		if res.StatusCode != 101 {
			seen.Write(c.raw)
			return nil
		}
		c.expect("welcome")
		return c
	}
	for _, token := range []string{good, bad, good + mark} {
		for _, d := range []dialing{
			{path: "/ws?x=" + mark + "&token=" + token},
			{headers: []string{"Authorization: Bearer " + token}},
			{headers: []string{"Sec-WebSocket-Protocol: fanfare.v1.json, bearer." + token}},
			{path: "/ws?token=" + token + "&token=" + token},
			{path: "/ws?room=roomof%20" + mark + "&token=" + token},
			{path: "/ws?since=" + mark + "&room=r&token=" + token},
			{path: "/ws?token=" + token + "%zz"},
			{path: "/nowhere?token=" + token},
			{path: "/ws?token=" + token, headers: []string{"Origin: http://" + mark + ".example"}},
			{path: "/ws?token=" + token, headers: []string{"Sec-WebSocket-Version: 8"}},
			{path: "/ws?token=" + token + strings.Repeat("x", 9<<10)},
			{path: "/ws?room=unread&token=" + token},
		} {
			try(d)
		}
		panics.Store("next", true)
		try(withToken(token))
		plain(t, s, "GET /ws?token="+token+" HTTP/1.1\r\nHost: x\r\n\r\n", &seen)
		plain(t, s, "GET /ws?token="+token+" \x00HTTP/9\r\n\r\n", &seen)
	}
	c := try(dialing{})
	c.auth(good)
	c.auth(bad)
	seen.Write(c.raw)
	c.send(`{"type":"auth","payload":{"token":"` + mark + `","token":"` + mark + `"}}`)
	c.expect("error")
	seen.Write(c.raw)
	page := httptest.NewRecorder()
	s.set.Handler().ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	var goroutines bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&goroutines, 1)
	s.panics = 3
	for where, text := range map[string]string{"log": logs.String(), "answer": seen.String(), "metrics": page.Body.String(), "profile": goroutines.String()} {
		for _, secret := range secrets {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s: %q in %.300q", where, secret, text[max(at-150, 0):])
			}
		}
	}
	if !strings.Contains(logs.String(), broken.Error()) {
		t.Error("the log did not say that something panicked: nothing was looked at")
	}
}

// plain sends a request as it is and keeps the answer.
func plain(t *testing.T, s *service, request string, seen *bytes.Buffer) {
	t.Helper()
	conn := s.raw()
	_, _ = io.WriteString(conn, request)
	_, _ = io.Copy(seen, conn)
}
