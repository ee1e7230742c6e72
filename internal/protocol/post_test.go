package protocol

import (
	"fmt"
	"strings"
	"testing"
)

// A body is judged as the payload of a publish is.
func TestPostsAreReadAsPublishesAre(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, tt := range []struct{ body, want string }{
		{`{"data":1}`, `1 "" "" ""`},
		{" {\"data\" :\t{ \"b\": [1,2 ] , \"a\":\"\\u0041\"}\n} ", `{ "b": [1,2 ] , "a":"\u0041"} "" "" ""`},
		{`{"event":"chat","id":"i\u0031","from":"ada@x","data":null}`, `null "chat" "i1" "ada@x"`},
		{`{"data":"x","from":"e\u0301"}`, `"x" "" "" "é"`},
		{`{"data":0,"room":7,"type":[],"more":{"data":1}}`, `0 "" "" ""`},
		{`{"data":` + deep(62) + `}`, deep(62) + ` "" "" ""`},

		{``, "bad_json "},
		{`{"data":1`, "bad_json "},
		{`{"data":1}{}`, "bad_json "},
		{`{"data":1,"data":1}`, "bad_json "},
		{`{"data":{"a":1,"\u0061":2}}`, "bad_json "},
		{`{"data":1,"x":{"a":1,"a":1}}`, "bad_json "},
		{"{\"data\":\"\xff\"}", "bad_json "},
		{`{"data":"\ud800"}`, "bad_json "},
		{`{"data":01}`, "bad_json "},
		{`[{"data":1}]`, "bad_json "},
		{`"data"`, "bad_json "},
		{`{"data":` + deep(63) + `}`, "bad_json "},
		{`{}`, "invalid_request data"},
		{`{"data":1,"event":""}`, "invalid_request event"},
		{`{"data":1,"event":"a\nb"}`, "invalid_request event"},
		{`{"data":1,"id":7}`, "invalid_request id"},
		{`{"data":1,"id":"` + strings.Repeat("i", 65) + `"}`, "invalid_request id"},
		{`{"data":1,"from":""}`, "invalid_request from"},
		{`{"data":1,"from":"a b"}`, "invalid_request from"},
		{`{"data":1,"from":null}`, "invalid_request from"},
	} {
		var d Decoder
		var p Post
		got := ""
		if err := d.DecodePost([]byte(tt.body), &p); err != nil {
			got = fmt.Sprintf("%s %s", err.Code, err.Field)
		} else {
			got = fmt.Sprintf("%s %q %q %q", p.Data, p.Event, p.ID, p.From)
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.body, got, tt.want)
		}
	}
}

func TestOneBadMessageOfABatchSpoilsNoOther(t *testing.T) {
	var d Decoder
	posts, err := d.DecodePosts(nil, []byte(`[ {"room":"a","data":1,"id":"\u0031"}, 7, {"room":"a b","data":1},{"data":1},
		{"room":"b"},{"room":"c","data":[ ],"id":"\u0032"}]`), 6)
	if err != nil || len(posts) != 6 {
		t.Fatalf("%d posts, %v", len(posts), err)
	}
	for i, want := range []string{`a 1 1`, "each message is an object of room, data and what may stand beside it", errRoom.Message, errRoom.Message, errData.Message, `c [ ] 2`} {
		got := fmt.Sprintf("%s %s %s", posts[i].Room, posts[i].Data, posts[i].ID)
		if posts[i].Err != nil {
			got = posts[i].Err.Message
		}
		if got != want {
			t.Errorf("%d: %s, want %s", i, got, want)
		}
	}
}

func TestABatchIsAListOfNotTooMany(t *testing.T) {
	var d Decoder
	for body, want := range map[string]Code{
		`[]`: "", ` [{},{}] `: "", `[{},{},{}]`: LimitExceeded, `{"data":1}`: InvalidRequest, `7`: InvalidRequest,
		``: BadJSON, `[{}`: BadJSON, `[{}] x`: BadJSON, `[{"a":1,"a":1}]`: BadJSON,
		strings.Repeat("[", 64) + strings.Repeat("]", 64): "", strings.Repeat("[", 65) + strings.Repeat("]", 65): BadJSON,
	} {
		_, err := d.DecodePosts(nil, []byte(body), 2)
		if got := codeOf(err); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func codeOf(err *Error) Code {
	if err == nil {
		return ""
	}
	return err.Code
}

func TestDecodingAPostAllocatesNothing(t *testing.T) {
	var d Decoder
	var p Post
	body := []byte(`{"data":{"a":[1,2,3],"text":"hello"},"event":"chat","id":"\u0069\u0031"}`)
	if n := testing.AllocsPerRun(100, func() {
		if err := d.DecodePost(body, &p); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAPositionIsThePayloadOfPublished(t *testing.T) {
	for _, duplicate := range []bool{false, true} {
		frame := string(AppendPublished(nil, nil, "a:b/c", Position{"e1", 17}, duplicate))
		got := string(AppendPosition(nil, "a:b/c", Position{"e1", 17}, duplicate))
		if want := `{"type":"published","version":1,"payload":` + got + `}`; frame != want {
			t.Errorf("%s\nwant %s", frame, want)
		}
	}
}
