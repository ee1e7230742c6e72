package redis

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// entryOf is what the script makes of a body.
func entryOf(time, before uint64, body []byte) string {
	b := binary.BigEndian.AppendUint64(nil, time)
	b = binary.BigEndian.AppendUint64(b, before)
	return string(append(b, body...))
}

func payloadOf(seq uint64, epoch, entry string) string {
	b := binary.BigEndian.AppendUint64(nil, seq)
	return string(append(append(b, byte(len(epoch))), epoch+entry...))
}

func TestPayloadsComeBackAsTheyWere(t *testing.T) {
	for _, p := range []broker.Publication{
		{},
		{From: "Zoë", Event: "e", Data: []byte(`{"a":1}`)},
		{From: string(bytes.Repeat([]byte("x"), 300)), Data: []byte{0, 0xff}},
	} {
		body := appendBody(nil, &p, 7)
		m, err := decodeMessage("a", payloadOf(9, "epoch", entryOf(1234, 5, body)))
		if err != nil || m.From != p.From || m.Event != p.Event || !bytes.Equal(m.Data, p.Data) ||
			m.Stamp != 7 || m.Time != 1234 || m.Seq != 9 || m.Epoch != "epoch" || m.Room != "a" {
			t.Errorf("%+v became %+v, %v", p, m, err)
		}
	}
}

func TestOtherPayloadsAreRefused(t *testing.T) {
	good := entryOf(1, 2, appendBody(nil, &broker.Publication{From: "f", Event: "e", Data: []byte(`1`)}, 3))
	for name, s := range map[string]string{
		"empty":         "",
		"no epoch":      payloadOf(1, "", good),
		"epoch of junk": payloadOf(1, "a b", good),
		"seq 0":         payloadOf(0, "e", good),
		"seq past all":  payloadOf(maxSeq+1, "e", good),
		"time past all": payloadOf(1, "e", entryOf(math.MaxUint64, 2, []byte(good[16:]))),
		"cut":           payloadOf(1, "e", good[:24]),
		"cut in a name": payloadOf(1, "e", good[:26]),
		"other version": payloadOf(1, "e", good[:16]+"\x02"+good[17:]),
		"long varint":   payloadOf(1, "e", good[:25]+"\x81\x00f\x01e1"),
		"huge varint":   payloadOf(1, "e", good[:25]+"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
	} {
		if m, err := decodeMessage("a", s); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func TestATraceIsOfTheMessageWithItsNumber(t *testing.T) {
	want := broker.Trace{ID: [16]byte{1, 15: 2}, Span: [8]byte{3, 7: 4}}
	said := string(appendTrace(binary.BigEndian.AppendUint64(nil, 9), &want))
	for _, s := range []string{said, said + "what a later gateway adds"} {
		seq, got, err := decodeTrace(s)
		if err != nil || seq != 9 || *got != want {
			t.Errorf("%q: %d %+v %v", s, seq, got, err)
		}
	}
	if _, got, err := decodeTrace(said[:len(said)-1]); err == nil {
		t.Errorf("cut: %+v", got)
	}
	came := traced{"a", 9, &want}
	for m, has := range map[[2]any]bool{{"a", uint64(9)}: true, {"a", uint64(10)}: false, {"b", uint64(9)}: false} {
		got := came.of(&broker.Message{Room: m[0].(string), Position: broker.Position{Seq: m[1].(uint64)}})
		if (got != nil) != has {
			t.Errorf("%v: %+v", m, got)
		}
	}
}

// presenceOf is what the script makes of a change, behind its 'P'.
func presenceOf(e broker.PresenceEvent) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(e.Count))
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Joined)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Left)))
	for _, user := range append(slices.Clone(e.Joined), e.Left...) {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(user))), user...)
	}
	return string(b)
}

