package protocol

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares frames with the lines of a file in testdata.
func golden(t *testing.T, file string, frames [][]byte) {
	t.Helper()
	got := append(bytes.Join(frames, []byte("\n")), '\n')
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(want, []byte("\n")), []byte("\n"))
	if len(lines) != len(frames) {
		t.Fatalf("%d frames, %s has %d", len(frames), file, len(lines))
	}
	for i, frame := range frames {
		if !bytes.Equal(frame, lines[i]) {
			t.Errorf("%s:%d\n got %s\nwant %s", file, i+1, frame, lines[i])
		}
		if !jsontext.Value(frame).IsValid() {
			t.Errorf("%s:%d is not JSON: %s", file, i+1, frame)
		}
	}
}

// serverFrames has every frame a gateway sends: how it is made, and what a
// client must read in it.
func serverFrames() []serverFrame {
	id := []byte("r\"1\né")
	hi := Message{Room: "lobby", Epoch: "e1", Seq: 18, Time: 1790000000123, From: "guest-1", Data: []byte(`{ "text": "hi" }`)}
	named := Message{Room: "a/b", Epoch: "e1", Seq: MaxSeq, Time: 1, From: "Zoë", Event: "größe\u2028", Data: []byte("null")}
	long := Welcome{Connection: "c1", User: "guest-1", Gateway: "gw-1", HeartbeatInterval: 25 * time.Second,
		HeartbeatTimeout: time.Minute, MessageBytes: 65536, Rooms: 100}
	joined := Joined{Room: "lobby", Position: Position{"e1", 17}, Members: 3}
	yes, no := joined, joined
	yes.Recovery, no.Recovery = Recovered, NotRecovered
	history := History{Room: "lobby", Epoch: "e1", Messages: []Message{hi, named}, First: 18, Last: MaxSeq}
	members := Members{Room: "lobby", Count: 3, Users: []Member{{"ada", 1}, {"Zoë", 2}}, Cursor: "Zo\"ë"}
	last := Members{Room: "lobby", Count: 3, Users: []Member{{"李雷", 1}}}
	presence := Presence{Room: "lobby", Joined: []string{"ada", "Zoë"}, Left: []string{"guest-1"}, Count: 3}
	unsure := Presence{Room: "lobby", Count: 3, Incomplete: true}
	registered := long
	registered.User, registered.UsernameKey = "ada", "k1"
	gap := Gap{Room: "lobby", Epoch: "e1", From: 18, To: 20, Reason: GapSlowConsumer}
	reset := Reset{Room: "lobby", Position: Position{"e2", 0}, Previous: Position{"e1", 17}}
	limited := &Error{Code: RateLimited, Message: "slow down", RetryAfter: 1500*time.Millisecond + 1}
	seen := *limited
	seen.RetryAfter = 1501 * time.Millisecond
	s := func(kind, id string, set func(*Server)) Server {
		v := Server{Type: kind, ID: id}
		set(&v)
		return v
	}
	return []serverFrame{
		{AppendPong(nil, id, 1790000000123), s("pong", string(id), func(v *Server) { v.Time = 1790000000123 })},
		{AppendPong(nil, nil, -1), s("pong", "", func(v *Server) { v.Time = -1 })},
		{AppendEcho(nil, id, []byte(`[1, {"a":"]"}]`)), s("echo", string(id), func(v *Server) { v.Value = []byte(`[1, {"a":"]"}]`) })},
		{AppendEcho(nil, nil, nil), s("echo", "", func(*Server) {})},
		{AppendJoined(nil, id, joined), s("joined", string(id), func(v *Server) { v.Joined = joined })},
		{AppendJoined(nil, nil, yes), s("joined", "", func(v *Server) { v.Joined = yes })},
		{AppendJoined(nil, nil, no), s("joined", "", func(v *Server) { v.Joined = no })},
		{AppendLeft(nil, id, "lobby"), s("left", string(id), func(v *Server) { v.Left = "lobby" })},
		{AppendPublished(nil, id, "lobby", Position{"e1", 18}, false), s("published", string(id), func(v *Server) {
			v.Published = Published{Room: "lobby", Position: Position{"e1", 18}}
		})},
		{AppendPublished(nil, id, "lobby", Position{"e1", 18}, true), s("published", string(id), func(v *Server) {
			v.Published = Published{Room: "lobby", Position: Position{"e1", 18}, Duplicate: true}
		})},
		{AppendHistory(nil, id, history), s("history", string(id), func(v *Server) { v.History = history })},
		{AppendHistory(nil, id, History{Room: "lobby", Epoch: "e1"}), s("history", string(id), func(v *Server) {
			v.History = History{Room: "lobby", Epoch: "e1"}
		})},
		{AppendMembers(nil, id, members), s("members", string(id), func(v *Server) { v.Members = members })},
		{AppendMembers(nil, nil, last), s("members", "", func(v *Server) { v.Members = last })},
		{AppendMembers(nil, nil, Members{Room: "lobby"}), s("members", "", func(v *Server) { v.Members.Room = "lobby" })},
		{AppendRegistered(nil, id, Registered{"Zoë", "k-1"}), s("registered", string(id), func(v *Server) { v.Registered = Registered{"Zoë", "k-1"} })},
		{AppendAuthenticated(nil, id, Authenticated{"ada", 1790000000123}), s("authenticated", string(id), func(v *Server) {
			v.Authenticated = Authenticated{"ada", 1790000000123}
		})},
		{AppendAuthenticated(nil, nil, Authenticated{User: "ada"}), s("authenticated", "", func(v *Server) { v.Authenticated.User = "ada" })},
		{AppendWelcome(nil, long), s("welcome", "", func(v *Server) { v.Welcome = long })},
		{AppendWelcome(nil, registered), s("welcome", "", func(v *Server) { v.Welcome = registered })},
		{AppendMessage(nil, &hi), s("message", "", func(v *Server) { v.Message = hi })},
		{AppendMessage(nil, &named), s("message", "", func(v *Server) { v.Message = named })},
		{AppendPresence(nil, presence), s("presence", "", func(v *Server) { v.Presence = presence })},
		{AppendPresence(nil, Presence{Room: "lobby"}), s("presence", "", func(v *Server) { v.Presence.Room = "lobby" })},
		{AppendPresence(nil, unsure), s("presence", "", func(v *Server) { v.Presence = unsure })},
		{AppendGap(nil, gap), s("gap", "", func(v *Server) { v.Gap = gap })},
		{AppendReset(nil, reset), s("reset", "", func(v *Server) { v.Reset = reset })},
		{AppendReconnect(nil, 1500*time.Millisecond, "drain"), s("reconnect", "", func(v *Server) {
			v.Reconnect = Reconnect{After: 1500 * time.Millisecond, Reason: "drain"}
		})},
		{AppendError(nil, id, errRoom), s("error", string(id), func(v *Server) { v.Err = errRoom })},
		{AppendError(nil, id, limited), s("error", string(id), func(v *Server) { v.Err = &seen })},
		{AppendError(nil, nil, errJSON), s("error", "", func(v *Server) { v.Err = errJSON })},
	}
}

