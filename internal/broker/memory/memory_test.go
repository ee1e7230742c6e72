package memory

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// held is a broker whose Sink keeps it in its first answer, to room "first".
func held(t *testing.T, cfg Config, run func(t *testing.T, b *Broker, s *recorder)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, s := New(cfg), &recorder{hold: make(chan struct{})}
		b.Start(s)
		b.Publish([]broker.Publication{{Room: "first"}})
		synctest.Wait()
		run(t, b, s)
		b.Close()
		checkBooks(t, b)
	})
}

func TestPastTheQueuesBoundPublicationsAreRefused(t *testing.T) {
	var depth metrics.Gauge
	var refused metrics.Counter
	cfg := Config{Queue: 10, QueueBytes: 100, Depth: &depth, Refused: &refused}
	held(t, cfg, func(t *testing.T, b *Broker, s *recorder) {
		waiting := depth.Value() // that of the chunk in hand
		for i := range 20 {
			b.Publish([]broker.Publication{{Room: "a", Data: []byte(`1`), Ticket: i}})
		}
		if depth.Value() != 10 || refused.Value() != 10+uint64(waiting) {
			t.Errorf("%d wait and %d were refused of 20; %d waited", depth.Value(), refused.Value(), waiting)
		}
		if err := b.Forget(t.Context(), "a"); !errors.Is(err, broker.ErrUnavailable) {
			t.Errorf("Forget past the bound: %v", err)
		}
		s.hold <- struct{}{} // on to the refusals
		synctest.Wait()
		for i := range 20 {
			b.Publish([]broker.Publication{{Room: "a", Data: []byte(`1`), Ticket: 20 + i}})
		}
		close(s.hold)
		synctest.Wait()
		answers, stored := make(map[any]int), 0
		for _, res := range s.results[1:] {
			answers[res.Ticket]++
			if res.Err == nil {
				stored++
			} else if !errors.Is(res.Err, broker.ErrUnavailable) {
				t.Error(res.Err)
			}
		}
		if len(s.results) != 41 || len(answers) != 40 || stored != 10 || depth.Value() != 0 {
			t.Errorf("%d answers to %d of 40 tickets, %d stored, depth %d", len(s.results)-1, len(answers), stored, depth.Value())
		}
	})
}

func TestTheQueueIsBoundedInBytes(t *testing.T) {
	held(t, Config{QueueBytes: 100}, func(t *testing.T, b *Broker, s *recorder) {
		b.Publish([]broker.Publication{
			{Room: "a", Data: make([]byte, 60)}, {Room: "a", Data: make([]byte, 60)}, {Room: "a", Data: make([]byte, 40)},
		})
		close(s.hold)
		synctest.Wait()
		var errs []error
		for _, res := range s.results[1:] {
			errs = append(errs, res.Err)
		}
		if len(errs) != 3 || !errors.Is(errs[0], broker.ErrUnavailable) || errs[1] != nil || errs[2] != nil {
			t.Errorf("answers %v, want the refusal first", errs)
		}
		if s.say(b, "a", "", `1`).Err != nil {
			t.Error("an empty queue refuses")
		}
	})
}

func TestCloseAnswersWhatIsQueued(t *testing.T) {
	held(t, Config{}, func(t *testing.T, b *Broker, s *recorder) {
		batch := make([]broker.Publication, 3000)
		b.Publish(batch)
		s.hold <- struct{}{} // on to the first chunk of these
		synctest.Wait()
		b.Publish(batch[:10])
		closed := make(chan struct{})
		go func() {
			b.Close()
			close(closed)
		}()
		synctest.Wait()
		close(s.hold)
		<-closed
		for i, res := range s.results {
			if i > chunk && !errors.Is(res.Err, broker.ErrClosed) || i <= chunk && res.Err != nil {
				t.Fatalf("publication %d: %+v", i, res)
			}
		}
		if len(s.results) != 3011 {
			t.Errorf("%d answers to 3011 publications", len(s.results))
		}
		b.Subscribe("a")
		b.Unsubscribe("a")
		if err := b.Forget(t.Context(), "a"); !errors.Is(err, broker.ErrClosed) {
			t.Errorf("Forget after Close: %v", err)
		}
		b.Close()
	})
}

