package api

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/gateway"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// post posts a message on the public port.
func (s *running) post(path, body string, headers ...string) answer {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodPost, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

func TestAMessageIsPostedAsAWebSocketPublishesIt(t *testing.T) {
	i := newIssuer(t)
	token := i.token(auth.Claims{Subject: "ada", Rooms: map[string][]string{"a/b": {"join", "publish"}}})
	s := runGateway(t, func(c *gateway.Config) { c.Auth = gateway.Auth{Verifier: i.verifier, Required: true} })
	es, _ := s.listen("/rooms/a%2Fb/events?token=" + token)
	type position struct {
		Room, Epoch string
		Seq         uint64
		Duplicate   bool
	}
	for _, duplicate := range []bool{false, true} {
		a := s.post("/rooms/a%2Fb/messages", `{"data": {"n": 1.0},"event":"chat","id":"i1"}`, "Authorization: Bearer "+token)
		var got position
		if err := json.Unmarshal([]byte(a.body), &got); a.status != 200 || err != nil || got.Room != "a/b" || got.Seq != 1 || got.Duplicate != duplicate {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	e, _ := es.next()
	var m struct {
		From, Event string
		Data        json.RawMessage
	}
	if e.into(t, &m); m.From != "ada" || m.Event != "chat" || string(m.Data) != `{"n": 1.0}` {
		t.Errorf("%+v", m)
	}
	s.untilMetric("fanfare_connections", func(n float64) bool { return n == 1 }) // that of the stream
}

func TestPostsAreRefusedAsPublishesAre(t *testing.T) {
	i := newIssuer(t)
	token := i.token(auth.Claims{Subject: "ada", Rooms: map[string][]string{"mine": {"publish"}, "read": {"join"}}})
	s := runGateway(t, func(c *gateway.Config) {
		c.Auth = gateway.Auth{Verifier: i.verifier, Required: true}
		c.Edge = gateway.NewEdge(gateway.EdgeConfig{Origins: []string{"https://good.test"}})
		c.Limits.MessageBytes = 1 << 10
	})
	bearer := "Authorization: Bearer " + token
	for _, c := range []struct {
		path, body string
		headers    []string
		status     int
		code       protocol.Code
		field      string
	}{
		{"/rooms/mine/messages", `{"data":1}`, nil, 401, protocol.Unauthorized, ""},
		{"/rooms/read/messages", `{"data":1}`, []string{bearer}, 403, protocol.Forbidden, "room"},
		{"/rooms/mine/messages", `{"data":1}`, []string{bearer, "Origin: https://bad.test"}, 403, protocol.Forbidden, ""},
		{"/rooms/no%20room/messages", `{"data":1}`, []string{bearer}, 400, protocol.InvalidRequest, "room"},
		{"/rooms//messages", `{"data":1}`, []string{bearer}, 400, protocol.InvalidRequest, "room"},
		{"/rooms/mine/messages", `{"data":`, []string{bearer}, 400, protocol.BadJSON, ""},
		{"/rooms/mine/messages", ``, []string{bearer}, 400, protocol.BadJSON, ""},
		{"/rooms/mine/messages", `{}`, []string{bearer}, 400, protocol.InvalidRequest, "data"},
		{"/rooms/mine/messages", `{"data":"` + strings.Repeat("x", 1<<10) + `"}`, []string{bearer}, 413, protocol.LimitExceeded, ""},
		{"/rooms/mine/messages", `{"data":"` + strings.Repeat("x", 1000) + `"}`, []string{bearer}, 413, protocol.LimitExceeded, ""},
	} {
		a := s.post(c.path, c.body, c.headers...)
		if p := a.problem(t); a.status != c.status || p.Code != c.code || p.Field != c.field || strings.Contains(a.body, token) {
			t.Errorf("%s %.20s %q: %d %s, want %d %s", c.path, c.body, c.headers, a.status, a.body, c.status, c.code)
		}
	}
	for _, method := range []string{"GET", "PUT", "OPTIONS"} {
		res := s.ask(method, "/rooms/mine/messages", false, bearer)
		if res.Body.Close(); res.StatusCode != 405 || res.Header.Get("Allow") != "POST" {
			t.Errorf("%s: %d, Allow %q", method, res.StatusCode, res.Header.Get("Allow"))
		}
	}
	if a := s.post("/rooms/mine/messages", `{"data":1}`, bearer, "Origin: https://good.test"); a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "https://good.test" {
		t.Errorf("%d %s %v", a.status, a.body, a.header)
	}
}