type serverFrame struct {
	bytes []byte
	means Server
}

func TestServerFramesAreTheGoldenOnes(t *testing.T) {
	var frames [][]byte
	for _, f := range serverFrames() {
		frames = append(frames, f.bytes)
	}
	golden(t, "testdata/server.jsonl", frames)
}

func TestClientReadsWhatTheGatewayWrites(t *testing.T) {
	for _, f := range serverFrames() {
		got, err := DecodeServer(f.bytes)
		if err != nil {
			t.Errorf("%s: %v", f.bytes, err)
		} else if !reflect.DeepEqual(got, f.means) {
			t.Errorf("%s\n got %+v\nwant %+v", f.bytes, got, f.means)
		}
	}
}

func TestClientToleratesWhatItDoesNotKnow(t *testing.T) {
	s, err := DecodeServer([]byte(` {"x":[{}],"type":"weather","version":1,"payload":{"room":7,"joined":["b"]}} `))
	if err != nil || s.Type != "weather" {
		t.Errorf("unknown type: %+v, %v", s, err)
	}
	s, err = DecodeServer([]byte(`{"payload":{"shard":{"a":[1]},"ro\u006fm":"a","seq":5},"type":"gap"}`))
	if err != nil || s.Gap.Room != "a" {
		t.Errorf("unknown field: %+v, %v", s, err)
	}
}