func TestChangesOfUsersComeBackAsTheyWere(t *testing.T) {
	for _, want := range []broker.PresenceEvent{
		{Room: "a", Joined: []string{"ada", "Zoë"}, Count: 7},
		{Room: "a", Left: []string{"ada"}},
		{Room: "a", Joined: []string{"名前"}, Left: []string{strings.Repeat("x", maxUser)}, Count: math.MaxInt32},
	} {
		got, err := decodePresence("a", presenceOf(want))
		if err != nil || got.Room != "a" || got.Count != want.Count || !slices.Equal(got.Joined, want.Joined) || !slices.Equal(got.Left, want.Left) {
			t.Errorf("%+v became %+v, %v", want, got, err)
		}
	}
}

func TestOtherChangesOfUsersAreRefused(t *testing.T) {
	good := presenceOf(broker.PresenceEvent{Joined: []string{"ada"}, Left: []string{"bob"}, Count: 1})
	for name, s := range map[string]string{
		"empty":          "",
		"cut":            good[:len(good)-1],
		"cut in a count": good[:9],
		"more behind":    good + "x",
		"nobody":         presenceOf(broker.PresenceEvent{Count: 1}),
		"no name":        presenceOf(broker.PresenceEvent{Joined: []string{"ada", "", "bob"}}),
		"a long name":    presenceOf(broker.PresenceEvent{Joined: []string{strings.Repeat("x", maxUser+1)}}),
		"no UTF-8":       presenceOf(broker.PresenceEvent{Joined: []string{"a\xff"}}),
		"count past all": presenceOf(broker.PresenceEvent{Joined: []string{"ada"}, Count: math.MaxInt32 + 1}),
		"many of none":   good[:8] + "\xff\xff\xff\xff",
	} {
		if e, err := decodePresence("a", s); err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestStampsComeBackFromTheirText(t *testing.T) {
	for _, stamp := range []uint64{1, 1 << 40, math.MaxUint64} {
		if text := stampText(stamp); len(text) != 11 || parseStamp(text) != stamp || !validEpoch(text) {
			t.Errorf("%x is %q", stamp, text)
		}
	}
	for _, text := range []string{"", "-----------", "x", "AAAAAAAAAAB", "AAAAAAAAAAAA"} {
		if n := parseStamp(text); n != 0 && text != "-----------" {
			t.Errorf("%q is stamp %x", text, n)
		}
	}
}

func FuzzDecode(f *testing.F) {
	good := entryOf(1, 2, appendBody(nil, &broker.Publication{From: "f", Event: "e", Data: []byte(`1`)}, 3))
	f.Add("M" + payloadOf(1, "epoch", good))
	f.Add("R" + payloadOf(1, "epoch", ""))
	f.Add("P" + presenceOf(broker.PresenceEvent{Joined: []string{"ada"}, Left: []string{"bob"}, Count: 1}))
	f.Add(good)
	f.Add("epoch 12")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := position(s); err == nil && (p.Seq > maxSeq || !validEpoch(p.Epoch)) {
			t.Errorf("%q: %+v", s, p)
		}
		if len(s) == 0 {
			return
		}
		if p, err := decodeReset(s[1:]); err == nil && payloadOf(p.Seq, p.Epoch, "") != s[1:] {
			t.Errorf("%q: %+v", s, p)
		}
		if e, err := decodePresence("a", s[1:]); err == nil && presenceOf(e) != s[1:] {
			t.Errorf("%q: %+v", s, e)
		}
		m, err := decodeMessage("a", s[1:])
		if err != nil {
			return
		}
		// What is taken is what would be made.
		p := broker.Publication{From: m.From, Event: m.Event, Data: m.Data}
		before := binary.BigEndian.Uint64([]byte(s[1+9+len(m.Epoch)+8:]))
		again := payloadOf(m.Seq, m.Epoch, entryOf(uint64(m.Time), before, appendBody(nil, &p, m.Stamp)))
		if again != s[1:] {
			t.Errorf("%q became %q", s[1:], again)
		}
	})
}
