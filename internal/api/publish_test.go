package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

func TestAPublishStoresWhatWasSent(t *testing.T) {
	s := serve(t)
	for i, tt := range []struct{ body, data, event, from string }{
		{`{"data":1}`, `1`, "", "shop"},
		{"\n{ \"data\" :  { \"b\":1 , \"a\":\"\\u00e9<&>\" }\t, \"event\": \"chat\"}\r\n", `{ "b":1 , "a":"\u00e9<&>" }`, "chat", "shop"},
		{`{"data":"x","from":"Zoe\u0308"}`, `"x"`, "", "Zoë"},
		{`{"data":1.50e+02,"room":"elsewhere","to":["x"]}`, `1.50e+02`, "", "shop"},
	} {
		a := s.ask("POST", "/v1/rooms/a:b/messages", tt.body)
		if want := fmt.Sprintf(`{"room":"a:b","epoch":"e1","seq":%d}`, i+1); a.status != 200 || a.body != want || a.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%s: %d %s, want %s", tt.body, a.status, a.body, want)
		}
		m := s.fake.logs["a:b"][i]
		if string(m.Data) != tt.data || m.Event != tt.event || m.From != tt.from {
			t.Errorf("%s: %s %q %q", tt.body, m.Data, m.Event, m.From)
		}
	}
	if len(s.fake.logs) != 1 {
		t.Errorf("stored in %d rooms", len(s.fake.logs))
	}
}

func TestAPublishWithAnIDIsStoredOnce(t *testing.T) {
	s := serve(t)
	first := s.ask("POST", "/v1/rooms/a/messages", `{"data":1,"id":"x"}`)
	second := s.ask("POST", "/v1/rooms/a/messages", `{"data":2,"id":"x"}`)
	if first.body != `{"room":"a","epoch":"e1","seq":1}` || second.body != `{"room":"a","epoch":"e1","seq":1,"duplicate":true}` {
		t.Errorf("%s, then %s", first.body, second.body)
	}
}

func TestWhatIsNoMessageIsRefusedWithItsField(t *testing.T) {
	s := serve(t)
	s.fake.messageBytes = 20
	for body, want := range map[string]string{
		`{"data":1`: "400 bad_json ", `[]`: "400 bad_json ", `{"data":1,"data":2}`: "400 bad_json ", "{\"data\":\"\xff\"}": "400 bad_json ",
		`{}`: "400 invalid_request data", `{"data":1,"event":7}`: "400 invalid_request event", `{"data":1,"id":""}`: "400 invalid_request id",
		`{"data":1,"from":"a b"}`: "400 invalid_request from", `{"data":"` + strings.Repeat("x", 19) + `"}`: "413 limit_exceeded data",
		`{"data":"` + strings.Repeat("x", 18) + `"}`:          "",
		`{"x":"` + strings.Repeat("x", 60000) + `","data":1}`: "",
		`{"x":"` + strings.Repeat("x", 70000) + `","data":1}`: "413 limit_exceeded ",
	} {
		a := s.ask("POST", "/v1/rooms/a/messages", body)
		got := ""
		if a.status != 200 {
			p := a.problem(t)
			got = fmt.Sprintf("%d %s %s", p.Status, p.Code, p.Field)
		}
		if got != want {
			t.Errorf("%.40s: %q, want %q", body, got, want)
		}
	}
	if n := len(s.fake.logs["a"]); n != 2 {
		t.Errorf("%d are stored", n)
	}
}

func TestABodyHasRoomForTheLargestMessage(t *testing.T) {
	s := serve(t)
	s.fake.messageBytes = 1 << 20
	for size, want := range map[int]int{1 << 20: 200, 1<<20 + 1: 413} {
		body := `{"data":"` + strings.Repeat("x", size-2) + `","from":"` + strings.Repeat("x", 64) + `"}`
		if a := s.ask("POST", "/v1/rooms/a/messages", body); a.status != want || want != 200 && a.problem(t).Field != "data" {
			t.Errorf("%d bytes of data: %d %s", size, a.status, a.body)
		}
	}
}

