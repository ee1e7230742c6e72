package brokertest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// wantAnswers checks that what was published got one answer each, of the errors
// that are allowed, and that the messages stored are numbered without a hole.
// It returns how many were stored.
func (r *rig) wantAnswers(tickets []int, allowed error) int {
	r.t.Helper()
	stored := 0
	for i, res := range r.sink.results(tickets) {
		switch {
		case res.Err == nil:
			stored++
			if res.Seq != uint64(stored) {
				r.t.Fatalf("publication %d is seq %d, want %d", i, res.Seq, stored)
			}
		case !errors.Is(res.Err, allowed):
			r.t.Fatalf("publication %d: %v, want %v", i, res.Err, allowed)
		}
	}
	return stored
}

func answersPastQueue(t *testing.T, s setting) {
	const queue, total = 16, 400
	r, room := s.rig(t, Options{Queue: queue}), newRoom()
	r.sink.hold = make(chan struct{})
	first := []broker.Publication{{Room: room, Data: []byte(`0`)}}
	tickets := r.sink.tickets(first)
	r.Publish(first)
	<-r.sink.holding // the broker is now kept from its work, or at least from answering
	for i := range total {
		batch := []broker.Publication{
			{Room: room, Data: fmt.Append(nil, i)}, {Room: room, Data: fmt.Append(nil, i)},
		}
		tickets = append(tickets, r.sink.tickets(batch)...)
		r.Publish(batch)
	}
	close(r.sink.hold)
	stored := r.wantAnswers(tickets, broker.ErrUnavailable)
	if stored < queue {
		t.Errorf("%d stored, the queue takes %d", stored, queue)
	}
	if page := r.read(broker.Query{Room: room}); page.Last != uint64(stored) {
		t.Errorf("%d stored, the log ends at %d", stored, page.Last)
	}
	if res := r.say(room, `1`)[0]; res.Seq != uint64(stored+1) {
		t.Errorf("afterwards seq %d, want %d", res.Seq, stored+1)
	}
	r.close()
	if r.sink.answered != len(tickets)+1 {
		t.Errorf("%d answers to %d publications", r.sink.answered, len(tickets)+1)
	}
}

func answersOnClose(t *testing.T, s setting) {
	const publishers, each = 4, 300
	r := s.rig(t, Options{})
	rooms, tickets := make([]string, publishers), make([][]int, publishers)
	var wg sync.WaitGroup
	begun := make(chan struct{}, publishers*each)
	for p := range publishers {
		rooms[p] = newRoom()
		wg.Go(func() {
			for range each {
				batch := []broker.Publication{{Room: rooms[p], Data: []byte(`1`)}}
				tickets[p] = append(tickets[p], r.sink.tickets(batch)...)
				r.Publish(batch)
				begun <- struct{}{}
			}
		})
	}
	for range publishers * each / 4 {
		<-begun
	}
	r.close()
	wg.Wait()
	for p := range publishers {
		r.wantAnswers(tickets[p], broker.ErrClosed)
	}
	if r.sink.answered != publishers*each {
		t.Errorf("%d answers to %d publications", r.sink.answered, publishers*each)
	}
	late := r.post(broker.Publication{Room: rooms[0], Data: []byte(`1`)})[0]
	if !errors.Is(late.Err, broker.ErrClosed) {
		t.Errorf("publish after close: %+v", late)
	}
	if _, err := r.Range(t.Context(), broker.Query{Room: rooms[0]}); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("range after close: %v", err)
	}
}

func ready(t *testing.T, s setting) {
	r := s.rig(t, Options{})
	r.say(newRoom(), `1`) // a broker may need a moment to be sure of itself
	if err := r.Ready(); err != nil {
		t.Errorf("a broker that works: %v", err)
	}
	r.close()
	if err := r.Ready(); err == nil {
		t.Error("a closed broker is ready")
	}
}
