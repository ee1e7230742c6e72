package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// What is served is documented, and the other way round.
func TestEveryRouteIsInTheDocumentAndTheOtherWayRound(t *testing.T) {
	doc, err := openAPIParsed()
	if err != nil {
		t.Fatal(err)
	}
	var served, documented []string
	for _, r := range resources {
		for _, c := range r.calls {
			served = append(served, c.method+" "+r.path)
		}
	}
	for _, p := range (Admin{Metrics: http.NotFoundHandler()}).pages() {
		served = append(served, "GET "+strings.ReplaceAll(p.path, "...", ""))
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			documented = append(documented, method+" "+path)
		}
	}
	sort.Strings(served)
	sort.Strings(documented)
	if !slices.Equal(served, documented) {
		t.Errorf("served     %q\ndocumented %q", served, documented)
	}
}

func TestTheDocumentIsServedAsItIs(t *testing.T) {
	s := serve(t)
	if a := s.askAs("", "GET", "/openapi.yaml", ""); a.status != 200 || a.body != string(openAPIDocument) {
		t.Errorf("%d, %d bytes of %d", a.status, len(a.body), len(openAPIDocument))
	}
}

// Whatever is documented happens, and is as it is documented: every answer in
// these tests is held against the document.
func TestEveryDocumentedAnswerIsGiven(t *testing.T) {
	s := serve(t, func(c *Config) { c.Requests = 3 })
	s.fake.messageBytes = 100
	s.fake.online = map[string][]broker.UserConnections{"lobby": {{User: "ada", Connections: 2}}}
	calls := []struct{ method, path, body string }{
		{"POST", "/v1/rooms/lobby/messages", `{"data":1,"event":"e","id":"i"}`},
		{"GET", "/v1/rooms/lobby/messages?limit=5", ""},
		{"DELETE", "/v1/rooms/lobby/messages", ""},
		{"POST", "/v1/messages", `[{"room":"a","data":1},{"room":"b c","data":1},{"room":"a"}]`},
		{"GET", "/v1/rooms?limit=1", ""},
		{"GET", "/v1/rooms/lobby", ""},
		{"GET", "/v1/rooms/lobby/members", ""},
		{"DELETE", "/v1/users/ada/connections", ""},
		{"POST", "/v1/revocations", `{"user":"ada"}`},
		{"GET", "/v1/revocations", ""},
		{"GET", "/v1/gateways", ""},
		{"GET", "/v1/fleet", ""},
	}
	want := func(method, path, body string, a answer, statuses ...int) {
		t.Helper()
		if !slices.Contains(statuses, a.status) {
			t.Errorf("%s %s %s: %d %s, want one of %d", method, path, body, a.status, a.body, statuses)
		}
	}
	for _, c := range calls {
		want(c.method, c.path, c.body, s.ask(c.method, c.path, c.body), 200, 204)
		want(c.method, c.path, c.body, s.askAs("", c.method, c.path, c.body), 401)
		want(c.method, c.path, c.body, s.askAs(keyAll+"x", c.method, c.path, c.body), 401)
		key := keyRead
		if c.method == "GET" {
			key = keyPublish
		}
		want(c.method, c.path, c.body, s.askAs(key, c.method, c.path, c.body), 403)
		for err, status := range map[error]int{errFault: 500, broker.ErrUnavailable: 503, broker.ErrClosed: 503,
			&protocol.Error{Code: protocol.RateLimited, Message: "too many", RetryAfter: 1}: 429} {
			if status == 429 && !strings.HasSuffix(c.path, "lobby/messages") {
				continue
			}
			if status == 429 && c.method != "POST" {
				continue
			}
			s.fake.err = err
			a := s.ask(c.method, c.path, c.body)
			if c.path == "/v1/messages" {
				status = 200 // with the error in each result
			}
			if c.path == "/v1/fleet" {
				status = 200 // this gateway, which says why there is no other
			}
			want(c.method, c.path, c.body, a, status)
			s.fake.err = nil
		}
		s.fake.panics = true
		want(c.method, c.path, c.body, s.ask(c.method, c.path, c.body), 500)
		s.fake.panics = false
		s.api.inFlight.Add(3)
		want(c.method, c.path, c.body, s.ask(c.method, c.path, c.body), 503)
		s.api.inFlight.Add(-3)
		if c.method == "POST" {
			s.refusesBodies(c.path)
		}
	}
	for _, path := range []string{"/v1/rooms/a+b", "/v1/rooms?limit=0", "/v1/rooms/a/members?cursor=", "/v1/rooms/a/messages?after=x"} {
		want("GET", path, "", s.ask("GET", path, ""), 400)
	}
	for _, path := range []string{"/v1/rooms/%20/messages", "/v1/users/%20/connections"} {
		want("DELETE", path, "", s.ask("DELETE", path, ""), 400)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/openapi.yaml", "/asyncapi.yaml", "/schemas/client/publish.json"} {
		want("GET", path, "", s.askAs("", "GET", path, ""), 200)
	}
	want("GET", "/schemas/x", "", s.askAs("", "GET", "/schemas/none.json", ""), 404)
	s.fake.err = broker.ErrUnavailable
	want("GET", "/readyz", "", s.askAs("", "GET", "/readyz", ""), 503)
	want("GET", "/readyz", "", s.askAs("", "GET", "/readyz?unready=404", ""), 404)

	doc, err := openAPIParsed()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for status := range operation.Responses.Map() {
				if _, ok := seen.Load(operation.OperationID + " " + status); !ok {
					t.Errorf("%s %s documents %s, which did not happen", method, path, status)
				}
			}
		}
	}
}