// A batch's messages are judged and stored one by one.
func TestABatchHasAResultForEachMessageInOrder(t *testing.T) {
	s := serve(t)
	s.fake.messageBytes = 20
	s.fake.refuse = func(room string) error {
		switch room {
		case "away":
			return fmt.Errorf("somewhere: %w", broker.ErrUnavailable)
		case "full":
			return &protocol.Error{Code: protocol.RateLimited, Message: "too many messages in this room", RetryAfter: 1500e6}
		case "broken":
			return errFault
		}
		return nil
	}
	a := s.ask("POST", "/v1/messages", `[{"room":"a","data": {"n" : 1}},{"room":"away","data":2},{"room":"b","data":3,"from":"ada"},
		{"room":"no room","data":4},{"data":5},7,{"room":"a","data":"`+strings.Repeat("x", 19)+`"},{"room":"full","data":1},{"room":"broken","data":1},
		{"room":"a","data":6,"event":"e"}]`)
	var results []struct {
		Room  string
		Seq   uint64
		Error *problemBody
	}
	a.into(t, &results)
	for i, want := range []string{"a 1", "503 unavailable  1000", "b 1", "400 invalid_request room 0", "400 invalid_request room 0", "400 invalid_request  0",
		"413 limit_exceeded data 0", "429 rate_limited  1500", "500 internal  0", "a 2"} {
		if i >= len(results) {
			t.Fatalf("%d results: %s", len(results), a.body)
		}
		r := results[i]
		got := fmt.Sprintf("%s %d", r.Room, r.Seq)
		if r.Error != nil {
			got = fmt.Sprintf("%d %s %s %d", r.Error.Status, r.Error.Code, r.Error.Field, r.Error.RetryAfterMS)
		}
		if got != want {
			t.Errorf("%d: %s, want %s", i, got, want)
		}
	}
	if len(results) != 10 || string(s.fake.logs["a"][0].Data) != `{"n" : 1}` || s.fake.logs["b"][0].From != "ada" || len(s.fake.logs["a"]) != 2 {
		t.Errorf("%d results; stored %+v", len(results), s.fake.logs)
	}
}

func TestABatchThatIsNoneIsRefusedWhole(t *testing.T) {
	s := serve(t)
	for body, want := range map[string]string{
		`{"room":"a","data":1}`: "400 invalid_request", `[{"room":"a","data":1}`: "400 bad_json", `[{"room":"a","data":1,"data":1}]`: "400 bad_json",
		"[" + strings.Repeat(`{"room":"a","data":1},`, 10) + `{"room":"a","data":1}]`: "413 limit_exceeded",
	} {
		a := s.ask("POST", "/v1/messages", body)
		if p := a.problem(t); fmt.Sprintf("%d %s", p.Status, p.Code) != want {
			t.Errorf("%.40s: %s, want %s", body, a.body, want)
		}
	}
	if len(s.fake.logs) > 0 {
		t.Errorf("stored: %+v", s.fake.logs)
	}
	if a := s.ask("POST", "/v1/messages", ` [ ] `); a.status != 200 || a.body != "[]" {
		t.Errorf("nothing: %d %s", a.status, a.body)
	}
}

// A message that is not known to be stored is never said to be.
func TestABrokerThatIsAwayIsSaidToBe(t *testing.T) {
	s := serve(t)
	for _, err := range []error{broker.ErrUnavailable, fmt.Errorf("x: %w", broker.ErrClosed), context.DeadlineExceeded} {
		s.fake.err = err
		a := s.ask("POST", "/v1/rooms/a/messages", `{"data":1,"id":"x"}`)
		if p := a.problem(t); p.Status != 503 || p.Code != "unavailable" || a.header.Get("Retry-After") != "1" || p.RetryAfterMS != 1000 ||
			!strings.Contains(p.Detail, "sent again with the same id") && !strings.Contains(p.Detail, "send it again with the same id") {
			t.Errorf("%v: %v %s", err, a.header, a.body)
		}
		var results []struct{ Error problemBody }
		s.ask("POST", "/v1/messages", `[{"room":"a","data":1},{"room":"b","data":1}]`).into(t, &results)
		if len(results) != 2 || results[0].Error.Status != 503 || results[1].Error.Code != "unavailable" {
			t.Errorf("%v: %+v", err, results)
		}
		if a := s.ask("GET", "/v1/rooms/a", ""); a.status != 503 || a.header.Get("Retry-After") != "1" {
			t.Errorf("%v: %d %v", err, a.status, a.header)
		}
	}
}

func TestAFaultIsLoggedUnderItsRequestID(t *testing.T) {
	s := serve(t)
	header := http.Header{"Authorization": {"Bearer " + keyAll}, "Content-Type": {"application/json"}, "X-Request-Id": {"call-17"}}
	for _, panics := range []bool{false, true} {
		s.fake.err, s.fake.panics = errFault, panics
		a := s.do("POST", "/v1/rooms/a/messages", header, strings.NewReader(`{"data":"secret"}`))
		if p := a.problem(t); p.Status != 500 || p.Code != "internal" || p.RequestID != "call-17" || strings.Contains(p.Detail, "secret") {
			t.Errorf("%s", a.body)
		}
		own := s.ask("POST", "/v1/rooms/a/messages", `{"data":"secret"}`).problem(t)
		if own.RequestID == "" || !strings.Contains(s.logs.String(), own.RequestID) || !strings.Contains(s.logs.String(), "call-17") {
			t.Errorf("%+v is not in the log %s", own, s.logs)
		}
	}
	if strings.Contains(s.logs.String(), "secret") {
		t.Error("data is in the log")
	}
}

