package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/gateway"
	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/internal/room"
)

func TestARoomIsAStreamOfEvents(t *testing.T) {
	s := runGateway(t)
	s.publish("a/b", "0")
	res := s.ask("GET", "/rooms/a%2Fb/events", false)
	es, j := s.source(res)
	if h := res.Header; h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" || h.Get("Vary") != "Origin" {
		t.Errorf("head %v", h)
	}
	if j.Room != "a/b" || j.Seq != 1 || j.Members != 1 || j.Recovery != protocol.NotAsked {
		t.Errorf("joined %+v", j)
	}
	if n := s.metric("fanfare_sse_streams"); n != 1 {
		t.Errorf("%v streams", n)
	}
	s.publish("a/b", `{"text":"ü"}`, "{\n  \"text\":\r\n\"\\n\"\r}")
	for i, want := range []string{`{"text":"ü"}`, "{\n  \"text\":\n\"\\n\"\n}"} {
		e, _ := es.next()
		var m struct {
			Room, Epoch, From string
			Seq               uint64
			Time              int64
			Data              json.RawMessage
		}
		e.into(t, &m)
		if m.Room != "a/b" || m.From != "test" || m.Time == 0 || m.Seq != uint64(i+2) || string(m.Data) != want || e.id != j.Epoch+":"+strconv.Itoa(i+2) || e.name != "" {
			t.Errorf("%+v", e)
		}
	}
}

func TestAStreamBeginsWhereItIsAskedTo(t *testing.T) {
	s := runGateway(t)
	epoch := s.publish("r", "1", "2", "3", "4", "5").Epoch
	at := func(seq int) string { return epoch + ":" + strconv.Itoa(seq) }
	for path, c := range map[string]struct {
		header   string
		first    uint64
		recovery protocol.Recovery
	}{
		"/rooms/r/events?last=3":                 {"", 3, protocol.NotAsked},
		"/rooms/r/events?last=0":                 {"", 6, protocol.NotAsked},
		"/rooms/r/events?since=" + at(1):         {"", 2, protocol.Recovered},
		"/rooms/r/events?last=5":                 {"Last-Event-ID: " + at(4), 5, protocol.Recovered},
		"/rooms/r/events?since=" + at(0):         {"Last-Event-ID: " + at(2), 3, protocol.Recovered},
		"/rooms/r/events?since=another:2":        {"", 1, protocol.NotRecovered},
		"/rooms/r/events?presence=false&since=x": {"Last-Event-ID: another:2", 0, 0},
	} {
		headers := []string{}
		if c.header != "" {
			headers = append(headers, c.header)
		}
		if c.first == 0 { // what stands in the URL is judged in any case
			if res := s.ask("GET", path, false, headers...); res.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: %s", path, res.Status)
			}
			continue
		}
		es, j := s.listen(path, headers...)
		if j.Recovery != c.recovery || j.Seq != c.first-1 || j.Epoch != epoch {
			t.Errorf("%s %s: joined %+v", path, c.header, j)
		}
		es.wants(epoch, c.first, 5)
		es.body.Close()
	}
}

func TestWhoComesBackMissesNothing(t *testing.T) {
	s := runGateway(t)
	es, j := s.listen("/rooms/r/events")
	for seq := uint64(1); seq < 40; {
		s.publish("r", "1", "2", "3")
		es.wants(j.Epoch, seq, seq+1)
		es.body.Close()
		seq += 2
		es, _ = s.listen("/rooms/r/events", "Last-Event-ID: "+es.lastID)
		es.wants(j.Epoch, seq, seq)
		seq++
	}
}

func TestAStreamTellsWhoComes(t *testing.T) {
	s := runGateway(t, func(c *gateway.Config) { c.Classes[0].Presence = true })
	es, _ := s.listen("/rooms/r/events?presence=true")
	s.listen("/rooms/r/events")
	for seen := (protocol.Presence{}); seen.Count < 2; {
		e, ok := es.next()
		if !ok || e.name != "presence" || e.id != "" {
			t.Fatalf("%+v, %v", e, ok)
		}
		e.into(t, &seen)
	}
}

func TestAHeadIsThatOfTheStream(t *testing.T) {
	s := runGateway(t)
	res := s.ask("HEAD", "/rooms/r/events", false)
	body, err := io.ReadAll(res.Body)
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" || len(body) > 0 || err != nil {
		t.Errorf("%s %v %q %v", res.Status, res.Header, body, err)
	}
	if res := s.ask("HEAD", "/rooms/a%20b/events", false); res.StatusCode != 400 {
		t.Error(res.Status)
	}
	s.untilMetric("fanfare_sse_streams", func(n float64) bool { return n == 0 })
}

