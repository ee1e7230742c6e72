package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// verbs are the calls by what they need a key for.
var verbs = []struct{ needs, method, path, body string }{
	{"publish", "POST", "/v1/rooms/lobby/messages", `{"data":1}`},
	{"publish", "POST", "/v1/messages", `[{"room":"lobby","data":1}]`},
	{"read", "GET", "/v1/rooms/lobby/messages", ""},
	{"read", "HEAD", "/v1/rooms/lobby/messages", ""},
	{"read", "GET", "/v1/rooms/lobby/members", ""},
	{"read", "GET", "/v1/rooms/lobby", ""},
	{"read", "GET", "/v1/rooms", ""},
	{"admin", "DELETE", "/v1/rooms/lobby/messages", ""},
	{"admin", "DELETE", "/v1/users/ada/connections", ""},
	{"admin", "GET", "/v1/gateways", ""},
	{"admin", "POST", "/v1/revocations", `{"jti":"t1"}`},
	{"admin", "GET", "/v1/revocations", ""},
}

// The whole table: each set of permissions, and none, for each call, in a room of
// each class.
func TestKeysMayWhatTheyAreFor(t *testing.T) {
	sets := [][]string{{"publish"}, {"read"}, {"admin"}, {"publish", "read"}, {"publish", "admin"}, {"read", "admin"}, {"publish", "read", "admin"}}
	file := ""
	for i, set := range sets {
		file += fmt.Sprintf("- {name: k%d, key: key-number-%d-of-all, allow: [%s]}\n", i, i, strings.Join(set, ", "))
	}
	s := serve(t)
	s.api.SetKeys(loadKeys(t, file))
	for _, access := range []auth.Access{auth.Anyone, auth.Member, auth.Claim, auth.Server} {
		s.fake.class.Rules = auth.Rules{Join: access, Publish: access, History: access, Members: access}
		for _, v := range verbs {
			for i, set := range sets {
				a := s.askAs(fmt.Sprintf("key-number-%d-of-all", i), v.method, v.path, v.body)
				allowed := strings.Contains(strings.Join(set, " "), v.needs)
				if allowed != (a.status < 300) || !allowed && a.status != 403 {
					t.Errorf("%s %s in a room for %v with a key for %q: %d %s", v.method, v.path, access, set, a.status, a.body)
				}
				if a.status == 403 && v.method != "HEAD" && a.problem(t).Code != "forbidden" {
					t.Errorf("%s %s: %s", v.method, v.path, a.body)
				}
			}
			if a := s.askAs("", v.method, v.path, v.body); a.status != 401 {
				t.Errorf("%s %s in a room for %v without a key: %d", v.method, v.path, access, a.status)
			}
		}
	}
}

func TestKeysThatAreNotValidAreRefused(t *testing.T) {
	s := serve(t)
	for _, header := range []string{
		"", "Bearer", "Bearer ", "Bearer x", "Bearer " + keyAll + "x", "Bearer " + keyAll[:len(keyAll)-1], "Basic " + keyAll, keyAll,
		"Bearer" + keyAll, "Bearer " + keyAll + " ", "Bearer " + keyAll + "," + keyRead, "Bearer shop",
	} {
		r := http.Header{"Authorization": {header}}
		if header == "" {
			r = http.Header{}
		}
		a := s.do("GET", "/v1/rooms/lobby", r, http.NoBody)
		// What is around a header's value is no part of it (RFC 9110 section 5.5).
		if header == "Bearer "+keyAll+" " {
			if a.status != 200 {
				t.Errorf("%q: %d", header, a.status)
			}
			continue
		}
		challenge := a.header.Get("WWW-Authenticate")
		if a.status != 401 || a.problem(t).Code != "unauthorized" || !strings.HasPrefix(challenge, `Bearer realm="fanfare"`) {
			t.Errorf("%q: %d %v %s", header, a.status, a.header, a.body)
		}
		if strings.Contains(challenge, "invalid_token") != strings.HasPrefix(header, "Bearer ") != (header == "Bearer ") {
			t.Errorf("%q: %s", header, challenge)
		}
	}
	twice := http.Header{"Authorization": {"Bearer " + keyAll, "Bearer " + keyAll}}
	if a := s.do("GET", "/v1/rooms/lobby", twice, http.NoBody); a.status != 401 {
		t.Errorf("two headers: %d", a.status)
	}
	for _, header := range []string{"Bearer " + keyAll, "bearer " + keyAll, "BEARER  " + keyAll} {
		if a := s.do("GET", "/v1/rooms/lobby", http.Header{"Authorization": {header}}, http.NoBody); a.status != 200 {
			t.Errorf("%q: %d", header, a.status)
		}
	}
}

