package gateway

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

func TestRoomsOfTheURLAreJoined(t *testing.T) {
	s := run(t)
	epoch := s.storeN("a", 3, 10).Epoch
	s.storeN("b@/x:y", 2, 10)
	c := s.connect(dialing{path: "/ws?room=a&room=b%40%2Fx:y&unknown=1&username=u"})
	want := map[string]uint64{"a": 3, "b@/x:y": 2}
	for range 2 {
		m := c.expect("joined") // in any order
		if seq, ok := want[m.Joined.Room]; !ok || m.ID != "" || m.Joined.Seq != seq || m.Joined.Recovery != protocol.NotAsked {
			t.Errorf("joined: %s", c.raw)
		}
		delete(want, m.Joined.Room)
	}
	r := s.connect(dialing{path: "/ws?room=a&since=" + epoch + ":1"})
	if m := r.expect("joined"); m.Joined.Recovery != protocol.Recovered || m.Joined.Seq != 1 {
		t.Errorf("joined: %s", r.raw)
	}
	r.messages("a", 2, 3)
}

func TestRoomsOfTheURLThatAreTooManyAreErrors(t *testing.T) {
	s := run(t, func(c *setup) { c.Limits.RoomsPerConn = 2 })
	c := s.connect(dialing{path: "/ws?room=a&room=a&room=b&room=c"})
	joined, refused := 0, 0
	for range 4 {
		switch m := c.next(); m.Type {
		case "joined":
			joined++
		case "error":
			refused++
			if m.Err.Code != protocol.LimitExceeded || m.ID != "" {
				t.Errorf("error: %s", c.raw)
			}
		}
	}
	if joined != 3 || refused != 1 {
		t.Errorf("%d joined and %d refused, want a twice, b, and c refused", joined, refused)
	}
}

func TestQueriesThatDoNotParseAreBadRequests(t *testing.T) {
	s := run(t)
	bad := []string{
		"room=", "room=a%20b", "room=%zz", "room=" + strings.Repeat("x", 129), "room=a;b", "since=e:1", "since=e:1&room=a&room=b",
		"room=a&since=e:1&since=e:2", "room=a&since=", "room=a&since=e", "room=a&since=e:", "room=a&since=:1", "room=a&since=e:-1",
		"room=a&since=e:01", "room=a&since=e:9007199254740992", "room=a&since=e%20:1", "%=1",
	}
	for _, q := range bad {
		if c, res := s.handshake(dialing{path: "/ws?" + q}); res.StatusCode != 400 || refusalCode(t, c) != "bad_request" {
			t.Errorf("?%.40s: %s %s", q, res.Status, c.raw)
		}
	}
	if n := s.metric(`fanfare_handshakes_rejected_total{reason="query"}`); n < float64(len(bad))-3 {
		t.Errorf("%v of %d counted", n, len(bad))
	}
}

func refusalCode(t *testing.T, c *client) string {
	t.Helper()
	var body struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(c.raw, &body); err != nil || body.Error.Message == "" {
		t.Errorf("body %q: %v", c.raw, err)
	}
	return body.Error.Code
}

func TestHandshakesAreRefused(t *testing.T) {
	s := run(t)
	for _, test := range []struct {
		name   string
		d      dialing
		status int
		reason string
	}{
		{"another path", dialing{path: "/nope"}, 404, "path"},
		{"echo, which is off", dialing{path: "/echo"}, 404, "path"},
		{"a foreign origin", dialing{headers: []string{"Origin: https://evil.example"}}, 403, "origin"},
		{"a second version", dialing{headers: []string{"Sec-WebSocket-Version: 8"}}, 400, "bad_request"},
		{"a second key", dialing{headers: []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}}, 400, "key"},
		{"a head too large", dialing{headers: []string{"X: " + strings.Repeat("x", 16<<10)}}, 431, "head_too_large"},
		{"too many headers", dialing{headers: strings.Split(strings.Repeat("X: 1,", 100)+"X: 1", ",")}, 431, "too_many_headers"},
		{"a body", dialing{headers: []string{"Content-Length: 1"}}, 400, "body"},
	} {
		series := `fanfare_handshakes_rejected_total{reason="` + test.reason + `"}`
		before := s.metric(series)
		_, res := s.handshake(test.d)
		if res.StatusCode != test.status {
			t.Errorf("%s: %s", test.name, res.Status)
		}
		s.untilMetric(series, before+1)
	}
}

func TestAWrongVersionIsTold(t *testing.T) {
	s := run(t)
	conn := s.raw()
	head := strings.Replace(dialing{}.request(s.addr), "Version: 13", "Version: 8", 1)
	_, _ = io.WriteString(conn, head)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != 426 || res.Header.Get("Sec-WebSocket-Version") != "13" {
		t.Fatalf("answer: %v %+v", err, res)
	}
}

