package brokertest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

func numbersInOrder(t *testing.T, s setting) {
	r, room := s.rig(t, Options{}), newRoom()
	r.subscribe(room)
	results := r.say(room, `1`, `2`, `3`)
	results = append(results, r.say(room, `4`)...)
	for i, res := range results {
		if want := (broker.Position{Epoch: results[0].Epoch, Seq: uint64(i + 1)}); res.Position != want {
			t.Errorf("publication %d: %+v, want %+v", i, res.Position, want)
		}
	}
	for i, m := range r.sink.messages(room, 4) {
		if m.Position != results[i].Position || string(m.Data) != fmt.Sprint(i+1) {
			t.Errorf("delivery %d: %+v %s", i, m.Position, m.Data)
		}
	}
}

// passesTraces has traced messages among others, of two rooms in one batch.
func passesTraces(t *testing.T, s setting) {
	r, room, other := s.rig(t, Options{}), newRoom(), newRoom()
	r.subscribe(room, other)
	trace := broker.Trace{ID: [16]byte{1, 0, 0xff}, Span: [8]byte{2, '\r', '\n'}}
	var batch []broker.Publication
	for i := range 8 {
		batch = append(batch, broker.Publication{Room: room, Data: []byte(`1`)}, broker.Publication{Room: other, Data: []byte(`1`)})
		if i%3 == 1 {
			batch[2*i].Trace = &trace
		}
	}
	r.mustPost(batch...)
	for _, m := range r.sink.messages(other, 8) {
		if m.Trace != nil {
			t.Errorf("seq %d of another room: %+v", m.Seq, m.Trace)
		}
	}
	for i, m := range r.sink.messages(room, 8) {
		switch {
		case i%3 != 1 && m.Trace == nil:
		case i%3 == 1 && m.Trace != nil && m.Trace.ID == trace.ID && m.Trace.Span == trace.Span && !m.Trace.Arrived.IsZero():
		default:
			t.Errorf("seq %d: %+v", m.Seq, m.Trace)
		}
	}
	for _, m := range r.read(broker.Query{Room: room}).Messages {
		if m.Trace != nil {
			t.Errorf("seq %d is kept with %+v", m.Seq, m.Trace)
		}
	}
}

func passesUnchanged(t *testing.T, s setting) {
	r, room := s.rig(t, Options{}), newRoom()
	r.subscribe(room)
	data := [][]byte{
		[]byte(`null`), []byte(`{ "a" :1.0e+0, "\u0041":"\/\n" }`), []byte(`"` + "\u2028ü\U0001F600" + `"`),
		[]byte(`"` + strings.Repeat("long ", 20_000) + `"`), []byte("[\r\n\t1]"), {0, 0xff, '%', 0},
	}
	for i, d := range data {
		p := broker.Publication{Room: room, From: "Zoë", Event: "e" + fmt.Sprint(i), Data: bytes.Clone(d)}
		before := time.Now().Add(-time.Minute).UnixMilli()
		r.mustPost(p)
		kept := r.read(broker.Query{Room: room, After: uint64(i)})
		if len(kept.Messages) != 1 {
			t.Fatalf("message %d: a page of %d", i, len(kept.Messages))
		}
		for _, m := range []broker.Message{r.sink.messages(room, i+1)[i], kept.Messages[0]} {
			if !bytes.Equal(m.Data, d) || m.From != p.From || m.Event != p.Event || m.Room != room {
				t.Errorf("message %d differs: %+v", i, m)
			}
			if !s.fake && m.Time < before || s.fake && m.Time != r.clock.Now().UnixMilli() {
				t.Errorf("message %d: time %d", i, m.Time)
			}
		}
	}
}

func oneOrderForAll(t *testing.T, s setting) {
	const publishers, each = 8, 100
	r, room := s.rig(t, Options{}), newRoom()
	r.subscribe(room)
	var wg sync.WaitGroup
	tickets := make([][]int, publishers)
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				batch := []broker.Publication{{Room: room, Data: fmt.Appendf(nil, "[%d,%d]", p, i)}}
				tickets[p] = append(tickets[p], r.sink.tickets(batch)...)
				r.Publish(batch)
			}
		})
	}
	wg.Wait()
	text := make(map[uint64]string)
	for p := range publishers {
		last := uint64(0)
		for i, res := range r.sink.results(tickets[p]) {
			if res.Err != nil || res.Seq <= last {
				t.Fatalf("publisher %d: %+v behind seq %d", p, res, last)
			}
			last = res.Seq
			text[res.Seq] = fmt.Sprintf("[%d,%d]", p, i)
		}
	}
	kept := r.read(broker.Query{Room: room}).Messages
	got := r.sink.messages(room, publishers*each)
	if len(text) != publishers*each || len(kept) != len(text) || len(got) != len(text) {
		t.Fatalf("%d numbers, %d kept, %d delivered, want %d", len(text), len(kept), len(got), publishers*each)
	}
	for i := range got {
		seq := uint64(i + 1)
		if got[i].Seq != seq || string(got[i].Data) != text[seq] || string(kept[i].Data) != text[seq] {
			t.Fatalf("seq %d: answered %s, delivered %d %s, kept %s", seq, text[seq], got[i].Seq, got[i].Data, kept[i].Data)
		}
	}
}