func TestAProblemBearsTheCallersRequestID(t *testing.T) {
	s := serve(t)
	for id, want := range map[string]string{"a-1": "a-1", strings.Repeat("x", 64): strings.Repeat("x", 64), "": "", strings.Repeat("x", 65): "", "a b": "", "é": ""} {
		header := http.Header{"Authorization": {"Bearer " + keyAll}}
		if id != "" {
			header["X-Request-Id"] = []string{id}
		}
		if got := s.do("GET", "/v1/rooms/a%20b", header, http.NoBody).problem(t).RequestID; got != want {
			t.Errorf("%q: %q", id, got)
		}
	}
}

// Too many calls at once are refused, and those that are let in are answered.
func TestTooManyCallsAtOnceAreRefused(t *testing.T) {
	s := serve(t, func(c *Config) { c.Requests = 2 })
	s.fake.hold = make(chan struct{})
	statuses := make(chan int, 2)
	for range 2 {
		go func() {
			r := httptest.NewRequest("POST", "/v1/rooms/a/messages", strings.NewReader(`{"data":1}`))
			r.Header = http.Header{"Authorization": {"Bearer " + keyAll}, "Content-Type": {"application/json"}}
			w := httptest.NewRecorder()
			s.api.ServeHTTP(w, r)
			statuses <- w.Code
		}()
	}
	s.until("two calls wait", func() bool { return s.set.HTTPInFlight.Value() == 2 })
	if a := s.ask("GET", "/v1/rooms/a", ""); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("a third: %d %s", a.status, a.body)
	}
	close(s.fake.hold)
	for range 2 {
		if got := <-statuses; got != 200 {
			t.Errorf("one that was let in: %d", got)
		}
	}
	if a := s.ask("GET", "/v1/rooms/a", ""); a.status != 200 || s.set.HTTPInFlight.Value() != 0 {
		t.Errorf("afterwards: %d", a.status)
	}
}

// Who has no key is refused before a byte of the body is read.
func TestABodyIsReadOnlyOfWhoMayPublish(t *testing.T) {
	s := serve(t)
	for key, want := range map[string]int{"": 401, "wrong-key-0123456789": 401, keyRead: 403, keyPublish: 200} {
		body := &watched{Reader: strings.NewReader(`{"data":1}`)}
		r := httptest.NewRequest("POST", "/v1/rooms/a/messages", body)
		r.Header = http.Header{"Authorization": {"Bearer " + key}, "Content-Type": {"application/json"}}
		w := httptest.NewRecorder()
		s.api.ServeHTTP(w, r)
		if w.Code != want || body.read != (want == 200) {
			t.Errorf("with %q: %d, read: %v", key, w.Code, body.read)
		}
	}
}

type watched struct {
	*strings.Reader
	read bool
}

func (w *watched) Read(p []byte) (int, error) {
	w.read = true
	return w.Reader.Read(p)
}

func TestACallerThatWentAwayIsNoFaultOfOurs(t *testing.T) {
	s := serve(t)
	s.fake.hold = make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		r := httptest.NewRequestWithContext(ctx, "POST", "/v1/rooms/a/messages", strings.NewReader(`{"data":1}`))
		r.Header = http.Header{"Authorization": {"Bearer " + keyAll}, "Content-Type": {"application/json"}}
		s.api.ServeHTTP(httptest.NewRecorder(), r)
		close(done)
	}()
	s.until("the call waits", func() bool { return s.set.HTTPInFlight.Value() == 1 })
	cancel()
	<-done
	page := s.askAs("", "GET", "/metrics", "").body
	for _, line := range []string{`fanfare_http_requests_total{call="publish",code="4xx"} 1`, `fanfare_http_requests_total{call="publish",code="5xx"} 0`} {
		if !strings.Contains(page, line) {
			t.Errorf("no %s", line)
		}
	}
}