func TestAGatewayThatTakesNoMoreSaysWhenToComeBack(t *testing.T) {
	s := runGateway(t, func(c *gateway.Config) { c.Limits.Connections = 1 })
	s.listen("/rooms/r/events")
	res := s.ask("GET", "/rooms/r/events", false)
	body, _ := io.ReadAll(res.Body)
	if p := (answer{res.StatusCode, res.Header, string(body)}).problem(t); p.Status != 503 || p.Code != protocol.Unavailable || res.Header.Get("Retry-After") != "1" {
		t.Errorf("%s %v %s", res.Status, res.Header, body)
	}
}

// A reader that does not read is past the room's window: what it is sent and what
// its gaps name is all there was, and the room does not wait for it.
func TestASlowReaderIsSentOrToldOfEverything(t *testing.T) {
	const all, size = 2000, 4000
	s := runGateway(t, func(c *gateway.Config) {
		c.Classes[0].Slow = room.Window{Policy: room.Drop, Messages: 16}
		c.HeartbeatTimeout = time.Hour // it reads nothing for as long as all is published
	})
	slow, j := s.source(s.ask("GET", "/rooms/r/events", true))
	quick, _ := s.listen("/rooms/r/events")
	text := `"` + strings.Repeat("x", size) + `"`
	for seq := uint64(1); seq < all; seq += 8 { // within the window, so that the quick one keeps up
		s.publish("r", slices.Repeat([]string{text}, 8)...)
		quick.wants(j.Epoch, seq, seq+7)
	}
	at, gaps := uint64(0), 0
	for at < all {
		e, ok := slow.next()
		if !ok {
			t.Fatalf("it ended at %d", at)
		}
		var m protocol.Message
		var g protocol.Gap
		if e.name == "gap" {
			e.into(t, &g)
		} else {
			m.Seq = seqOf(t, e)
		}
		switch {
		case m.Seq == at+1:
			at = m.Seq
		case g.From == at+1 && g.Reason == protocol.GapSlowConsumer && e.id == fmt.Sprintf("%s:%d", j.Epoch, g.To):
			at = g.To
			gaps++
		default:
			t.Fatalf("at %d came %s %s", at, e.name, e.id)
		}
	}
	if gaps == 0 {
		t.Error("there was no gap")
	}
}

func TestASlowReaderIsEndedWhereTheRoomSaysSo(t *testing.T) {
	s := runGateway(t, func(c *gateway.Config) { c.Classes[0].Slow = room.Window{Policy: room.Disconnect, Messages: 4} })
	slow, _ := s.source(s.ask("GET", "/rooms/r/events", true))
	text := `"` + strings.Repeat("x", 8000) + `"`
	closed := `fanfare_connections_closed_total{reason="slow_consumer",side="gateway"}`
	for s.metric(closed) == 0 {
		s.publish("r", text)
	}
	for {
		e, ok := slow.next()
		if !ok {
			t.Fatal("it ended without a word")
		}
		if e.name == "close" {
			var c closing
			if e.into(t, &c); c.Code != protocol.CloseSlow || c.Reason == "" {
				t.Errorf("%+v", e)
			}
			break
		}
	}
	if _, ok := slow.next(); ok {
		t.Error("more came")
	}
}

// One that takes nothing at all is given up, as a WebSocket is.
func TestAReaderThatTakesNothingIsGivenUp(t *testing.T) {
	s := runGateway(t, func(c *gateway.Config) {
		c.HeartbeatInterval, c.HeartbeatTimeout = 200*time.Millisecond, 600*time.Millisecond
	})
	s.source(s.ask("GET", "/rooms/r/events", true))
	text := slices.Repeat([]string{`"` + strings.Repeat("x", 8000) + `"`}, 400)
	s.publish("r", text...)
	s.untilMetric("fanfare_sse_streams", func(n float64) bool { return n == 0 })
	s.untilMetric("fanfare_connections", func(n float64) bool { return n == 0 })
}

func TestAQuietStreamIsKeptAlive(t *testing.T) {
	s := runGateway(t, func(c *gateway.Config) { c.HeartbeatInterval, c.HeartbeatTimeout = 20*time.Millisecond, time.Second })
	es, j := s.listen("/rooms/r/events")
	timer := time.AfterFunc(300*time.Millisecond, func() { s.publish("r", "1") })
	defer timer.Stop()
	es.wants(j.Epoch, 1, 1)
	if es.quiet == 0 {
		t.Error("nothing came for 15 heartbeats")
	}
}

// timedWriter notes until when it may write.
type timedWriter struct {
	*httptest.ResponseRecorder
	until  time.Time
	writes []time.Duration // how long each had
}

func (w *timedWriter) SetWriteDeadline(t time.Time) error {
	w.until = t
	return nil
}

func (w *timedWriter) Write(b []byte) (int, error) {
	w.writes = append(w.writes, time.Until(w.until))
	return w.ResponseRecorder.Write(b)
}