func TestKeysChangeWhileItRuns(t *testing.T) {
	s := serve(t)
	s.api.SetKeys(loadKeys(t, "- {name: new, key: the-new-key-of-all, allow: [read]}"))
	if a := s.ask("GET", "/v1/rooms/lobby", ""); a.status != 401 {
		t.Errorf("the key before: %d", a.status)
	}
	if a := s.askAs("the-new-key-of-all", "GET", "/v1/rooms/lobby", ""); a.status != 200 {
		t.Errorf("the key now: %d", a.status)
	}
	s.api.SetKeys(nil)
	if a := s.askAs("the-new-key-of-all", "GET", "/v1/rooms/lobby", ""); a.status != 401 {
		t.Errorf("no keys: %d", a.status)
	}
}

// With dev and without keys whoever calls on this machine, for this machine, may
// do all.
func TestOnlyTheMachineItselfNeedsNoKeyInDevelopment(t *testing.T) {
	f := newFake()
	newAPI := func(dev bool) *API {
		s := serveGateway(t, f, metrics.NewSet("test", metrics.NewLoops(1)), func(c *Config) { c.Dev = dev })
		s.api.SetKeys(nil)
		return s.api
	}
	with, without := newAPI(true), newAPI(false)
	ask := func(a *API, from, host string, header http.Header) int {
		r := httptest.NewRequest("GET", "/v1/rooms/lobby", nil)
		r.RemoteAddr, r.Host = from, host
		for name, v := range header {
			r.Header[name] = v
		}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		return w.Code
	}
	for _, from := range []string{"127.0.0.1:5", "127.3.4.5:6", "[::1]:7", "[::ffff:127.0.0.1]:8"} {
		for _, host := range []string{"localhost:9090", "LOCALHOST", "127.0.0.1:9090", "[::1]:9090", "[::1]"} {
			if got := ask(with, from, host, nil); got != 200 {
				t.Errorf("from %s for %s: %d", from, host, got)
			}
			if got := ask(without, from, host, nil); got != 401 {
				t.Errorf("without dev, from %s for %s: %d", from, host, got)
			}
		}
	}
	for _, from := range []string{"192.168.1.7:5", "[2001:db8::1]:5", "[fe80::1%lo]:5", "0.0.0.0:1", "@", ""} {
		if got := ask(with, from, "localhost:9090", nil); got != 401 {
			t.Errorf("from %q: %d", from, got)
		}
	}
	for _, host := range []string{"", "evil.example", "localhost.evil.example:9090", "127.0.0.1.evil.example", "10.0.0.1"} {
		if got := ask(with, "127.0.0.1:5", host, nil); got != 401 {
			t.Errorf("for %q: %d", host, got)
		}
	}
	for _, name := range []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"} {
		if got := ask(with, "127.0.0.1:5", "localhost", http.Header{name: {"127.0.0.1"}}); got != 401 {
			t.Errorf("with %s: %d", name, got)
		}
	}
	with.SetKeys(loadKeys(t, keysFile))
	if got := ask(with, "127.0.0.1:5", "localhost", nil); got != 401 {
		t.Errorf("with keys: %d", got)
	}
}

// No key is in a log, a metric or an answer.
func TestKeysAreNowhereToBeRead(t *testing.T) {
	s := serve(t)
	s.fake.err = errFault
	said := ""
	for _, v := range verbs {
		for _, key := range []string{keyAll, keyRead, "wrong-" + keyAll} {
			a := s.askAs(key, v.method, v.path, v.body)
			said += fmt.Sprint(a.header, a.body)
		}
	}
	said += s.askAs("", "GET", "/metrics", "").body
	if !strings.Contains(s.logs.String(), "a fault") {
		t.Error("the faults are not logged: the test is blind")
	}
	for _, secret := range []string{keyAll, keyRead} {
		if strings.Contains(said+s.logs.String(), secret) {
			t.Errorf("%q is said or logged", secret)
		}
	}
}
