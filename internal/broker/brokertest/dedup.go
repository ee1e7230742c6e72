package brokertest

import (
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

func idempotent(t *testing.T, s setting) {
	r, room := s.rig(t, Options{DedupWindow: 10 * s.unit}), newRoom()
	r.subscribe(room)
	p := broker.Publication{Room: room, ID: "a", Data: []byte(`"first"`)}
	first := r.mustPost(p)[0]
	r.say(room, `"between"`)
	p.Data = []byte(`"second"`)
	second := r.mustPost(p)[0]
	if first.Duplicate || !second.Duplicate || second.Position != first.Position {
		t.Errorf("first %+v, second %+v", first, second)
	}
	other := r.mustPost(broker.Publication{Room: room, ID: "b", Data: []byte(`"other"`)})[0]
	if other.Duplicate || other.Seq != 3 {
		t.Errorf("another ID: %+v", other)
	}
	var texts []string
	for _, m := range r.sink.messages(room, 3) {
		texts = append(texts, string(m.Data))
	}
	if kept := r.read(broker.Query{Room: room}).Messages; len(kept) != 3 || len(texts) != 3 || texts[0] != `"first"` {
		t.Errorf("delivered %v, kept %d", texts, len(kept))
	}
}

func idempotentInBatch(t *testing.T, s setting) {
	r, room := s.rig(t, Options{}), newRoom()
	p := broker.Publication{Room: room, ID: "a", Data: []byte(`1`)}
	q := broker.Publication{Room: room, Data: []byte(`2`)}
	results := r.mustPost(p, q, p, q, p)
	want := []struct {
		seq       uint64
		duplicate bool
	}{{1, false}, {2, false}, {1, true}, {3, false}, {1, true}}
	for i, res := range results {
		if res.Seq != want[i].seq || res.Duplicate != want[i].duplicate || res.Epoch != results[0].Epoch {
			t.Errorf("publication %d: %+v, want %+v", i, res, want[i])
		}
	}
	if page := r.read(broker.Query{Room: room}); page.Last != 3 || len(page.Messages) != 3 {
		t.Errorf("kept %d, last %d", len(page.Messages), page.Last)
	}
}

func idsApart(t *testing.T, s setting) {
	r, one, two := s.rig(t, Options{}), newRoom(), newRoom()
	results := r.mustPost(
		broker.Publication{Room: one, ID: "a", Data: []byte(`1`)},
		broker.Publication{Room: two, ID: "a", Data: []byte(`2`)})
	if results[1].Duplicate || results[1].Seq != 1 {
		t.Errorf("the same ID in another room: %+v", results[1])
	}
}

func idExpires(t *testing.T, s setting) {
	r, room := s.rig(t, Options{DedupWindow: s.unit}), newRoom()
	p := broker.Publication{Room: room, ID: "a", Data: []byte(`1`)}
	first := r.mustPost(p)[0]
	if s.fake {
		r.pass(s.unit / 2)
		// A retry does not begin the window anew.
		if res := r.mustPost(p)[0]; !res.Duplicate || res.Position != first.Position {
			t.Errorf("within the window: %+v, want %+v", res, first.Position)
		}
		r.mustPost(broker.Publication{Room: room, ID: "b", Data: []byte(`2`)})
		r.pass(s.unit/2 - 1)
		if res := r.mustPost(p)[0]; !res.Duplicate {
			t.Errorf("at the window's end: %+v", res)
		}
		r.pass(1)
	} else {
		r.pass(s.unit + s.unit/2)
	}
	last := r.read(broker.Query{Room: room}).Last
	second := r.mustPost(p)[0]
	if second.Duplicate || second.Seq != last+1 {
		t.Errorf("after the window: %+v", second)
	}
	if again := r.mustPost(p)[0]; !again.Duplicate || again.Position != second.Position {
		t.Errorf("in the second window: %+v, want %+v", again, second.Position)
	}
}
