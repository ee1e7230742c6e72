package protocol

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// vector is one line of testdata/requests.jsonl.
type vector struct {
	Name, Input string
	Want        *wantRequest
	Error       *struct {
		Code  Code
		Field string
	}
	ID string // request_id known in spite of the error
}

type wantRequest struct {
	Type, ID, Room, Since string
	Last                  *int
	Presence              bool
	Data, Value           *string
	Event                 string
	PublishID             string `json:"publish_id"`
	After, Before         *uint64
	Limit                 *int
	Cursor                string
	Username              string
	UsernameKey           string `json:"username_key"`
	Token                 string
}

func vectors(t testing.TB) []vector {
	t.Helper()
	f, err := os.Open("testdata/requests.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var vs []vector
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var v vector
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		vs = append(vs, v)
	}
	return vs
}

func TestRequestsDecodeAsTheVectorsSay(t *testing.T) {
	var d Decoder // one for all: nothing of a request may leak into the next
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			var r Request
			err := d.Decode([]byte(v.Input), &r)
			switch {
			case v.Error != nil && err == nil:
				t.Fatalf("accepted as %+v, want %+v", r, v.Error)
			case v.Error != nil:
				if err.Code != v.Error.Code || err.Field != v.Error.Field || string(r.ID) != v.ID {
					t.Fatalf("got %q field %q id %q, want %+v id %q", err.Code, err.Field, r.ID, *v.Error, v.ID)
				}
			case err != nil:
				t.Fatal(err)
			default:
				check(t, &r, v.Want)
			}
		})
	}
}

func check(t *testing.T, r *Request, w *wantRequest) {
	t.Helper()
	is := func(field string, same bool) {
		t.Helper()
		if !same {
			t.Errorf("%s differs: got %+v", field, *r)
		}
	}
	raw := func(got []byte, want *string) bool {
		return (got == nil) == (want == nil) && (want == nil || string(got) == *want)
	}
	since := ""
	if r.HasSince {
		since = Position{string(r.SinceEpoch), r.SinceSeq}.String()
	}
	last, limit := -1, DefaultLimit
	if w.Last != nil {
		last = *w.Last
	}
	if w.Limit != nil {
		limit = *w.Limit
	}
	is("type", r.Type.String() == w.Type)
	is("request_id", string(r.ID) == w.ID)
	is("room", string(r.Room) == w.Room)
	is("since", since == w.Since)
	is("last", r.Last == last)
	is("presence", r.Presence == w.Presence)
	is("data", raw(r.Data, w.Data))
	is("value", raw(r.Value, w.Value))
	is("event", string(r.Event) == w.Event)
	is("id", string(r.PublishID) == w.PublishID)
	is("after", r.HasAfter == (w.After != nil) && (w.After == nil || r.After == *w.After))
	is("before", r.HasBefore == (w.Before != nil) && (w.Before == nil || r.Before == *w.Before))
	is("limit", r.Limit == limit)
	is("cursor", string(r.Cursor) == w.Cursor)
	is("username", string(r.Username) == w.Username)
	is("key", string(r.UsernameKey) == w.UsernameKey)
	is("token", string(r.Token) == w.Token)
}

func TestInvalidUTF8IsBadJSON(t *testing.T) {
	var d Decoder
	var r Request
	for _, bytes := range []string{"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\xe2\x82"} {
		for _, msg := range []string{`{"type":"echo","payload":"` + bytes + `"}`, `{"type":"ping","` + bytes + `":1}`} {
			if err := d.Decode([]byte(msg), &r); err == nil || err.Code != BadJSON {
				t.Errorf("%q: got %v", msg, err)
			}
		}
	}
}

func TestDataIsASliceOfTheMessage(t *testing.T) {
	msg := []byte(`{"type":"publish","payload":{"room":"a","data": [1] }}`)
	var d Decoder
	var r Request
	if err := d.Decode(msg, &r); err != nil {
		t.Fatal(err)
	}
	if at := bytes.IndexByte(msg, '['); &r.Data[0] != &msg[at] || len(r.Data) != 3 {
		t.Errorf("data is %q, not the message's own bytes", r.Data)
	}
}

func TestScratchOfOneMessageIsNotKept(t *testing.T) {
	var d Decoder
	var r Request
	long := `{"type":"ping","` + strings.Repeat(`\u0061`, 100_000) + `":1}`
	for _, msg := range []string{long, `{"type":"ping"}`} {
		if err := d.Decode([]byte(msg), &r); err != nil {
			t.Fatal(err)
		}
	}
	if cap(d.scratch) > scratchKept {
		t.Errorf("%d bytes of scratch are kept", cap(d.scratch))
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	for _, msg := range []string{
		`{"type":"ping","request_id":"r1"}`,
		`{"type":"publish","version":1,"request_id":"r\u00e91","payload":{"room":"lob\u0062y","data":{"text":"hi","n":[1,2,{"a":null}]},"event":"e","id":"k1"}}`,
		`{"type":"join","payload":{"room":"lobby","since":{"epoch":"e1","seq":17},"presence":true}}`,
		`{"type":"echo","payload":[1,2,3]}`,
		`{"type":"history","payload":{"room":"lobby","after":7,"limit":10}}`,
		`{"type":"members","payload":{"room":"lobby","limit":10,"cursor":"\u00e9"}}`,
		`{"type":"register","payload":{"username":"ada.lovelace-1815@example.com.and.more","key":"k1"}}`,
		`{"type":"register","payload":{"username":"Zo\u00eb"}}`,
		`{"type":"register","payload":{"username":"李😀"}}`,
		`{"type":"auth","payload":{"token":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b.c"}}`,
		`{"type":"join","payload":{"room":"not a room"}}`,
	} {
		var d Decoder
		var r Request
		b := []byte(msg)
		if n := testing.AllocsPerRun(1000, func() { d.Decode(b, &r) }); n != 0 {
			t.Errorf("%s: %v allocations", msg, n)
		}
	}
}

func BenchmarkDecodePublish(b *testing.B) {
	msg := []byte(`{"type":"publish","version":1,"request_id":"r1","payload":{"room":"lobby","data":{"text":"` + strings.Repeat("hello ", 20) + `"}}}`)
	var d Decoder
	var r Request
	b.ReportAllocs()
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		if err := d.Decode(msg, &r); err != nil {
			b.Fatal(err)
		}
	}
}
