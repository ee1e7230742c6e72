package redis

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// sendAtOnce has a lane send publications as one batch, and returns their answers.
func (r *rig) sendAtOnce(batch ...broker.Publication) []broker.Result {
	r.t.Helper()
	l := newLane(r.Broker, r.of(batch[0].Room), r.lanes[r.of(batch[0].Room)].names)
	r.ear.mu.Lock()
	for i := range batch {
		batch[i].Ticket = r.ear.next
		r.ear.next++
	}
	r.ear.mu.Unlock()
	r.waiting.Add(int64(len(batch)))
	r.cfg.Depth.Add(len(batch))
	l.batch = slices.Clone(batch)
	l.send()
	results := make([]broker.Result, len(batch))
	for i := range batch {
		results[i] = r.answer(batch[i].Ticket.(int))
	}
	return results
}

func TestABatchIsDividedByRooms(t *testing.T) {
	b := mustNew(t, Config{URL: "redis://127.0.0.1:1"})
	defer b.Close()
	l := b.lanes[0]
	add := func(n int, room, id string, size int) {
		for range n {
			l.batch = append(l.batch, broker.Publication{Room: room, ID: id, Data: make([]byte, size)})
		}
	}
	add(2, "a", "", 1)             // 0, 1
	add(1, "b", "", 1)             // 2
	add(1, "a", "", 1)             // 3
	add(2, "a", "id", 1)           // 4, 5: with an ID
	add(1, "a", "", 1)             // 6: behind them
	add(1, "c", "", runBytes)      // 7
	add(1, "c", "", 1)             // 8: too much for the same run
	add(runMessages+1, "d", "", 1) // 9 and on
	traced := len(l.batch)
	add(3, "e", "", 1)
	l.batch[traced+1].Trace = new(broker.Trace)
	l.divide()
	type part struct {
		room              string
		first, last, many int
	}
	var got []part
	for _, r := range l.runs {
		got = append(got, part{l.batch[r.of[0]].Room, r.of[0], r.of[len(r.of)-1], len(r.of)})
	}
	want := []part{{"a", 0, 3, 3}, {"b", 2, 2, 1}, {"a", 4, 5, 2}, {"a", 6, 6, 1}, {"c", 7, 7, 1}, {"c", 8, 8, 1},
		{"d", 9, 8 + runMessages, runMessages}, {"d", 9 + runMessages, 9 + runMessages, 1},
		{"e", traced, traced, 1}, {"e", traced + 1, traced + 2, 2}}
	if !slices.Equal(got, want) {
		t.Errorf("runs %+v, want %+v", got, want)
	}
}

// Publications that are stored by one run of the script are numbered, kept, noted and
// delivered as they are one by one.
func TestManyAtOnceAreStoredAsOneByOne(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	keep := func(string) broker.Bounds { return broker.Bounds{Messages: 40, Bytes: 3000} }
	r := newRig(t, Config{URL: s.url(), Bounds: keep})
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 3))
		atOnce, single := fmt.Sprint("many", seed), fmt.Sprint("one", seed)
		r.subscribe(atOnce)
		stored := 0
		for range 4 {
			var batch []broker.Publication
			for range 1 + rng.IntN(2*runMessages) {
				p := broker.Publication{Room: atOnce, From: "somebody", Data: fmt.Appendf(nil, `"%0*d"`, rng.IntN(200), rng.IntN(1000))}
				if rng.IntN(2) == 0 {
					p.ID = fmt.Sprint("id", rng.IntN(150))
				}
				batch = append(batch, p)
			}
			got := r.sendAtOnce(batch...)
			for i, p := range batch {
				p.Room = single
				want := r.sendAtOnce(p)[0]
				if want.Err != nil || got[i].Err != nil || got[i].Seq != want.Seq || got[i].Duplicate != want.Duplicate || got[i].Epoch != got[0].Epoch {
					t.Fatalf("seed %d, %d of %d: %+v, want %+v", seed, i, len(batch), got[i], want)
				}
				if !want.Duplicate {
					stored++
				}
			}
		}
		page, want := r.read(atOnce), r.read(single)
		if page.First != want.First || page.Last != want.Last || page.Last != uint64(stored) || len(page.Messages) != len(want.Messages) {
			t.Fatalf("seed %d: kept %d to %d, want %d to %d", seed, page.First, page.Last, want.First, want.Last)
		}
		for i, m := range page.Messages {
			if w := want.Messages[i]; m.Seq != w.Seq || string(m.Data) != string(w.Data) || m.From != w.From {
				t.Errorf("seed %d: kept %+v, want %+v", seed, m, w)
			}
		}
		eventually(t, "all are delivered", func() bool {
			r.ear.mu.Lock()
			defer r.ear.mu.Unlock()
			return len(r.ear.delivered[atOnce]) == stored
		})
		r.ear.mu.Lock()
		delivered := r.ear.delivered[atOnce]
		r.ear.mu.Unlock()
		for i, m := range delivered {
			if m.Seq != uint64(i+1) || m.Epoch != page.Epoch {
				t.Fatalf("seed %d: delivered %d as number %d", seed, m.Seq, i+1)
			}
		}
	}
}

// Where another wrote to the stream the log begins anew with the first of a run, and
// each answer, and what is noted of each ID, is of the log that has the message.
func TestForeignWritesToTheStreamDoNotKeepABatchOut(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	first := r.say("a", `1`)
	s.do("xadd", "fanfare:s:a", "4-0", "m", "junk")
	batch := make([]broker.Publication, 5)
	for i := range batch {
		batch[i] = broker.Publication{Room: "a", ID: fmt.Sprint("x", i), Data: fmt.Append(nil, i)}
	}
	got := r.sendAtOnce(batch...)
	for i, res := range got {
		if res.Err != nil || res.Epoch == first.Epoch || res.Epoch != got[0].Epoch || res.Seq != uint64(i+1) {
			t.Errorf("%d: %+v, all %+v", i, res, got)
		}
	}
	if page := r.read("a"); page.Epoch != got[0].Epoch || len(page.Messages) != len(batch) {
		t.Errorf("kept %+v", page)
	}
	for i, again := range r.sendAtOnce(batch...) {
		if !again.Duplicate || again.Position != got[i].Position {
			t.Errorf("again %+v, first %+v", again, got[i])
		}
	}
}

func TestFullMemoryStoresNothingOfABatch(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	r.say("a", `1`)
	s.do("config", "set", "maxmemory", "1")
	batch := make([]broker.Publication, 5)
	for i := range batch {
		batch[i] = broker.Publication{Room: "a", ID: fmt.Sprint("x", i), Data: []byte(`2`)}
	}
	for i, res := range r.sendAtOnce(batch...) {
		if !errors.Is(res.Err, broker.ErrUnavailable) || !strings.Contains(res.Err.Error(), "OOM") {
			t.Errorf("%d: %+v", i, res)
		}
	}
	s.do("config", "set", "maxmemory", "0")
	for i, res := range r.sendAtOnce(batch...) {
		if res.Err != nil || res.Duplicate || res.Seq != uint64(i+2) {
			t.Errorf("afterwards %d: %+v", i, res)
		}
	}
}