func TestClientRefusesWhatIsNoServerFrame(t *testing.T) {
	for _, msg := range []string{
		``, `[]`, `7`, `{}`, `{"type":7}`, `{"type":""}`, `{"type":"pong"`, `{"type":"pong"}{}`, `{"type":"message"}`,
		`{"type":"message","payload":[]}`, `{"type":"message","payload":{"seq":-1}}`, `{"type":"message","payload":{"seq":1.5}}`,
		`{"type":"message","payload":{"room":7}}`, `{"type":"message","payload":{"room":"a","room":"a"}}`,
		`{"type":"welcome","payload":{"heartbeat":7}}`, `{"type":"welcome","payload":{"heartbeat":{"interval_ms":9007199254740991}}}`,
		`{"type":"history","payload":{"messages":{}}}`, `{"type":"history","payload":{"messages":[7]}}`,
		`{"type":"members","payload":{"users":{}}}`, `{"type":"members","payload":{"users":["ada"]}}`, `{"type":"members","payload":{"count":"1"}}`,
		`{"type":"members","payload":{"users":[{"connections":null}]}}`, `{"type":"registered","payload":{"key":1}}`,
		`{"type":"authenticated","payload":{"expires_at":"never"}}`, `{"type":"presence","payload":{"joined":"ada"}}`,
		`{"type":"presence","payload":{"left":["ada",7]}}`, `{"type":"presence","payload":{"incomplete":1}}`, `{"type":"welcome","payload":{"username_key":7}}`,
		`{"type":"reset","payload":{"previous":null}}`, `{"type":"error","payload":{"code":1}}`, `{"type":"joined","payload":{"recovered":"yes"}}`,
		`{"type":"echo","payload":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`,
	} {
		if s, err := DecodeServer([]byte(msg)); !errors.Is(err, ErrServerFrame) {
			t.Errorf("%s: accepted as %+v, %v", msg, s, err)
		}
	}
}

func TestServerFramesOwnTheirMemory(t *testing.T) {
	msg := AppendMessage(nil, &Message{Room: "a", Data: []byte(`"hi"`)})
	s, err := DecodeServer(msg)
	clear(msg)
	if err != nil || string(s.Message.Data) != `"hi"` {
		t.Errorf("data is %q after the message was overwritten, %v", s.Message.Data, err)
	}
}