func roomsApart(t *testing.T, s setting) {
	r, one, two := s.rig(t, Options{}), newRoom(), newRoom()
	r.subscribe(one)
	results := r.mustPost(
		broker.Publication{Room: one, Data: []byte(`1`)},
		broker.Publication{Room: two, Data: []byte(`2`)},
		broker.Publication{Room: one, Data: []byte(`3`)})
	if results[0].Seq != 1 || results[1].Seq != 1 || results[2].Seq != 2 {
		t.Errorf("seqs %d %d %d, want 1 1 2", results[0].Seq, results[1].Seq, results[2].Seq)
	}
	r.sink.messages(one, 2)
	r.close()
	if len(r.sink.delivered[two]) > 0 {
		t.Error("a room that was not subscribed is delivered")
	}
}

func readableWhenAnswered(t *testing.T, s setting) {
	r, room := s.rig(t, Options{}), newRoom()
	for i := range 50 {
		res := r.say(room, `1`)[0]
		if page := r.read(broker.Query{Room: room}); page.Last != res.Seq || page.Epoch != res.Epoch {
			t.Fatalf("message %d: answered %+v, the log ends at %s %d", i, res.Position, page.Epoch, page.Last)
		}
	}
}

// splices joins a room while it is being published to, as a gateway does it:
// subscribe, and when that is answered read what was before the first delivery.
func splices(t *testing.T, s setting) {
	r, room := s.rig(t, Options{}), newRoom()
	const total = 600
	var wg sync.WaitGroup
	halfway := make(chan struct{})
	wg.Go(func() {
		for i := range total {
			batch := []broker.Publication{{Room: room, Data: fmt.Append(nil, i+1)}}
			tickets := r.sink.tickets(batch)
			r.Publish(batch)
			if i == total/3 {
				close(halfway)
			}
			if i%20 == 0 {
				r.sink.results(tickets)
			}
		}
	})
	<-halfway
	r.subscribe(room)
	before := r.read(broker.Query{Room: room}).Messages
	wg.Wait()
	have := make(map[uint64]string)
	for _, m := range before {
		have[m.Seq] = string(m.Data)
	}
	r.sink.wait("every message", func() bool {
		for _, m := range r.sink.delivered[room] {
			have[m.Seq] = string(m.Data)
		}
		return have[total] != ""
	})
	for seq := uint64(1); seq <= total; seq++ {
		if have[seq] != fmt.Sprint(seq) {
			t.Fatalf("seq %d is %q; %d were read when Subscribed came", seq, have[seq], len(before))
		}
	}
}

func subscribesAgain(t *testing.T, s setting) {
	r, room := s.rig(t, Options{}), newRoom()
	r.subscribe(room)
	r.say(room, `1`)
	r.Subscribe(room)
	r.sink.wait("second Subscribed", func() bool { return r.sink.subscribed[room] >= 2 })
	r.say(room, `2`)
	if got := r.sink.messages(room, 2); got[1].Seq != 2 {
		t.Errorf("delivered %+v", got)
	}
}

func unsubscribes(t *testing.T, s setting) {
	r, room, other := s.rig(t, Options{}), newRoom(), newRoom()
	r.subscribe(room, other)
	r.say(room, `1`)
	r.sink.messages(room, 1)
	r.Unsubscribe(room)
	// A few may still come, so that only an end of them can be asked for.
	deadline := time.Now().Add(patience)
	for quiet := 0; quiet < 20; {
		r.sink.mu.Lock()
		before := len(r.sink.delivered[room])
		r.sink.mu.Unlock()
		n := r.say(other, `0`)[0].Seq
		r.say(room, `2`)
		r.say(other, `0`)
		r.sink.messages(other, int(n)+1)
		r.sink.mu.Lock()
		after := len(r.sink.delivered[room])
		r.sink.mu.Unlock()
		quiet++
		if after > before {
			quiet = 0
		}
		if time.Now().After(deadline) {
			t.Fatal("deliveries go on after Unsubscribe")
		}
	}
	last := r.read(broker.Query{Room: room}).Last
	r.subscribe(room)
	r.sink.wait("Subscribed again", func() bool { return r.sink.subscribed[room] >= 2 })
	res := r.say(room, `3`)[0]
	if res.Seq != last+1 {
		t.Errorf("seq %d behind %d", res.Seq, last)
	}
	r.sink.wait("the message after subscribing again", func() bool {
		all := r.sink.delivered[room]
		return len(all) > 0 && all[len(all)-1].Seq == res.Seq
	})
}

func timeNeverBack(t *testing.T, s setting) {
	r, room := s.rig(t, Options{}), newRoom()
	r.say(room, `1`, `2`)
	if s.fake {
		r.clock.Advance(-time.Hour)
	}
	r.say(room, `3`, `4`)
	if s.fake {
		r.clock.Advance(2 * time.Hour)
	}
	r.say(room, `5`)
	kept := r.read(broker.Query{Room: room}).Messages
	if len(kept) != 5 {
		t.Fatalf("%d messages, want 5", len(kept))
	}
	for i := 1; i < len(kept); i++ {
		if kept[i].Time < kept[i-1].Time {
			t.Errorf("seq %d at %d, behind %d", kept[i].Seq, kept[i].Time, kept[i-1].Time)
		}
	}
	if s.fake && kept[4].Time <= kept[0].Time {
		t.Error("time stands still")
	}
}
