package brokertest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// wanted is Range in the plainest words: what q takes of the kept messages.
func wanted(kept []broker.Message, q broker.Query) []uint64 {
	var in []broker.Message
	for _, m := range kept {
		if m.Seq > q.After && (q.Before == 0 || m.Seq < q.Before) {
			in = append(in, m)
		}
	}
	if q.Newest {
		slices.Reverse(in)
	}
	var seqs []uint64
	sum := int64(0)
	for _, m := range in {
		sum += int64(len(m.Data))
		full := q.Limit > 0 && len(seqs) == q.Limit
		if full || q.Bytes > 0 && sum > q.Bytes && len(seqs) > 0 {
			break
		}
		seqs = append(seqs, m.Seq)
	}
	if q.Newest {
		slices.Reverse(seqs)
	}
	return seqs
}

func seqsOf(messages []broker.Message) []uint64 {
	var seqs []uint64
	for _, m := range messages {
		seqs = append(seqs, m.Seq)
	}
	return seqs
}

func pages(t *testing.T, s setting) {
	r, room := s.rig(t, Options{Bounds: bounds(broker.Bounds{Messages: 5})}), newRoom()
	check := func(kept []broker.Message) {
		for _, after := range []uint64{0, 1, 3, 4, 6, 7, 8, 9, 1 << 40, math.MaxUint64} {
			for _, before := range []uint64{0, 1, 2, 4, 5, 7, 8, 9, 1 << 40, math.MaxUint64} {
				for _, limit := range []int{0, 1, 2, 5, 100} {
					for _, bytes := range []int64{0, 1, 7, 8, 12, 1000} {
						for _, newest := range []bool{false, true} {
							q := broker.Query{Room: room, After: after, Before: before, Limit: limit, Newest: newest, Bytes: bytes}
							page := r.read(q)
							if want := wanted(kept, q); !slices.Equal(seqsOf(page.Messages), want) {
								t.Fatalf("%+v: %v, want %v", q, seqsOf(page.Messages), want)
							}
						}
					}
				}
			}
		}
	}
	check(nil)
	for i := range 8 { // of which 4 to 8 stay, 2 to 6 bytes long
		r.say(room, `"`+strings.Repeat("x", i%5)+`"`)
	}
	page := r.read(broker.Query{Room: room, Limit: 1})
	if page.First != 4 || page.Last != 8 {
		t.Fatalf("first %d, last %d, want 4 and 8", page.First, page.Last)
	}
	kept := r.read(broker.Query{Room: room}).Messages
	if !slices.Equal(seqsOf(kept), []uint64{4, 5, 6, 7, 8}) {
		t.Fatalf("kept %v", seqsOf(kept))
	}
	check(kept)
}

func pagesJoin(t *testing.T, s setting) {
	r, room := s.rig(t, Options{}), newRoom()
	const total = 57
	var want []uint64
	for i := range total {
		r.say(room, fmt.Sprintf(`"%s"`, strings.Repeat("x", i*i%11)))
		want = append(want, uint64(i+1))
	}
	var up, down []uint64
	for q := (broker.Query{Room: room, Limit: 7, Bytes: 25}); ; {
		page := r.read(q)
		if len(page.Messages) == 0 {
			break
		}
		up = append(up, seqsOf(page.Messages)...)
		q.After = up[len(up)-1]
	}
	for q := (broker.Query{Room: room, Limit: 7, Bytes: 25, Newest: true}); ; {
		page := r.read(q)
		if len(page.Messages) == 0 {
			break
		}
		down = append(seqsOf(page.Messages), down...)
		if q.Before = down[0]; q.Before == 1 {
			break
		}
	}
	if !slices.Equal(up, want) {
		t.Errorf("upwards %v", up)
	}
	if !slices.Equal(down, want) {
		t.Errorf("downwards %v", down)
	}
}
