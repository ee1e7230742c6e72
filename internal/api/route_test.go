package api

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// A path names one resource, and a room by any name can be named.
func TestWhatAPathNames(t *testing.T) {
	for path, want := range map[string]string{
		"/v1/rooms/lobby":          "/v1/rooms/{room} lobby",
		"/v1/rooms/lobby/messages": "/v1/rooms/{room}/messages lobby",
		"/v1/rooms/lobby/members":  "/v1/rooms/{room}/members lobby",
		// Slashes as they are.
		"/v1/rooms/a/b":                  "/v1/rooms/{room} a/b",
		"/v1/rooms/a/b/messages":         "/v1/rooms/{room}/messages a/b",
		"/v1/rooms/a/b/members":          "/v1/rooms/{room}/members a/b",
		"/v1/rooms/a/messages/b":         "/v1/rooms/{room} a/messages/b",
		"/v1/rooms/a/messages/b/members": "/v1/rooms/{room}/members a/messages/b",
		"/v1/rooms/a//b/messages":        "/v1/rooms/{room}/messages a//b",
		"/v1/rooms//a":                   "/v1/rooms/{room} /a",
		"/v1/rooms/a/":                   "/v1/rooms/{room} a/",
		// Escaped: the exact way.
		"/v1/rooms/a%2Fb":                        "/v1/rooms/{room} a/b",
		"/v1/rooms/a%2fb/messages":               "/v1/rooms/{room}/messages a/b",
		"/v1/rooms/%61%3Ab%40c%2E/messages":      "/v1/rooms/{room}/messages a:b@c.",
		"/v1/rooms/a:b@c.d-e_f/messages":         "/v1/rooms/{room}/messages a:b@c.d-e_f",
		"/v1/rooms/%2F":                          "/v1/rooms/{room} /",
		"/v1/rooms/%2Fmessages":                  "/v1/rooms/{room} /messages",
		"/v1/rooms/%2Fmessages/messages":         "/v1/rooms/{room}/messages /messages",
		"/v1/rooms/%2Fv1%2Frooms%2Fa%2Fmembers":  "/v1/rooms/{room} /v1/rooms/a/members",
		"/v1/rooms/a%2Fb%2Fmessages/c%2Fmembers": "/v1/rooms/{room} a/b/messages/c/members",
		// A room that is called like a call.
		"/v1/rooms/messages":              "/v1/rooms/{room} messages",
		"/v1/rooms/messages/messages":     "/v1/rooms/{room}/messages messages",
		"/v1/rooms/members/members":       "/v1/rooms/{room}/members members",
		"/v1/rooms/x%2Fmessages":          "/v1/rooms/{room} x/messages",
		"/v1/rooms/x%2Fmessages/messages": "/v1/rooms/{room}/messages x/messages",
		"/v1/rooms/x/messages/messages":   "/v1/rooms/{room}/messages x/messages",
		"/v1/rooms/x/messages/members":    "/v1/rooms/{room}/members x/messages",
		"/v1/rooms/x%2Fmembers/members":   "/v1/rooms/{room}/members x/members",
		"/v1/rooms/x%2Fmembers/messages":  "/v1/rooms/{room}/messages x/members",
		"/v1/rooms/x/message%73":          "/v1/rooms/{room} x/messages",
		"/v1/rooms/x/messagesx":           "/v1/rooms/{room} x/messagesx",
		// Nothing is made of dots.
		"/v1/rooms/.":               "/v1/rooms/{room} .",
		"/v1/rooms/..":              "/v1/rooms/{room} ..",
		"/v1/rooms/../messages":     "/v1/rooms/{room}/messages ..",
		"/v1/rooms/a/../b/messages": "/v1/rooms/{room}/messages a/../b",
		"/v1/rooms/%2E%2E/messages": "/v1/rooms/{room}/messages ..",
		// Decoded once.
		"/v1/rooms/a%252Fb":     "/v1/rooms/{room} a%2Fb",
		"/v1/rooms/%25/members": "/v1/rooms/{room}/members %",
		// Names that are none are told so by the call.
		"/v1/rooms/":          "/v1/rooms/{room} ",
		"/v1/rooms//messages": "/v1/rooms/{room}/messages ",
		"/v1/rooms/%20":       "/v1/rooms/{room}  ",

		"/v1/users/ada/connections":            "/v1/users/{user}/connections ada",
		"/v1/users/Zo%C3%AB@x.org/connections": "/v1/users/{user}/connections Zoë@x.org",
		"/v1/users/connections/connections":    "/v1/users/{user}/connections connections",
		"/v1/users//connections":               "/v1/users/{user}/connections ",
		"/v1/rooms":                            "/v1/rooms ",
		"/v1/messages":                         "/v1/messages ",
		"/v1/gateways":                         "/v1/gateways ",
		"/v1/revocations":                      "/v1/revocations ",
		"/v1":                                  "",
		"/v1/":                                 "",
		"/v1/messages/":                        "",
		"/v1/gateways/a":                       "",
		"/v1/users":                            "",
		"/v1/users/ada":                        "",
		"/v1/users/ada/messages":               "",
		"/v1/users/ada%2Fconnections":          "",
		"/v1%2Frooms%2Fa":                      "",
		"/v1/%72ooms/a":                        "",
		"/v1/Rooms/a":                          "",
		"/v2/rooms":                            "",
		"/v1//rooms":                           "",
		"/rooms/a/messages":                    "",
		"/v1/rooms%2Fa":                        "",
		"/v1/revocations?x":                    "/v1/revocations ",
		"/v1/rooms/a?/messages":                "/v1/rooms/{room} a",
		"/v1/rooms/a%3F/messages":              "/v1/rooms/{room}/messages a?",
		"http://other.host/v1/rooms/a%2Fmessages": "/v1/rooms/{room} a/messages",
	} {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if r, name := find(u); r != nil {
			got = r.path + " " + name
		}
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// Whatever the name of a room, a call about it says so with every slash escaped.
func FuzzFind(f *testing.F) {
	for _, name := range []string{"lobby", "x/messages", "/", "..", "a//b", "messages", "a%2Fb", "é", ""} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		escaped := "/v1/rooms/" + strings.ReplaceAll(url.PathEscape(name), ".", "%2E")
		for behind, want := range map[string]*resource{"": atRoom, "/messages": atRoomMessages, "/members": atRoomMembers} {
			u, err := url.ParseRequestURI(escaped + behind)
			if err != nil {
				t.Fatal(err)
			}
			r, got := find(u)
			if r != want || got != name {
				t.Errorf("%s: %+v %q", u, r, got)
			}
		}
	})
}