func TestTheSubprotocolIsChosenAndATokenNeverEchoed(t *testing.T) {
	i := newIssuer(t)
	token := "bearer." + i.of("ada")
	s := run(t, i.trusted)
	for offer, want := range map[string]string{
		"fanfare.v1.json": "fanfare.v1.json", token + ", fanfare.v1.json": "fanfare.v1.json", token: "", "chat": "", "": "",
	} {
		var headers []string
		if offer != "" {
			headers = []string{"Sec-WebSocket-Protocol: " + offer}
		}
		c, res := s.handshake(dialing{headers: headers})
		if got := res.Header.Get("Sec-WebSocket-Protocol"); res.StatusCode != 101 || got != want {
			t.Errorf("offered %q: %s %q", offer, res.Status, got)
		}
		c.expect("welcome")
	}
}

func TestWhoMayNotConnectNowIsToldWhen(t *testing.T) {
	s := run(t, func(c *setup) { c.Limits.Connections = 2; c.Limits.QueuedBytes = 100 << 10 })
	refused := func(reason string) {
		t.Helper()
		c, res := s.handshake(dialing{})
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || refusalCode(t, c) != "unavailable" {
			t.Errorf("%s: %s %v %s", reason, res.Status, res.Header, c.raw)
		}
		s.untilMetric(`fanfare_handshakes_rejected_total{reason="`+reason+`"}`, 1)
	}
	s.tap.setReady(errors.New("the broker is away"))
	refused("not_ready")
	s.tap.setReady(nil)
	a, b := s.dial(), s.dial()
	refused("connections")
	b.conn.Close()
	s.untilMetric("fanfare_connections", 1)
	a.join("r", "")
	s.gw.backlogBytes.Add(200 << 10)
	defer s.gw.backlogBytes.Add(-200 << 10)
	refused("queued_bytes")
	a.fails(`{"type":"join","payload":{"room":"r2","last":1}}`, "unavailable", "")
	a.join("r2", "") // which queues nothing
	s.store("r2", "1")
	a.messages("r2", 1, 1)
}

func TestEchoGivesBackTextAndBinary(t *testing.T) {
	s := run(t, func(c *setup) { c.Echo = true })
	for _, deflate := range []bool{false, true} {
		c, res := s.handshake(dialing{path: "/echo", deflate: deflate})
		if res.StatusCode != 101 || (res.Header.Get("Sec-WebSocket-Extensions") != "") != deflate {
			t.Fatalf("%s %v", res.Status, res.Header)
		}
		c.config.MessageBytes = 1 << 20 // messages as they are
		for _, op := range []frame.Opcode{frame.OpText, frame.OpBinary} {
			for _, text := range []string{"", "hello", strings.Repeat("a long text ", 1000)} {
				if err := c.write(op, []byte(text)); err != nil {
					t.Fatal(err)
				}
				if c.next(); string(c.raw) != text {
					t.Errorf("echo of %.20q is %.20q", text, c.raw)
				}
			}
		}
		_ = c.write(frame.OpPing, []byte("p"))
		_ = c.write(frame.OpClose, []byte{0x0f, 0xa0, 'b', 'y', 'e'})
		c.closed(4000)
		if c.pongs != 1 {
			t.Errorf("%d pongs", c.pongs)
		}
	}
}

func TestWhatIsNoUpgradeGoesToHTTP(t *testing.T) {
	s := run(t, func(c *setup) {
		c.Public = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			_, _ = io.WriteString(w, r.Method+" "+r.URL.Path+" "+string(body))
		})
	})
	for range 3 {
		res, err := s.web().Post(s.origin()+"/page", "text/plain", strings.NewReader(strings.Repeat("b", 40<<10)))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if want := "POST /page " + strings.Repeat("b", 40<<10); string(body) != want || !res.Close {
			t.Errorf("%d bytes, close %v", len(body), res.Close)
		}
	}
	s.untilMetric("fanfare_handshakes", 0)
}

func TestAFirstMessageBehindTheHeadIsAnswered(t *testing.T) {
	s := run(t)
	conn := s.raw()
	b := frame.AppendMasked([]byte(dialing{}.request(s.addr)), frame.OpText, []byte(`{"type":"ping","request_id":"1"}`), [4]byte{9, 9, 9, 9})
	_, _ = conn.Write(b)
	c := &client{t: t, conn: conn, buf: make([]byte, 4096)}
	r := bufio.NewReader(conn)
	if _, err := http.ReadResponse(r, nil); err != nil {
		t.Fatal(err)
	}
	c.in, _ = r.Peek(r.Buffered())
	c.expect("welcome")
	c.expect("pong")
}
