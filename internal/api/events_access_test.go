package api

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/gateway"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// issuer signs tokens, and has what verifies them.
type issuer struct {
	t        *testing.T
	signer   *auth.Signer
	verifier *auth.Verifier
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("0123456789abcdef0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.NewVerifier(auth.Config{SecretFiles: []string{secret}})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := auth.SecretSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{t: t, signer: signer, verifier: verifier}
}

// token is good for an hour unless the claims say for how long.
func (i *issuer) token(c auth.Claims) string {
	i.t.Helper()
	if c.Expires.IsZero() {
		c.Expires = time.Now().Add(time.Hour)
	}
	token, err := i.signer.Sign(c)
	if err != nil {
		i.t.Fatal(err)
	}
	return token
}

func TestStreamsAreRefusedAsWebSocketsAre(t *testing.T) {
	i := newIssuer(t)
	token := i.token(auth.Claims{Subject: "ada", Rooms: map[string][]string{"mine": {"join"}}})
	s := runGateway(t, func(c *gateway.Config) {
		c.Auth = gateway.Auth{Verifier: i.verifier, Required: true}
		c.Edge = gateway.NewEdge(gateway.EdgeConfig{Origins: []string{"https://good.test"}})
		c.Limits.MembersPerRoom = 1
	})
	bearer := "Authorization: Bearer " + token
	for _, c := range []struct {
		method, path string
		headers      []string
		status       int
		code         protocol.Code
		field        string
	}{
		{"GET", "/rooms/mine/events", nil, 401, protocol.Unauthorized, ""},
		{"GET", "/rooms/mine/events?token=bad", nil, 401, protocol.Unauthorized, ""},
		{"GET", "/rooms/mine/events?token=" + token, []string{bearer}, 400, protocol.InvalidRequest, ""},
		{"GET", "/rooms/other/events?token=" + token, nil, 403, protocol.Forbidden, "room"},
		{"GET", "/rooms/mine/events", []string{bearer, "Origin: https://bad.test"}, 403, protocol.Forbidden, ""},
		{"GET", "/rooms/mine/events", []string{bearer, "Origin: null"}, 403, protocol.Forbidden, ""},
		{"GET", "/rooms/no%20room/events", []string{bearer}, 400, protocol.InvalidRequest, "room"},
		{"GET", "/rooms//events", []string{bearer}, 400, protocol.InvalidRequest, "room"},
		{"GET", "/rooms/mine/events?last=-1", []string{bearer}, 400, protocol.InvalidRequest, "last"},
		{"GET", "/rooms/mine/events?last=x", []string{bearer}, 400, protocol.InvalidRequest, "last"},
		{"GET", "/rooms/mine/events?last=1&last=2", []string{bearer}, 400, protocol.InvalidRequest, "last"},
		{"GET", "/rooms/mine/events?last=1&since=e:1", []string{bearer}, 400, protocol.InvalidRequest, "last"},
		{"GET", "/rooms/mine/events?since=e", []string{bearer}, 400, protocol.InvalidRequest, "since"},
		{"GET", "/rooms/mine/events?presence=maybe", []string{bearer}, 400, protocol.InvalidRequest, "presence"},
		{"GET", "/rooms/mine/events?last=%zz", []string{bearer}, 400, protocol.InvalidRequest, "query"},
		{"GET", "/rooms/mine/events", []string{bearer, "Last-Event-ID: 7"}, 400, protocol.InvalidRequest, "Last-Event-ID"},
		{"GET", "/rooms/mine", []string{bearer}, 404, protocol.InvalidRequest, ""},
		{"GET", "/rooms/mine/events/", []string{bearer}, 404, protocol.InvalidRequest, ""},
		{"GET", "/rooms/", []string{bearer}, 404, protocol.InvalidRequest, ""},
		{"POST", "/rooms/mine/events", []string{bearer}, 405, protocol.InvalidRequest, ""},
		{"OPTIONS", "/rooms/mine/events", []string{bearer}, 405, protocol.InvalidRequest, ""},
	} {
		res := s.ask(c.method, c.path, false, c.headers...)
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		a := answer{res.StatusCode, res.Header, string(body)}
		if p := a.problem(t); res.StatusCode != c.status || p.Code != c.code || p.Field != c.field || strings.Contains(a.body, token) {
			t.Errorf("%s %s %q: %d %s, want %d %s", c.method, c.path, c.headers, a.status, a.body, c.status, c.code)
		}
		if allow := res.Header.Get("Allow"); (c.status == 405) != (allow == "GET, HEAD") {
			t.Errorf("%s: Allow %q", c.path, allow)
		}
		if challenge := res.Header.Get("WWW-Authenticate"); (c.status == 401) != (challenge == "Bearer") {
			t.Errorf("%s: WWW-Authenticate %q", c.path, challenge)
		}
		if origin := res.Header.Get("Access-Control-Allow-Origin"); origin != "" {
			t.Errorf("%s: %q may read it", c.path, origin)
		}
	}

	res := s.ask("GET", "/rooms/mine/events", false, bearer, "Origin: https://good.test")
	if origin := res.Header.Get("Access-Control-Allow-Origin"); res.StatusCode != 200 || origin != "https://good.test" {
		t.Errorf("%s, %q may read it", res.Status, origin)
	}
	s.untilMetric("fanfare_memberships", func(n float64) bool { return n == 1 })
	refused := s.ask("GET", "/rooms/other/events", false, bearer, "Origin: https://good.test")
	if origin := refused.Header.Get("Access-Control-Allow-Origin"); refused.StatusCode != 403 || origin != "https://good.test" {
		t.Errorf("refused with %s, %q may read why", refused.Status, origin)
	}
	full := s.ask("GET", "/rooms/mine/events", false, bearer)
	body, _ := io.ReadAll(full.Body)
	if p := (answer{full.StatusCode, full.Header, string(body)}).problem(t); p.Status != 429 || p.Code != protocol.LimitExceeded {
		t.Errorf("a full room: %s", body)
	}
}

// Waiting lets in who came too often, and nobody who has all that one may have.
func TestAStreamOverALimitSaysWhich(t *testing.T) {
	for code, limits := range map[protocol.Code]gateway.Usage{
		protocol.LimitExceeded: {Connections: 1},
		protocol.RateLimited:   {ConnectsPerSecond: 1},
	} {
		i := newIssuer(t)
		s := runGateway(t, func(c *gateway.Config) {
			c.Auth = gateway.Auth{Verifier: i.verifier, Required: true}
			c.Limits.User = limits
		})
		bearer := "Authorization: Bearer " + i.token(auth.Claims{Subject: "ada", Rooms: map[string][]string{"mine": {"join"}}})
		var last answer
		for range 20 {
			res := s.ask("GET", "/rooms/mine/events", false, bearer)
			if last = (answer{res.StatusCode, res.Header, ""}); last.status == 200 {
				continue
			}
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			last.body = string(body)
			break
		}
		if p := last.problem(t); p.Status != 429 || p.Code != code {
			t.Errorf("%d %s, want 429 %s", p.Status, last.body, code)
		}
	}
}

// A page of an allowed origin may send its token in a header; its browser asks
// first, without the token.
func TestABrowserMayAskWhetherAPageMayAsk(t *testing.T) {
	i := newIssuer(t)
	s := runGateway(t, func(c *gateway.Config) {
		c.Auth = gateway.Auth{Verifier: i.verifier, Required: true}
		c.Edge = gateway.NewEdge(gateway.EdgeConfig{Origins: []string{"https://good.test"}})
	})
	asking := []string{"Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization"}
	for _, c := range []struct {
		headers []string
		status  int
		origin  string
	}{
		{append(asking, "Origin: https://good.test"), 204, "https://good.test"},
		{append(asking, "Origin: https://bad.test"), 405, ""},
		{append(asking, "Origin: null"), 405, ""},
		{asking, 405, ""},
		{[]string{"Origin: https://good.test"}, 405, "https://good.test"},
	} {
		for path, method := range map[string]string{"events": "GET", "messages": "POST"} {
			res := s.ask("OPTIONS", "/rooms/mine/"+path, false, c.headers...)
			if origin := res.Header.Get("Access-Control-Allow-Origin"); res.StatusCode != c.status || origin != c.origin || res.Header.Get("Vary") != "Origin" {
				t.Errorf("%s %q: %s %v", path, c.headers, res.Status, res.Header)
			}
			methods, allowed := res.Header.Get("Access-Control-Allow-Methods"), res.Header.Get("Access-Control-Allow-Headers")
			if may := methods == method && strings.Contains(allowed, "Authorization") && strings.Contains(allowed, "Content-Type"); (c.status == 204) != may {
				t.Errorf("%s %q: methods %q, headers %q", path, c.headers, methods, allowed)
			}
		}
	}
	if a := s.post("/rooms/mine/messages", `{"data":1}`, "Origin: https://good.test"); a.status != 401 || a.header.Get("Access-Control-Allow-Origin") != "https://good.test" {
		t.Errorf("refused with %d %v", a.status, a.header)
	}
	if n := s.metric("fanfare_connections_opened_total"); n != 0 {
		t.Errorf("%v connections for questions alone", n)
	}
}

// TestStreamsAreLetAsThePermissionMatrixSays is the third way in of the one table
// of who may do what, of which package gateway's testdata says more.
func TestStreamsAreLetAsThePermissionMatrixSays(t *testing.T) {
	var table []struct {
		Who             string
		Token           bool
		Rooms           map[string][]string
		Key             []string
		Allowed, Joined map[string]string
	}
	text, err := os.ReadFile("../gateway/testdata/permissions.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	i := newIssuer(t)
	accesses := []auth.Access{auth.Anyone, auth.Member, auth.Claim, auth.Server}
	s := runGateway(t, func(c *gateway.Config) {
		c.Auth.Verifier = i.verifier
		var classes gateway.Classes
		for _, a := range accesses {
			rules := auth.Rules{Join: a, Publish: a, History: a, Members: a}
			if a == auth.Member {
				rules.Join = auth.Anyone
			}
			class := c.Classes[0].Class
			class.Match = a.String() + ":*"
			classes = append(classes, gateway.Class{Class: class, Rules: rules})
		}
		c.Classes = append(classes, c.Classes...)
	})
	tried := 0
	for _, row := range table {
		if row.Key != nil {
			continue // a backend
		}
		query := ""
		if row.Token {
			query = "&token=" + i.token(auth.Claims{Subject: "ada", Rooms: row.Rooms})
		}
		for _, a := range accesses {
			joins := strings.Contains(row.Allowed[a.String()], "j")
			// Who joins reads as a member does.
			reads := strings.Contains(row.Allowed[a.String()]+row.Joined[a.String()], "h")
			for path, may := range map[string]bool{"/events?last=0": joins, "/events?last=1": joins && reads} {
				want := map[bool]int{true: http.StatusOK, false: http.StatusForbidden}[may]
				res := s.ask("GET", "/rooms/"+a.String()+":room"+path+query, false)
				if res.Body.Close(); res.StatusCode != want {
					t.Errorf("%s, a room for %v, %s: %d, want %d", row.Who, a, path, res.StatusCode, want)
				}
				tried++
			}
		}
	}
	if tried < 80 {
		t.Errorf("only %d tried", tried)
	}
}

func TestAStreamEndsWithItsToken(t *testing.T) {
	i := newIssuer(t)
	token := i.token(auth.Claims{Subject: "ada", Expires: time.Now().Add(1500 * time.Millisecond)})
	s := runGateway(t, func(c *gateway.Config) { c.Auth = gateway.Auth{Verifier: i.verifier, Required: true} })
	es, _ := s.listen("/rooms/r/events?token=" + token)
	e, _ := es.next()
	var c closing
	if e.into(t, &c); e.name != "close" || c.Code != protocol.CloseToken {
		t.Errorf("%+v", e)
	}
	if res := s.ask("GET", "/rooms/r/events?token="+token, false, "Last-Event-ID: "+es.lastID); res.StatusCode != http.StatusUnauthorized {
		t.Error(res.Status)
	}
}

// A room that is shut by a reload ends the streams of who may not be in it any
// more, as they have nothing else.
func TestAStreamEndsWithItsRoomsPermission(t *testing.T) {
	i := newIssuer(t)
	token := i.token(auth.Claims{Subject: "ada", Rooms: map[string][]string{"*": {"join"}}})
	var live gateway.Live
	s := runGateway(t, func(c *gateway.Config) {
		c.Auth = gateway.Auth{Verifier: i.verifier}
		live = c.Live
	})
	guest, _ := s.listen("/rooms/r/events")
	listed, _ := s.listen("/rooms/r/events?token=" + token)
	live.Classes = gateway.Classes{live.Classes[0]}
	live.Classes[0].Rules.Join = auth.Claim
	s.gw.Apply(live)
	e, _ := guest.next()
	var c closing
	if e.into(t, &c); e.name != "close" || c.Code != protocol.ClosePolicy {
		t.Errorf("%+v", e)
	}
	if e, more := guest.next(); more {
		t.Errorf("behind the end: %+v", e)
	}
	s.publish("r", "1")
	if e, more := listed.next(); !more || e.name != "" {
		t.Errorf("who may stay got %+v, %v", e, more)
	}
}