// The paths are the server's too: it cleans none and redirects nobody.
func TestRoomsOfAnyNameAreReached(t *testing.T) {
	s := serve(t)
	for path, name := range map[string]string{
		"/v1/rooms/a/b/messages":          "a/b",
		"/v1/rooms/a%2Fb/messages":        "a/b",
		"/v1/rooms/x%2Fmessages/messages": "x/messages",
		"/v1/rooms/x/messages/messages":   "x/messages",
		"/v1/rooms/../messages":           "..",
		"/v1/rooms/a//b/../c/messages":    "a//b/../c",
		"/v1/rooms/a:b@c.d/messages":      "a:b@c.d",
		"/v1/rooms/%2F%2F/messages":       "//",
	} {
		var stored struct{ Room string }
		if s.ask("POST", path, `{"data":1}`).into(t, &stored); stored.Room != name {
			t.Errorf("%s: %q, want %q", path, stored.Room, name)
		}
		if log := s.fake.logs[name]; len(log) == 0 {
			t.Errorf("%s: nothing is in %q", path, name)
		}
	}
}

func TestNamesThatAreNoneAreRefused(t *testing.T) {
	s := serve(t)
	long := strings.Repeat("a", 129)
	for path, field := range map[string]string{
		"/v1/rooms/": "room", "/v1/rooms//messages": "room", "/v1/rooms/a%20b/messages": "room", "/v1/rooms/a+b": "room",
		"/v1/rooms/%C3%A9/messages": "room", "/v1/rooms/a%252Fb": "room", "/v1/rooms/" + long: "room", "/v1/rooms/a%00/members": "room",
		"/v1/rooms/a%0Ab": "room",
	} {
		if a := s.ask("GET", path, ""); a.status != 400 || a.problem(t).Field != field || a.problem(t).Code != "invalid_request" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	for _, path := range []string{"/v1/users//connections", "/v1/users/a%20b/connections", "/v1/users/a%2Fb/connections", "/v1/users/a/b/connections"} {
		if a := s.ask("DELETE", path, ""); a.status != 400 || a.problem(t).Field != "user" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if len(s.fake.disconnected) > 0 {
		t.Errorf("disconnected: %q", s.fake.disconnected)
	}
}

func TestUsersAreComparedAfterNFC(t *testing.T) {
	s := serve(t)
	for _, path := range []string{"/v1/users/Zo%C3%AB/connections", "/v1/users/Zoe%CC%88/connections"} {
		if a := s.ask("DELETE", path, ""); a.status != 204 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if got := s.fake.disconnected; len(got) != 2 || got[0] != "Zoë" || got[1] != "Zoë" {
		t.Errorf("disconnected: %q", got)
	}
}

func TestUnknownPathsAndMethodsAreProblems(t *testing.T) {
	s := serve(t)
	s.fake.online = map[string][]broker.UserConnections{"a": {{User: "b", Connections: 1}}}
	for _, path := range []string{"/v1/", "/v1/nope", "/v1/users/ada", "/v2/rooms", "/", "/nope", "/healthz/"} {
		// Also without a key: there is nothing to be kept from anyone.
		if a := s.askAs("", "GET", path, ""); a.status != 404 || a.problem(t).Code != "invalid_request" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	for call, allow := range map[string]string{
		"PUT /v1/rooms/a/messages": "POST, GET, HEAD, DELETE", "POST /v1/rooms/a": "GET, HEAD", "DELETE /v1/rooms": "GET, HEAD",
		"GET /v1/messages": "POST", "GET /v1/users/ada/connections": "DELETE", "OPTIONS /v1/rooms/a/messages": "POST, GET, HEAD, DELETE",
		"PATCH /v1/revocations": "POST, GET, HEAD", "POST /v1/gateways": "GET, HEAD", "DELETE /healthz": "GET, HEAD", "POST /openapi.yaml": "GET, HEAD",
	} {
		method, path, _ := strings.Cut(call, " ")
		if a := s.ask(method, path, ""); a.status != 405 || a.header.Get("Allow") != allow || a.problem(t).Code != "invalid_request" {
			t.Errorf("%s: %d, Allow %q: %s", call, a.status, a.header.Get("Allow"), a.body)
		}
	}
	for _, path := range []string{"/v1/rooms/a", "/v1/rooms", "/v1/gateways", "/v1/rooms/a/messages"} {
		if a := s.ask(http.MethodHead, path, ""); a.status != 200 || a.body != "" || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("HEAD %s: %d %v %q", path, a.status, a.header, a.body)
		}
	}
}