func TestClientFramesAreTheGoldenOnesAndDecode(t *testing.T) {
	seq := func(n uint64) *uint64 { return &n }
	frames := [][]byte{
		AppendPing(nil, ""),
		AppendPing(nil, "r1"),
		AppendEchoRequest(nil, "r1", []byte(`{"a": 1}`)),
		AppendEchoRequest(nil, "r1", nil),
		AppendJoin(nil, "r1", Join{Room: "lobby"}),
		AppendJoin(nil, "r1", Join{Room: "lobby", Since: &Position{"e1", 17}, Last: 3, Presence: true}),
		AppendJoin(nil, "r1", Join{Room: "lobby", Last: 20}),
		AppendLeave(nil, "r1", "lobby"),
		AppendPublish(nil, "r1", Publish{Room: "lobby", Data: []byte(`{"text":"hi"}`)}),
		AppendPublish(nil, "", Publish{Room: "lobby", Data: []byte("1"), Event: "größe\"", ID: "k1"}),
		AppendHistoryRequest(nil, "r1", HistoryRequest{Room: "lobby"}),
		AppendHistoryRequest(nil, "r1", HistoryRequest{Room: "lobby", After: seq(0), Before: seq(9), Limit: 10}),
		AppendMembersRequest(nil, "r1", MembersRequest{Room: "lobby"}),
		AppendMembersRequest(nil, "r1", MembersRequest{Room: "lobby", Limit: 10, Cursor: "Zo\"ë"}),
		AppendRegister(nil, "r1", "ada", ""),
		AppendRegister(nil, "r1", "Zoë", "k-1"),
		AppendAuth(nil, "r1", "a.b.c"),
	}
	golden(t, "testdata/client.jsonl", frames)
	var d Decoder
	var r Request
	for _, frame := range frames {
		if err := d.Decode(frame, &r); err != nil {
			t.Errorf("%s: %v", frame, err)
		}
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, 4096)
	id := []byte("r\"1é")
	m := &Message{Room: "lobby", Epoch: "e1", Seq: 1, From: strings.Repeat("é\n", 40), Event: "e", Data: []byte("{}")}
	history := History{Room: "lobby", Messages: []Message{*m, *m}}
	for name, f := range map[string]func(){
		"pong":      func() { AppendPong(dst, id, 1) },
		"echo":      func() { AppendEcho(dst, id, id) },
		"joined":    func() { AppendJoined(dst, id, Joined{Room: m.From, Recovery: Recovered}) },
		"left":      func() { AppendLeft(dst, id, m.From) },
		"published": func() { AppendPublished(dst, id, m.From, Position{"e", 1}, true) },
		"history":   func() { AppendHistory(dst, id, history) },
		"members":   func() { AppendMembers(dst, id, Members{Room: m.From, Users: []Member{{m.From, 1}}, Cursor: "c"}) },
		"presence":  func() { AppendPresence(dst, Presence{Room: m.From, Joined: []string{m.From}}) },
		"welcome":   func() { AppendWelcome(dst, Welcome{User: m.From}) },
		"message":   func() { AppendMessage(dst, m) },
		"gap":       func() { AppendGap(dst, Gap{Room: m.From, Reason: GapConflated}) },
		"reset":     func() { AppendReset(dst, Reset{Room: m.From}) },
		"reconnect": func() { AppendReconnect(dst, time.Second, m.From) },
		"error":     func() { AppendError(dst, id, errRoom) },
		"publish":   func() { AppendPublish(dst, "r1", Publish{Room: "a", Data: m.Data, ID: "k"}) },
		"join":      func() { AppendJoin(dst, "r1", Join{Room: "a"}) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestStringsAreQuotedAsJSONRequires(t *testing.T) {
	for _, s := range []string{"", "plain", "\"\\/", "\x00\x01\x1f\x7f", "\b\f\n\r\t", "é日😀\u2028\ufffd", "\xff", "a\xe2\x82", "\xed\xa0\x80"} {
		got := appendString(nil, s)
		back, err := jsontext.AppendUnquote(nil, got)
		if want := strings.ToValidUTF8(s, "\ufffd"); err != nil || utf8.ValidString(s) && string(back) != want {
			t.Errorf("%q is quoted as %s: %v", s, got, err)
		}
		if reference, _ := jsontext.AppendQuote(nil, s); !bytes.Equal(got, reference) {
			t.Errorf("%q is quoted as %s, by jsontext as %s", s, got, reference)
		}
	}
}

func TestRetryIsTheTableOfSection7(t *testing.T) {
	for code, want := range map[uint16]Verdict{
		1000: Stop, 1001: ComeBack, 1002: Stop, 1003: Stop, 1005: ComeBack, 1006: ComeBack, 1007: Stop, 1008: Stop, 1009: Stop,
		1011: ComeBack, 1012: ComeBack, 1013: ComeBackLater, 4001: NewToken, 4002: ComeBack, 4003: ComeBack,
		4004: ComeBackLater, 4005: Stop, 4999: ComeBack,
	} {
		if got := Retry(code); got != want {
			t.Errorf("%d: %v, want %v", code, got, want)
		}
	}
}

func BenchmarkDecodeServerMessage(b *testing.B) {
	msg := AppendMessage(nil, &Message{Room: "lobby", Epoch: "e1", Seq: 1, From: "guest-1", Data: []byte(`{"text":"` + strings.Repeat("hello ", 20) + `"}`)})
	b.ReportAllocs()
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		if _, err := DecodeServer(msg); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAPayloadIsWhatStandsInTheMessage(t *testing.T) {
	for msg, want := range map[string]string{
		`{"type":"gap","version":1,"payload":{"a": [1]}}`: `{"a": [1]}`, ` {"payload": 7 ,"type":"echo"}`: `7`, `{"type":"echo"}`: ``,
	} {
		if got := Payload([]byte(msg)); string(got) != want {
			t.Errorf("%s: %q", msg, got)
		}
	}
}
