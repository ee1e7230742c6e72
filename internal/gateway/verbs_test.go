package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

func TestWelcomeIsTheFirstFrameAndSaysTheLimits(t *testing.T) {
	s := run(t, func(c *setup) { c.Limits.RoomsPerConn = 7 })
	a, b := s.dial(), s.dial()
	w := a.welcome
	if w.Gateway != "gw" || w.MessageBytes != 64<<10 || w.Rooms != 7 || w.HeartbeatInterval != 25*time.Second || w.HeartbeatTimeout != time.Minute {
		t.Errorf("welcome: %+v", w)
	}
	if !strings.HasPrefix(w.User, "guest-") || w.Connection == "" || w.Connection == b.welcome.Connection || w.User == b.welcome.User {
		t.Errorf("names: %+v and %+v", w, b.welcome)
	}
}

func TestAPublishRightBehindAJoinReachesItsPublisher(t *testing.T) {
	free := make(chan struct{})
	s := run(t, func(c *setup) { c.tap.reading = gate(t, "r", free) })
	c := s.connect(dialing{path: "/ws?room=r"})
	for i := range 3 {
		c.sendf(`{"type":"publish","request_id":"%d","payload":{"room":"r","data":%d}}`, i, i)
	}
	c.send(`{"type":"leave","request_id":"l","payload":{"room":"r"}}`)
	c.send(`{"type":"publish","request_id":"3","payload":{"room":"r","data":3}}`)
	c.sync()
	close(free)
	if j := c.expect("joined"); j.Joined.Seq != 0 {
		t.Errorf("joined at %d, behind its own publish", j.Joined.Seq)
	}
	c.expect("left")
	for i := range 4 {
		if m := c.reply(fmt.Sprint(i)); m.Published.Seq != uint64(i+1) {
			t.Errorf("publish %d: %+v", i, m)
		}
	}
	d := s.connect(dialing{path: "/ws?room=r2"})
	d.send(`{"type":"publish","payload":{"room":"r2","data":"own"}}`)
	d.expect("joined")
	if m := d.expect("message"); string(m.Message.Data) != `"own"` {
		t.Errorf("%+v", m)
	}
}

func TestPublishesBehindAJoinThatWaitsAreBounded(t *testing.T) {
	free := make(chan struct{})
	s := run(t, func(c *setup) { c.tap.reading = gate(t, "r", free) })
	c := s.connect(dialing{path: "/ws?room=r"})
	for i := range 8 {
		c.sendf(`{"type":"publish","request_id":"%d","payload":{"room":"r","data":%s}}`, i, sized(i, 30<<10))
	}
	for i := 4; i < 8; i++ {
		if m := c.reply(fmt.Sprint(i)); m.Err == nil || m.Err.Code != protocol.Unavailable {
			t.Errorf("publish %d: %+v", i, m)
		}
	}
	close(free)
	c.expect("joined")
	for i := range 4 {
		if m := c.next(); m.Type == "error" {
			t.Errorf("publish %d: %+v", i, m)
		}
	}
}

func TestQuestionsAreAnsweredWithAndWithoutRequestID(t *testing.T) {
	s := run(t)
	c := s.dial()
	for _, id := range []string{"", `r1`, "ünï \"q\" \\ \x01"} {
		envelope := ""
		if id != "" {
			envelope = `"request_id":` + quoted(id) + `,`
		}
		for request, want := range map[string]string{
			`{%s"type":"ping"}`:                               "pong",
			`{%s"type":"echo","version":1,"payload":[1]}`:     "echo",
			`{%s"type":"join","payload":{"room":"q"}}`:        "joined",
			`{%s"type":"history","payload":{"room":"empty"}}`: "history",
		} {
			before := time.Now().UnixMilli()
			c.send(strings.Replace(request, "%s", envelope, 1))
			m := c.expect(want)
			if m.ID != id {
				t.Errorf("%s: request_id %q, want %q", want, m.ID, id)
			}
			if want == "pong" && (m.Time < before || m.Time > time.Now().UnixMilli()) {
				t.Errorf("pong: time %d", m.Time)
			}
		}
	}
	if !strings.Contains(string(c.raw), `"version":1`) {
		t.Errorf("no version in %s", c.raw)
	}
}