// refusesBodies sees that a call takes no bad body, and no slow one.
func (s *service) refusesBodies(path string) {
	s.t.Helper()
	header := func(pairs ...string) http.Header {
		h := http.Header{"Authorization": {"Bearer " + keyAll}, "Content-Type": {"application/json"}}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	large := strings.Repeat(" ", 64<<10) + "1"
	for _, tt := range []struct {
		header http.Header
		body   string
		status int
	}{
		{header(), `{"data":1`, 400},
		{header(), ``, 400},
		{header(), `7`, 400},
		{header(), large, 413},
		{header("Content-Type", "text/plain"), `{"data":1}`, 415},
		{header("Content-Type", ""), `{"data":1}`, 415},
		{header("Content-Type", "application/json; charset"), `{"data":1}`, 415},
		{header("Content-Encoding", "gzip"), `{"data":1}`, 415},
	} {
		if a := s.do("POST", path, tt.header, strings.NewReader(tt.body)); a.status != tt.status {
			s.t.Errorf("POST %s %v %.20s: %d %s, want %d", path, tt.header, tt.body, a.status, a.body, tt.status)
		}
		// The same without a length.
		chunked := struct{ io.Reader }{strings.NewReader(tt.body)}
		if a := s.do("POST", path, tt.header, chunked); a.status != tt.status {
			s.t.Errorf("POST %s in chunks %v %.20s: %d %s, want %d", path, tt.header, tt.body, a.status, a.body, tt.status)
		}
	}
	s.slow(path)
}

// slow sends half a body and no more.
func (s *service) slow(path string) {
	s.t.Helper()
	server := httptest.NewUnstartedServer(s.api)
	server.Config.ReadTimeout = 50 * time.Millisecond
	server.Start()
	defer server.Close()
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", path, keyAll)
	r, err := http.NewRequest("POST", s.http.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(c), r)
	if err != nil {
		s.t.Fatalf("POST %s, slowly: %v", path, err)
	}
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusRequestTimeout || !response.Close {
		s.t.Errorf("POST %s, slowly: %d %s", path, response.StatusCode, body)
	}
	r.URL.Opaque = "//" + r.URL.Host + path
	s.check("POST", r, answer{response.StatusCode, response.Header, string(body)})
}