func TestABrokerThatNeverBeganCanBeClosed(t *testing.T) {
	b := New(Config{})
	if b.Ready() == nil {
		t.Error("ready before Start")
	}
	b.Publish([]broker.Publication{{Room: "a"}})
	b.Close()
	b.Publish([]broker.Publication{{Room: "a"}})
	if b.Ready() == nil {
		t.Error("ready after Close")
	}
}

func TestJoiningAndLeavingDoesNotGrowTheQueue(t *testing.T) {
	held(t, Config{}, func(t *testing.T, b *Broker, s *recorder) {
		for range 1000 {
			b.Subscribe("a", "b")
			b.Unsubscribe("a")
			b.Publish([]broker.Publication{{Room: "a"}, {Room: "b"}})
		}
		if n := len(b.queue); n != 2002 {
			t.Errorf("%d items wait, want 2 rooms and 2000 publications", n)
		}
		b.Subscribe("a")
		close(s.hold)
		synctest.Wait()
		if len(s.got) != 2000 || !slices.Contains(s.calls, "subscribed [a b]") {
			t.Errorf("%d delivered, want all; calls %q", len(s.got), s.calls[:3])
		}
	})
}

func TestMembersHaveAMessageBeforeItsPublisherIsAnswered(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *Broker, s *recorder) {
		b.Subscribe("a")
		synctest.Wait()
		b.Publish([]broker.Publication{{Room: "a"}, {Room: "a"}, {Room: "b"}})
		synctest.Wait()
		if want := []string{"subscribed [a]", "deliver 2", "published 3"}; !slices.Equal(s.calls, want) {
			t.Errorf("calls %q, want %q", s.calls, want)
		}
	})
}

func TestForgetBeginsALogAnew(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *Broker, s *recorder) {
		b.Subscribe("a")
		first := s.say(b, "a", "id", `1`)
		s.calls = nil
		b.Publish([]broker.Publication{{Room: "a", Data: []byte(`2`)}})
		if err := b.Forget(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		b.Publish([]broker.Publication{{Room: "a", ID: "id", Data: []byte(`1`)}, {Room: "a", Data: []byte(`3`)}})
		synctest.Wait()
		want := []string{"deliver 1", "published 1", "reset a 0", "deliver 1", "published 2"}
		if !slices.Equal(s.calls, want) {
			t.Errorf("calls %q, want %q", s.calls, want)
		}
		last := s.results[len(s.results)-1]
		if last.Epoch == first.Epoch || last.Seq != 1 {
			t.Errorf("afterwards %+v, before %+v", last, first)
		}
		if retry := s.results[len(s.results)-2]; !retry.Duplicate || retry.Position != first.Position {
			t.Errorf("a retry brings back what was forgotten: %+v", retry)
		}
		if page := read(t, b, "a"); page.Epoch != last.Epoch || len(page.Messages) != 1 || page.First != 1 {
			t.Errorf("the new log: %+v", page)
		}
	})
}

func TestForgetOfAnUnknownRoomBeginsAnEpoch(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *Broker, s *recorder) {
		before := read(t, b, "a").Epoch
		b.Forget(t.Context(), "a")
		synctest.Wait()
		if after := read(t, b, "a").Epoch; after == before || b.roomCount() != 0 {
			t.Errorf("epoch %q, then %q; %d rooms", before, after, b.roomCount())
		}
	})
}

func TestASinkMayCallTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{})
		s := &caller{b: b, t: t}
		b.Start(s)
		b.Publish([]broker.Publication{{Room: "a"}})
		synctest.Wait()
		b.Close()
		if s.answers != 3 {
			t.Errorf("%d answers", s.answers)
		}
	})
}

// caller publishes, subscribes and reads from within its calls.
type caller struct {
	recorder
	b       *Broker
	t       *testing.T
	answers int
}

func (c *caller) Published(results []broker.Result) {
	if c.answers += len(results); c.answers < 3 {
		c.b.Subscribe(fmt.Sprint("room", c.answers))
		c.b.Publish([]broker.Publication{{Room: "a"}})
		read(c.t, c.b, "a")
	}
}