// quoted is id as a JSON string, escaped as little as may be.
func quoted(id string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\x01", `\u0001`).Replace(id) + `"`
}

func TestAPublishAndALeaveWithoutRequestIDAreSilent(t *testing.T) {
	s := run(t)
	c := s.dial()
	c.join("r", "")
	c.send(`{"type":"publish","payload":{"room":"r","data":1}}`)
	c.expect("message")
	c.send(`{"type":"publish","payload":{"room":"other","data":1}}`)
	c.send(`{"type":"leave","payload":{"room":"r"}}`)
	c.sync()
	c.fails(`{"type":"leave","payload":{"room":"r"}}`, "not_joined", "room")
}

// payloads are JSON values that a decoder and encoder would change.
var payloads = []string{
	`null`, `true`, `0`, `-0`, `1.0`, `1e400`, `0.1000000000000000055511151231257827`, `9007199254740993`, `""`, `[]`, `{}`,
	`{"b":1,"a":2}`, `"\u0041\/\ud83d\ude00"`, `"<&>\u2028é😀"`, ` [ 1 , 2 ]`, "{\n\t\"x\" : [ ]\r\n}", `[[[[[[[[[[1]]]]]]]]]]`,
}

func TestDataReachesMembersByteForByte(t *testing.T) {
	s := run(t)
	member, publisher := s.dial(), s.dial()
	member.join("r", "")
	for i, data := range payloads {
		p := publisher.publish("r", data)
		m := member.expect("message")
		if want := strings.TrimSpace(data); string(m.Message.Data) != want {
			t.Errorf("data %q became %q", want, m.Message.Data)
		}
		if p.Seq != uint64(i+1) || m.Message.Seq != p.Seq || m.Message.Epoch != p.Epoch || m.Message.From != publisher.welcome.User {
			t.Errorf("published %+v, message %+v", p, m.Message)
		}
		member.send(`{"type":"echo","request_id":"e","payload":` + data + `}`)
		if e := member.expect("echo"); string(e.Value) != strings.TrimSpace(data) {
			t.Errorf("echo of %q is %q", data, e.Value)
		}
	}
	publisher.send(`{"type":"history","request_id":"h","payload":{"room":"r"}}`)
	for i, m := range publisher.reply("h").History.Messages {
		if string(m.Data) != strings.TrimSpace(payloads[i]) {
			t.Errorf("history has %q for %q", m.Data, payloads[i])
		}
	}
}

func TestAMemberReceivesItsOwnMessageAndItsEvent(t *testing.T) {
	s := run(t)
	c := s.dial()
	c.join("r", "")
	before := time.Now().UnixMilli()
	c.send(`{"type":"publish","request_id":"p","payload":{"room":"r","event":"größe","data":{"x":1}}}`)
	var m protocol.Message
	for range 2 {
		switch f := c.next(); f.Type {
		case "message":
			m = f.Message
		case "published":
			if f.Published.Duplicate || f.Published.Seq != 1 || f.Published.Room != "r" {
				t.Errorf("published: %s", c.raw)
			}
		}
	}
	if m.Event != "größe" || m.From != c.welcome.User || m.Time < before || m.Time > time.Now().UnixMilli() {
		t.Errorf("own message: %+v", m)
	}
}

func TestAPublishWithAnIDIsStoredAndDeliveredOnce(t *testing.T) {
	s := run(t)
	a, b := s.dial(), s.dial()
	a.join("r", "")
	send := func(c *client, room, data string) protocol.Published {
		c.sendf(`{"type":"publish","request_id":"p","payload":{"room":%q,"id":"once","data":%s}}`, room, data)
		return c.reply("p").Published
	}
	first := send(b, "r", "1")
	for _, c := range []*client{a, b} {
		if again := send(c, "r", "2"); !again.Duplicate || again.Position != first.Position {
			t.Errorf("second publish with the id: %+v, the first was %+v", again, first)
		}
	}
	if other := send(b, "r2", "3"); other.Duplicate {
		t.Error("an id of one room counts in another")
	}
	b.publish("r", "4")
	a.join("r2", `,"last":10`) // behind all that came for r
	if h := s.historyOf(a, "r", ""); len(h.Messages) != 2 || string(h.Messages[0].Data) != "1" || string(h.Messages[1].Data) != "4" {
		t.Errorf("history: %+v", h)
	}
}

func (s *service) historyOf(c *client, name, more string) protocol.History {
	s.t.Helper()
	c.sendf(`{"type":"history","request_id":"h","payload":{"room":%q%s}}`, name, more)
	m := c.reply("h")
	if m.Type != "history" {
		s.t.Fatalf("history: %s", c.raw)
	}
	return m.History
}

func TestWhatOneConnectionPublishesIsStoredInItsOrder(t *testing.T) {
	s := run(t, func(c *setup) { c.Loops = 2; c.history(1000, 0, 0) })
	const each = 200
	member := s.dial()
	member.join("r", "")
	publishers := []*client{s.dial(), s.dial(), s.dial()}
	for i := range each {
		for p, c := range publishers {
			c.sendf(`{"type":"publish","request_id":"%d","payload":{"room":"r","data":[%d,%d]}}`, i, p, i)
		}
	}
	at := make([]int, len(publishers))
	for seq := range uint64(each * len(publishers)) {
		m := member.expect("message").Message
		var p, i int
		if _, err := fmt.Sscanf(string(m.Data), "[%d,%d]", &p, &i); err != nil || m.Seq != seq+1 || i != at[p] {
			t.Fatalf("message %d is %s, want %d of publisher %d", m.Seq, m.Data, at[p], p)
		}
		at[p]++
	}
	for _, c := range publishers {
		last := uint64(0)
		for i := range each {
			m := c.expect("published")
			if m.ID != fmt.Sprint(i) || m.Published.Seq <= last {
				t.Fatalf("reply %d: %s", i, c.raw)
			}
			last = m.Published.Seq
		}
	}
}

func TestASecondJoinChangesNothing(t *testing.T) {
	s := run(t)
	c := s.dial()
	s.storeN("r", 5, 10)
	first := c.join("r", "")
	again := c.join("r", since(first.Epoch, 1))
	if again.Position != first.Position || again.Recovery != protocol.NotAsked || again.Members != 1 {
		t.Errorf("second joined %+v, first %+v", again, first)
	}
	s.store("r", "6")
	c.messages("r", 6, 6)
	if third := c.join("r", `,"last":3,"presence":true`); third.Seq != 6 || third.Members != 1 {
		t.Errorf("third joined: %+v", third)
	}
	c.send(`{"type":"leave","request_id":"l","payload":{"room":"r"}}`)
	c.expect("left")
	c.fails(`{"type":"leave","request_id":"l","payload":{"room":"r"}}`, "not_joined", "room")
}

func TestLeaveEndsTheMessagesAndRejoinStandsAtTheNewest(t *testing.T) {
	s := run(t)
	c := s.dial()
	c.join("r", "")
	s.store("r", "1")
	c.messages("r", 1, 1)
	c.send(`{"type":"leave","request_id":"l","payload":{"room":"r"}}`)
	if m := c.expect("left"); m.Left != "r" || m.ID != "l" {
		t.Errorf("left: %s", c.raw)
	}
	s.store("r", "2")
	c.sync()
	if j := c.join("r", ""); j.Seq != 2 {
		t.Errorf("rejoined at %d, want 2", j.Seq)
	}
	s.store("r", "3")
	c.messages("r", 3, 3)
}

func TestHistoryBounds(t *testing.T) {
	s := run(t, func(c *setup) { c.history(20, 0, 0) })
	c := s.dial()
	epoch := s.storeN("r", 30, 10).Epoch // keeps 11 to 30
	for _, test := range []struct {
		ask      string
		from, to uint64 // from 0: none
	}{
		{``, 11, 30}, {`,"limit":3`, 28, 30}, {`,"after":0,"limit":3`, 11, 13}, {`,"after":15,"limit":2`, 16, 17},
		{`,"before":15`, 11, 14}, {`,"before":15,"limit":2`, 13, 14}, {`,"after":12,"before":16`, 13, 15},
		{`,"after":12,"before":30,"limit":2`, 13, 14}, {`,"after":30`, 0, 0}, {`,"after":9007199254740991`, 0, 0},
		{`,"before":11`, 0, 0}, {`,"before":1`, 0, 0}, {`,"before":0`, 0, 0}, {`,"after":20,"before":20`, 0, 0},
		{`,"after":25,"before":9007199254740991,"limit":1000`, 26, 30},
	} {
		h := s.historyOf(c, "r", test.ask)
		if h.Epoch != epoch || h.First != 11 || h.Last != 30 || h.Room != "r" {
			t.Errorf("%s: epoch %s, %d to %d", test.ask, h.Epoch, h.First, h.Last)
		}
		want := 0
		if test.from > 0 {
			want = int(test.to - test.from + 1)
		}
		if len(h.Messages) != want {
			t.Errorf("%s: %d messages, want %d", test.ask, len(h.Messages), want)
			continue
		}
		for i, m := range h.Messages {
			if m.Seq != test.from+uint64(i) || string(m.Data) != sized(int(m.Seq)-1, 10) {
				t.Errorf("%s: message %d is %d %s", test.ask, i, m.Seq, m.Data)
			}
		}
	}
	if h := s.historyOf(c, "unused", ""); len(h.Messages) != 0 || h.Last != 0 || h.Epoch == "" {
		t.Errorf("history of a room that was never used: %+v", h)
	}
}

func TestEveryErrorCodeAndTheConnectionStaysOpen(t *testing.T) {
	s := run(t, func(c *setup) { c.Limits.RoomsPerConn = 1; c.Limits.MembersPerRoom = 1 })
	c, other := s.dial(), s.dial()
	other.join("full", "")
	for _, test := range []struct{ request, code, field string }{
		{`x`, "bad_json", ""}, {``, "bad_json", ""}, {`[]`, "bad_json", ""}, {`{"type":"ping"}{}`, "bad_json", ""},
		{`{"type":"ping","type":"ping"}`, "bad_json", ""},
		{`{"type":"publish","payload":{"room":"r","data":{"a":1,"a":2}}}`, "bad_json", ""},
		{`{"type":"echo","payload":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`, "bad_json", ""},
		{`{}`, "invalid_request", "type"}, {`{"type":1}`, "invalid_request", "type"},
		{`{"type":"join"}`, "invalid_request", "payload"}, {`{"type":"join","payload":{}}`, "invalid_request", "room"},
		{`{"type":"join","payload":{"room":"a b"}}`, "invalid_request", "room"},
		{`{"type":"join","payload":{"room":"r","last":-1}}`, "invalid_request", "last"},
		{`{"type":"join","payload":{"room":"r","last":1,"since":{"epoch":"e","seq":1}}}`, "invalid_request", "last"},
		{`{"type":"join","payload":{"room":"r","since":{"seq":1}}}`, "invalid_request", "since.epoch"},
		{`{"type":"publish","payload":{"room":"r"}}`, "invalid_request", "data"},
		{`{"type":"publish","payload":{"room":"r","data":1,"id":""}}`, "invalid_request", "id"},
		{`{"type":"publish","payload":{"room":"r","data":1,"event":""}}`, "invalid_request", "event"},
		{`{"type":"history","payload":{"room":"r","limit":1001}}`, "invalid_request", "limit"},
		{`{"type":"nope"}`, "unknown_type", "type"}, {`{"type":"auth","payload":{"token":"x"}}`, "unauthorized", "token"},
		{`{"type":"ping","version":2}`, "unsupported_version", "version"}, {`{"type":"ping","version":"1"}`, "invalid_request", "version"},
		{`{"type":"leave","payload":{"room":"full"}}`, "not_joined", "room"},
		{`{"type":"join","payload":{"room":"full"}}`, "limit_exceeded", "room"},
	} {
		c.fails(test.request, test.code, test.field)
	}
	c.join("mine", "")
	c.fails(`{"type":"join","payload":{"room":"second"}}`, "limit_exceeded", "room")
	c.send(`{"type":"nope","request_id":"r9"}`)
	if m := c.expect("error"); m.ID != "r9" {
		t.Errorf("the error bears no request_id: %s", c.raw)
	}
	c.sync()
}

func TestABrokerThatDoesNotStoreIsUnavailable(t *testing.T) {
	s := run(t, func(c *setup) {
		c.tap.published = func(rs []broker.Result) []broker.Result {
			for i := range rs {
				rs[i].Err = broker.ErrUnavailable
				if i%2 == 1 {
					rs[i].Err = fmt.Errorf("wrapped: %w", broker.ErrClosed)
				}
			}
			return rs
		}
	})
	c := s.dial()
	c.fails(`{"type":"publish","request_id":"p","payload":{"room":"r","data":1}}`, "unavailable", "")
	c.fails(`{"type":"publish","payload":{"room":"r","data":1}}`, "unavailable", "") // it went wrong: a reply without an id too
	c.sync()
}

func TestViolationsEndWithTheirCloseCode(t *testing.T) {
	s := run(t)
	for code, send := range map[uint16]func(*client){
		protocol.CloseUnsupported: func(c *client) { _ = c.write(frame.OpBinary, []byte("{}")) },
		protocol.CloseTooBig:      func(c *client) { _ = c.write(frame.OpText, make([]byte, 64<<10+1)) },
		protocol.CloseInvalidUTF8: func(c *client) { _ = c.write(frame.OpText, []byte("\xff")) },
		protocol.CloseProtocol:    func(c *client) { _, _ = c.conn.Write(frame.AppendFrame(nil, frame.OpText, []byte("{}"))) },
		protocol.CloseGoingAway:   func(c *client) { _ = c.write(frame.OpClose, []byte{0x03, 0xe9}) },
	} {
		c := s.dial()
		c.join("r", "")
		send(c)
		c.closed(code)
	}
	s.untilMetric("fanfare_memberships", 0)
}