func TestCallsAreCountedByTheirAnswers(t *testing.T) {
	s := serve(t)
	s.ask("POST", "/v1/rooms/a/messages", `{"data":1}`)
	s.ask("POST", "/v1/rooms/a/messages", `{}`)
	s.ask("POST", "/v1/messages", `[]`)
	s.ask("DELETE", "/v1/rooms/a/messages", ``)
	s.askAs("", "GET", "/v1/rooms", "")
	s.ask("GET", "/v1/nope", "")
	s.ask("PUT", "/v1/rooms", "")
	s.fake.err = errFault
	s.ask("GET", "/v1/rooms/a", "")
	page := s.askAs("", "GET", "/metrics", "").body
	for _, line := range []string{`{call="publish",code="2xx"} 1`, `{call="publish",code="4xx"} 1`, `{call="publish_many",code="2xx"} 1`,
		`{call="forget",code="2xx"} 1`, `{call="rooms",code="4xx"} 1`, `{call="none",code="4xx"} 2`, `{call="room",code="5xx"} 1`} {
		if !strings.Contains(page, "\nfanfare_http_requests_total"+line+"\n") {
			t.Errorf("no %s", line)
		}
	}
}

// FuzzBodies holds what a publish over HTTP takes, alone and in a batch, against
// what a WebSocket's takes as the payload of one.
func FuzzBodies(f *testing.F) {
	for _, body := range []string{`{"room":"a","data":1}`, ` {"data" : {"a":[1,"\u00e9"]},"room":"a/b", "id":"\u0031","event":"e"} `, `{"room":"a","data":1,"data":2}`,
		`{"room":"a","data":"` + "\xff" + `"}`, `{"room":"a","data":1},{"room":"b","data":2}`, `{"room":"a","data":1}}`, `{"room":"a b","data":1}`,
		`{"room":"a","data":` + strings.Repeat("[", 62) + strings.Repeat("]", 62) + `}`, `{"room":"a","data":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`,
		`{},"request_id":"x"`, `1`, ``, `{"room":"a","data":1,"from":"b c"}`, `{"room":"a","event":"","data":0}`} {
		f.Add([]byte(body))
	}
	fake := newFake()
	handler := serveGateway(f, fake, metrics.NewSet("test", metrics.NewLoops(1)), func(c *Config) { c.BodyBytes = 1 << 20 }).api
	post := func(path, body string) (int, string) {
		r := httptest.NewRequest("POST", path, strings.NewReader(body))
		r.Header = http.Header{"Authorization": {"Bearer " + keyAll}, "Content-Type": {"application/json"}}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 1<<20-2 {
			t.Skip()
		}
		var d protocol.Decoder
		var payload, want protocol.Request
		// The echo of a body is that body where it is one value and ends nothing around it.
		refusal := d.Decode(bytes.Join([][]byte{[]byte(`{"type":"echo","payload":`), body, []byte(`}`)}, nil), &payload)
		one := refusal == nil && bytes.Equal(payload.Value, bytes.Trim(body, " \t\r\n"))
		refusal = d.Decode(bytes.Join([][]byte{[]byte(`{"type":"publish","payload":`), body, []byte(`}`)}, nil), &want)
		taken := one && refusal == nil

		clear(fake.logs)
		clear(fake.ids)
		code, answered := post("/v1/messages", "["+string(body)+"]")
		var results []struct {
			Room  string
			Error *problemBody
		}
		if code == 200 {
			if err := json.Unmarshal([]byte(answered), &results); err != nil {
				t.Fatalf("%s: %v", answered, err)
			}
		}
		stored := len(results) == 1 && results[0].Error == nil
		if len(results) == 1 && results[0].Error != nil && results[0].Error.Field == "from" {
			taken = false // a WebSocket's publish has none
		}
		if len(results) < 2 && stored != taken {
			t.Fatalf("the batch answers %d %s, the WebSocket %v", code, answered, refusal)
		}
		if stored {
			same(t, fake, &want)
		}

		clear(fake.logs)
		clear(fake.ids)
		code, answered = post("/v1/rooms/r/messages", string(body))
		if code == 200 && !one {
			t.Fatalf("taken, and is not one value: %s", answered)
		}
		if taken {
			if code != 200 {
				t.Fatalf("%d %s, and the WebSocket takes it", code, answered)
			}
			want.Room = []byte("r")
			same(t, fake, &want)
		}
		if code != 200 && len(fake.logs) > 0 {
			t.Fatalf("stored, and answered %d", code)
		}
	})
}

// same compares the one message that is stored with a WebSocket's publish.
func same(t *testing.T, f *fake, want *protocol.Request) {
	t.Helper()
	log := f.logs[string(want.Room)]
	if len(f.logs) != 1 || len(log) != 1 {
		t.Fatalf("stored %+v, want one message in %s", f.logs, want.Room)
	}
	if !bytes.Equal(log[0].Data, want.Data) || log[0].Event != string(want.Event) {
		t.Fatalf("stored %+v, want %+v", log[0], want)
	}
	if _, ok := f.ids[string(want.Room)+"\x00"+string(want.PublishID)]; !ok {
		t.Fatalf("ids %v, want %s", f.ids, want.PublishID)
	}
}
