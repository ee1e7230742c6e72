package protocol

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

func TestPositionsAreReadStrictly(t *testing.T) {
	for s, want := range map[string]Position{
		"e1:0":                         {"e1", 0},
		"A-z_9:17":                     {"A-z_9", 17},
		"e:9007199254740991":           {"e", MaxSeq},
		strings.Repeat("e", 64) + ":1": {strings.Repeat("e", 64), 1},
	} {
		if p, err := ParsePosition(s); err != nil || p != want || p.String() != s {
			t.Errorf("%q: %+v, %v", s, p, err)
		}
	}
	for _, s := range []string{"", ":", "e", "e:", ":1", "e:-1", "e:+1", "e:01", "e:1 ", " e:1", "e:1:2", "e.f:1", "é:1", "e:1.0",
		"e:9007199254740992", "e:99999999999999999999", "e:１", strings.Repeat("e", 65) + ":1"} {
		if p, err := ParsePosition(s); err == nil {
			t.Errorf("%q: accepted as %+v", s, p)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	for _, s := range []string{"e1:17", "e:0", "e:9007199254740991", "e:9007199254740992", "a:b:1", ":", "e:01"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePosition(s)
		if err != nil {
			return
		}
		if p.String() != s || !ValidEpoch(p.Epoch) || p.Seq > MaxSeq {
			t.Errorf("%q is read as %+v", s, p)
		}
	})
}

// FuzzDecode compares Decode with a slow reading of the same message by
// jsontext's tokens and encoding/json's values.
func FuzzDecode(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add([]byte(v.Input))
	}
	f.Add([]byte(`{"type":"ping","request_id":"\b0000"}`)) // its id lies in the decoder's scratch
	f.Fuzz(func(t *testing.T, msg []byte) {
		input := bytes.Clone(msg)
		var d Decoder
		var r Request
		err := d.Decode(msg, &r)
		if !bytes.Equal(msg, input) {
			t.Fatal("the message was modified")
		}
		if good := wellFormed(msg); good == (err != nil && err.Code == BadJSON) {
			t.Fatalf("well formed is %v, but got %v", good, err)
		}
		if err != nil {
			if err.Code != BadJSON && err.Field == "" {
				t.Fatalf("%v names no field", err)
			}
			return
		}
		agree(t, msg, &r)

		// A decoder that has been used decodes the same.
		room, id, user := bytes.Clone(r.Room), bytes.Clone(r.ID), bytes.Clone(r.Username)
		var again Request
		d.Decode([]byte(`{"type":"publish","payload":{"room":"x","data":1,"event":"\u0061","id":"\u0062"}}`), &again)
		if err := d.Decode(msg, &again); err != nil || !bytes.Equal(again.Room, room) || !bytes.Equal(again.ID, id) ||
			!bytes.Equal(again.Username, user) {
			t.Fatalf("decoded again: %+v, %v", again, err)
		}
	})
}

// wellFormed reports whether msg is one JSON object, token by token.
func wellFormed(msg []byte) bool {
	d := jsontext.NewDecoder(bytes.NewReader(msg))
	if d.PeekKind() != '{' {
		return false
	}
	for deepest := 0; ; {
		_, err := d.ReadToken()
		deepest = max(deepest, d.StackDepth())
		if err != nil || deepest > MaxDepth {
			return false
		}
		if d.StackDepth() == 0 {
			break
		}
	}
	_, err := d.ReadToken()
	return err == io.EOF
}

// agree compares what was decoded with encoding/json's reading of msg.
func agree(t *testing.T, msg []byte, r *Request) {
	var e map[string]json.RawMessage
	if err := json.Unmarshal(msg, &e); err != nil {
		t.Fatal(err)
	}
	str := func(raw json.RawMessage) (s string) {
		_ = json.Unmarshal(raw, &s)
		return s
	}
	if str(e["type"]) != r.Type.String() || str(e["request_id"]) != string(r.ID) {
		t.Fatalf("type %q id %q, want %s %s", r.Type, r.ID, e["type"], e["request_id"])
	}
	if r.Type == TypeEcho {
		if !bytes.Equal(e["payload"], r.Value) {
			t.Fatalf("value %q, want %q", r.Value, e["payload"])
		}
		return
	}
	var p map[string]json.RawMessage
	_ = json.Unmarshal(e["payload"], &p)
	switch r.Type {
	case TypePing:
		return
	case TypeRegister:
		want, ok := NormalizeUser(str(p["username"]))
		if !ok || want != string(r.Username) || str(p["key"]) != string(r.UsernameKey) {
			t.Fatalf("%+v, want %s", *r, e["payload"])
		}
		return
	case TypeAuth:
		if str(p["token"]) != string(r.Token) || len(r.Token) == 0 {
			t.Fatalf("%+v, want %s", *r, e["payload"])
		}
		return
	case TypeMembers:
		if str(p["cursor"]) != string(r.Cursor) || r.Limit < 1 || r.Limit > MaxMembers {
			t.Fatalf("%+v, want %s", *r, e["payload"])
		}
	case TypePublish:
		if str(p["event"]) != string(r.Event) || str(p["id"]) != string(r.PublishID) || !bytes.Equal(p["data"], r.Data) {
			t.Fatalf("%+v, want %s", *r, e["payload"])
		}
	}
	if str(p["room"]) != string(r.Room) || !ValidRoom(r.Room) {
		t.Fatalf("room %q, want %s", r.Room, p["room"])
	}
}

func FuzzDecodeServer(f *testing.F) {
	for _, frame := range serverFrames() {
		f.Add(frame.bytes)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		s, err := DecodeServer(msg)
		if err != nil {
			return
		}
		comesBack(t, s)
		if s.Message.Data != nil {
			again, err := DecodeServer(AppendMessage(nil, &s.Message))
			if err != nil || again.Message.Room != s.Message.Room || again.Message.Seq != s.Message.Seq ||
				!bytes.Equal(again.Message.Data, s.Message.Data) {
				t.Fatalf("%+v came back as %+v, %v", s.Message, again.Message, err)
			}
		}
	})
}

// comesBack holds what was read of users to what is read of it written again.
func comesBack(t *testing.T, s Server) {
	id := []byte(s.ID)
	var frame []byte
	switch s.Type {
	case ServerMembers:
		frame = AppendMembers(nil, id, s.Members)
	case ServerRegistered:
		frame = AppendRegistered(nil, id, s.Registered)
	case ServerAuthenticated:
		frame = AppendAuthenticated(nil, id, s.Authenticated)
	case ServerPresence:
		s.ID = "" // an event has none
		frame = AppendPresence(nil, s.Presence)
	default:
		return
	}
	if again, err := DecodeServer(frame); err != nil || !reflect.DeepEqual(again, s) {
		t.Fatalf("%+v came back as %+v, %v", s, again, err)
	}
}