// The server's write timeout begins with the request: a stream that kept it would
// end with it.
func TestEachWriteOfAStreamHasATimeOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &timedWriter{ResponseRecorder: httptest.NewRecorder()}
		s := newEventStream(w, heartbeat{interval: time.Second, timeout: time.Minute})
		for range 3 {
			<-time.After(time.Hour)
			s.event("", protocol.Position{}, []byte("1"))
			if err := s.flush(); err != nil || !w.Flushed {
				t.Fatal(err)
			}
		}
		if !slices.Equal(w.writes, []time.Duration{time.Minute, time.Minute, time.Minute}) {
			t.Errorf("the writes had %v", w.writes)
		}
	})
}

// A quiet room: for hours there are only the gateway's pings, which are answered,
// and do not stand in for what the client has to hear.
func TestAQuietRoomKeepsItsStreamForHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		w := &timedWriter{ResponseRecorder: httptest.NewRecorder()}
		s := newEventStream(w, heartbeat{interval: 25 * time.Second, timeout: time.Minute})
		served := make(chan struct{})
		go func() {
			defer close(served)
			c := &inside{Conn: near, buf: make([]byte, insideBuffer)}
			if j, p := c.join(protocol.Join{Room: "r"}); p != nil || j.Seq != 7 {
				t.Errorf("joined %+v, %v", j, p)
			} else {
				s.serve(t.Context(), c, j)
			}
			c.end()
		}()
		var reader frame.Reader
		buf := make([]byte, 4096)
		next := func() frame.Event {
			n, err := far.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			e, _, err := reader.Next(buf[:n], &frame.ReaderConfig{})
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		write := func(b []byte) {
			if _, err := far.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		next() // the join
		write(frame.AppendFrame(nil, frame.OpText, protocol.AppendJoined(nil, []byte(insideID), protocol.Joined{Room: "r", Position: protocol.Position{Epoch: "e", Seq: 7}})))
		for range 501 {
			<-time.After(20 * time.Second)
			write(frame.AppendFrame(nil, frame.OpPing, []byte("p")))
			if e := next(); e.Kind != frame.Pong || string(e.Payload) != "p" {
				t.Fatalf("answered with %+v", e)
			}
		}
		write(frame.AppendClose(nil, protocol.CloseRestart, ""))
		next()
		<-served
		if n := strings.Count(w.Body.String(), "\n:\n"); n != 501*20/25 {
			t.Errorf("%d comments", n)
		}
	})
}

func TestADrainSendsStreamsAway(t *testing.T) {
	s := runGateway(t, func(c *gateway.Config) { c.DrainPeriod = 100 * time.Millisecond })
	var all []*source
	for range 5 {
		es, _ := s.listen("/rooms/r/events")
		all = append(all, es)
	}
	done := make(chan struct{})
	go func() { s.stop(); close(done) }()
	for _, es := range all {
		e, ok := es.next()
		var told struct {
			AfterMS int64 `json:"after_ms"`
			Reason  string
		}
		if ok {
			e.into(t, &told)
		}
		if e.name != "reconnect" || told.Reason != "drain" || len(es.retries) != 2 || es.retries[1] != strconv.FormatInt(told.AfterMS, 10) {
			t.Errorf("%+v, retries %q", e, es.retries)
		}
		if e, ok := es.next(); ok {
			t.Errorf("and then %+v", e)
		}
	}
	<-done
}

func TestNamesInPathsOfStreams(t *testing.T) {
	for path, want := range map[string]string{
		"/rooms/r/events": "r", "/rooms/a/b/events": "a/b", "/rooms/a%2Fb/events": "a/b", "/rooms/../events": "..", "/rooms/a//b/events": "a//b",
		"/rooms/events/events": "events", "/rooms//events": "", "/rooms/%41:@/events": "A:@",
	} {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := roomOf(u, eventsBehind); got != want || !ok {
			t.Errorf("%s: %q, %v", path, got, ok)
		}
	}
	for _, path := range []string{"/rooms/events", "/rooms/r", "/room/r/events", "/rooms/r/events/x"} {
		if name, ok := roomOf(&url.URL{Path: path}, eventsBehind); ok {
			t.Errorf("%s: %q", path, name)
		}
	}
}

// FuzzEventData: whatever is written, a reader of lines has it back, but for how
// its lines end.
func FuzzEventData(f *testing.F) {
	for _, s := range []string{"", "{}", "a\nb", "a\r\nb", "\r\r\n\n", "id: 7\n\ndata: x", "\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var back [][]byte
		out := appendData(nil, data)
		for line := range bytes.Lines(out) {
			rest, ok := bytes.CutPrefix(bytes.TrimSuffix(line, []byte("\n")), []byte("data: "))
			if !ok || bytes.ContainsAny(rest, "\r\n") {
				t.Fatalf("%q is written as %q", data, out)
			}
			back = append(back, rest)
		}
		want := bytes.ReplaceAll(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
		if got := bytes.Join(back, []byte("\n")); !bytes.Equal(got, want) {
			t.Fatalf("%q came back as %q", data, got)
		}
	})
}
