package brokertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// wantKept checks what the log of a room holds.
func (r *rig) wantKept(room string, first, last uint64) {
	r.t.Helper()
	page := r.read(broker.Query{Room: room})
	if page.First != first || page.Last != last || uint64(len(page.Messages)) != last+1-first {
		r.t.Errorf("the log has %d messages from %d, last %d; want %d to %d",
			len(page.Messages), page.First, page.Last, first, last)
	}
}

func boundedByMessages(t *testing.T, s setting) {
	r, room := s.rig(t, Options{Bounds: bounds(broker.Bounds{Messages: 3})}), newRoom()
	for i := range 10 {
		r.say(room, fmt.Sprint(i))
		r.wantKept(room, uint64(max(1, i-1)), uint64(i+1))
	}
	r.say(room, `1`, `2`, `3`, `4`, `5`)
	r.wantKept(room, 13, 15)
}

func boundedByBytes(t *testing.T, s setting) {
	r, room := s.rig(t, Options{Bounds: bounds(broker.Bounds{Messages: 1000, Bytes: 100})}), newRoom()
	word := func(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }
	r.say(room, word(40), word(40))
	r.wantKept(room, 1, 2)
	r.say(room, word(20))
	r.wantKept(room, 1, 3)
	r.say(room, word(3))
	r.wantKept(room, 2, 4)
	r.say(room, word(100))
	r.wantKept(room, 5, 5)
	r.say(room, word(101))
	r.wantKept(room, 7, 6)
	r.say(room, word(10))
	r.wantKept(room, 7, 7)
}

func boundedByAge(t *testing.T, s setting) {
	r, room := s.rig(t, Options{Bounds: bounds(broker.Bounds{Messages: 1000, Age: s.unit})}), newRoom()
	r.subscribe(room) // a room in use goes on in its epoch
	epoch := r.say(room, `1`, `2`)[0].Epoch
	if s.fake {
		r.pass(s.unit / 2)
		r.say(room, `3`)
		r.pass(s.unit/2 - 1)
		r.wantKept(room, 1, 3)
		r.pass(1)
		r.wantKept(room, 3, 3)
	}
	r.pass(s.unit + s.unit/2)
	last := r.read(broker.Query{Room: room}).Last
	r.wantKept(room, last+1, last)
	res := r.say(room, `4`)[0]
	if res.Seq != last+1 || res.Epoch != epoch {
		t.Errorf("after all had aged: %+v behind %s %d", res.Position, epoch, last)
	}
	r.wantKept(room, last+1, last+1)
}

func keepsNothing(t *testing.T, s setting) {
	r, room := s.rig(t, Options{Bounds: bounds(broker.Bounds{Messages: 0, Bytes: 1 << 20, Age: s.unit})}), newRoom()
	r.subscribe(room)
	r.say(room, `1`, `2`)
	r.say(room, `3`)
	r.wantKept(room, 4, 3)
	p := broker.Publication{Room: room, ID: "a", Data: []byte(`4`)}
	first := r.mustPost(p)[0]
	if again := r.mustPost(p)[0]; first.Seq != 4 || !again.Duplicate || again.Position != first.Position {
		t.Errorf("first %+v, retry %+v", first, again)
	}
	if got := r.sink.messages(room, 4); got[3].Seq != 4 || string(got[3].Data) != `4` {
		t.Errorf("delivered %+v", got)
	}
}

func unknownRoom(t *testing.T, s setting) {
	r, room := s.rig(t, Options{}), newRoom()
	before := r.read(broker.Query{Room: room, Limit: 10, Newest: true})
	if before.First != 1 || before.Last != 0 || len(before.Messages) > 0 {
		t.Errorf("a room never used: %+v", before)
	}
	if again := r.read(broker.Query{Room: room}); again.Epoch != before.Epoch {
		t.Errorf("epoch %q, then %q", before.Epoch, again.Epoch)
	}
	r.subscribe(room)
	if again := r.read(broker.Query{Room: room}); again.Epoch != before.Epoch {
		t.Errorf("epoch %q, when subscribed %q", before.Epoch, again.Epoch)
	}
	if first := r.say(room, `1`)[0]; first.Epoch != before.Epoch || first.Seq != 1 {
		t.Errorf("the first message is %+v, the room was at %q 0", first.Position, before.Epoch)
	}
	if other := r.read(broker.Query{Room: newRoom()}); other.Epoch == before.Epoch {
		t.Error("two rooms share an epoch")
	}
}

func rangeEnds(t *testing.T, s setting) {
	r, room := s.rig(t, Options{}), newRoom()
	r.say(room, `1`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Range(ctx, broker.Query{Room: room}); !errors.Is(err, context.Canceled) {
		t.Errorf("range with an ended context: %v", err)
	}
}
