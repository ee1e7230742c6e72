package memory

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

func TestARoomIsForgottenWhenNothingOfItIsLeft(t *testing.T) {
	cfg := Config{Bounds: keeping(broker.Bounds{Messages: 10, Age: 10 * time.Minute})}
	inBubble(t, cfg, func(t *testing.T, b *Broker, s *recorder) {
		first := s.say(b, "a", "id", `1`)
		b.pass(10*time.Minute - time.Second)
		if b.roomCount() != 1 || read(t, b, "a").Epoch != first.Epoch {
			t.Fatal("forgotten while it had a message")
		}
		b.pass(3 * time.Second)
		if b.roomCount() != 0 || b.kept != 0 || b.ids.cost() != 0 || b.nextDue() != never {
			t.Errorf("%d rooms, %d bytes, %d bytes of IDs are left", b.roomCount(), b.kept, b.ids.cost())
		}
		page := read(t, b, "a")
		if page.Epoch == first.Epoch || page.Last != 0 {
			t.Errorf("the log of a forgotten room goes on: %+v", page)
		}
		if again := s.say(b, "a", "id", `2`); again.Epoch != page.Epoch || again.Seq != 1 || again.Duplicate {
			t.Errorf("published %+v, read %+v before", again, page)
		}
	})
}

func TestASubscribedRoomIsRemembered(t *testing.T) {
	cfg := Config{Bounds: keeping(broker.Bounds{Messages: 10, Age: time.Minute}), Idle: 5 * time.Minute}
	inBubble(t, cfg, func(t *testing.T, b *Broker, s *recorder) {
		b.Subscribe("a")
		first := s.say(b, "a", "", `1`)
		b.pass(24 * time.Hour)
		if page := read(t, b, "a"); page.Epoch != first.Epoch || page.First != 2 || page.Last != 1 {
			t.Fatalf("after a day %+v, was %+v", page, first)
		}
		if b.nextDue() != never {
			t.Errorf("an idle broker wakes up at %d", b.nextDue())
		}
		b.Unsubscribe("a")
		b.pass(5*time.Minute - time.Second)
		if read(t, b, "a").Epoch != first.Epoch {
			t.Error("forgotten before Idle")
		}
		b.pass(3 * time.Second)
		if b.roomCount() != 0 {
			t.Error("not forgotten after Idle")
		}
	})
}

func TestARoomIsKeptAsLongAsItsIDs(t *testing.T) {
	cfg := Config{Bounds: keeping(broker.Bounds{}), Idle: time.Second, DedupWindow: time.Hour}
	inBubble(t, cfg, func(t *testing.T, b *Broker, s *recorder) {
		first := s.say(b, "a", "id", `1`)
		b.pass(time.Hour - time.Second)
		if again := s.say(b, "a", "id", `1`); !again.Duplicate || again.Position != first.Position {
			t.Errorf("retry %+v of %+v", again, first)
		}
		b.pass(3 * time.Second)
		if b.roomCount() != 0 {
			t.Error("not forgotten after its IDs")
		}
		b.pass(2 * time.Hour)
		if b.ids.cost() != 0 || b.ids.young != nil || b.ids.old != nil {
			t.Errorf("%d bytes of IDs are left", b.ids.cost())
		}
	})
}

func TestReadingOrJoiningAnUnusedRoomLeavesNothing(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *Broker, s *recorder) {
		for i := range 1000 {
			name := fmt.Sprint("room", i)
			epoch := read(t, b, name).Epoch
			b.Subscribe(name)
			synctest.Wait()
			if got := read(t, b, name).Epoch; got != epoch {
				t.Fatalf("%s: epoch %q, joined %q", name, epoch, got)
			}
			b.Unsubscribe(name)
			synctest.Wait()
			if got := read(t, b, name).Epoch; got != epoch {
				t.Fatalf("%s: epoch %q, left %q", name, epoch, got)
			}
		}
		if b.roomCount() != 0 || b.kept != 0 {
			t.Errorf("%d rooms, %d bytes are left", b.roomCount(), b.kept)
		}
	})
}

func TestPastItsBytesTheLongestUnusedHistoryGoes(t *testing.T) {
	cfg := Config{Bytes: 64 << 10, Bounds: keeping(broker.Bounds{Messages: 1000})}
	inBubble(t, cfg, func(t *testing.T, b *Broker, s *recorder) {
		data := `"` + strings.Repeat("x", 998) + `"`
		b.Subscribe("joined")
		joined := s.say(b, "joined", "", data)
		left := s.say(b, "left", "", data)
		for i := range 200 {
			s.say(b, fmt.Sprint("other", i%3), "", data)
			if b.total() > cfg.Bytes+1<<13 {
				t.Fatalf("%d bytes after %d messages", b.total(), i)
			}
		}
		if page := read(t, b, "joined"); page.Epoch != joined.Epoch || page.First != 2 || page.Last != 1 {
			t.Errorf("a joined room has %+v", page)
		}
		if page := read(t, b, "left"); page.Epoch == left.Epoch || page.Last != 0 {
			t.Errorf("a room that lost all still is %+v", page)
		}
		total := 0
		for i := range 3 {
			page := read(t, b, fmt.Sprint("other", i))
			total += len(page.Messages)
			if n := len(page.Messages); n == 0 || page.Messages[n-1].Seq != page.Last {
				t.Errorf("a room in use keeps %d, first %d, last %d", n, page.First, page.Last)
			}
		}
		if total < 20 {
			t.Errorf("%d messages of 1000 bytes are kept in %d bytes", total, cfg.Bytes)
		}
		for _, res := range s.results {
			if res.Err != nil {
				t.Fatalf("refused: %v", res.Err)
			}
		}
	})
}

func TestARoomInUseIsNotTheFirstToGiveWay(t *testing.T) {
	cfg := Config{Bytes: 64 << 10, Bounds: keeping(broker.Bounds{Messages: 1000})}
	inBubble(t, cfg, func(t *testing.T, b *Broker, s *recorder) {
		data := strings.Repeat("1", 1000)
		used := s.say(b, "used", "", data)
		s.say(b, "unused", "", data)
		for i := 0; len(read(t, b, "unused").Messages) > 0; i++ {
			if i == 100 {
				t.Fatal("nothing gives way")
			}
			s.say(b, "used", "", `1`)
			s.say(b, "filling", "", data)
		}
		if page := read(t, b, "used"); page.Epoch != used.Epoch || page.First != 1 {
			t.Errorf("the room in use lost up to seq %d", page.First)
		}
	})
}

func TestManyNewRoomsStayWithinBytes(t *testing.T) {
	cfg := Config{Bytes: 1 << 20, Bounds: keeping(broker.Bounds{Messages: 10})}
	inBubble(t, cfg, func(t *testing.T, b *Broker, s *recorder) {
		b.Subscribe("mine")
		first := s.say(b, "mine", "", `1`)
		for i := range 20 {
			batch := make([]broker.Publication, 1000)
			for j := range batch {
				batch[j] = broker.Publication{Room: fmt.Sprint("hostile", i, "-", j), Data: []byte(`1`)}
			}
			b.Publish(batch)
			synctest.Wait()
			if b.total() > cfg.Bytes {
				t.Fatalf("%d bytes", b.total())
			}
		}
		if n := b.roomCount(); n < 1000 || n > 5000 {
			t.Errorf("%d rooms in a MiB", n)
		}
		if last := s.say(b, "mine", "", `2`); last.Epoch != first.Epoch || last.Seq != 2 {
			t.Errorf("a joined room is at %+v", last)
		}
	})
}

func TestPublishIDsAreNeverGivenUpForOthers(t *testing.T) {
	var refused metrics.Counter
	cfg := Config{Bytes: 64 << 10, Refused: &refused, DedupWindow: time.Minute, Idle: time.Second,
		Bounds: keeping(broker.Bounds{Messages: 1, Age: time.Second})}
	inBubble(t, cfg, func(t *testing.T, b *Broker, s *recorder) {
		first := s.say(b, "mine", "id", `1`)
		for i := range 500 {
			s.say(b, fmt.Sprint("hostile", i), "id", `1`)
		}
		full := 0
		for _, res := range s.results {
			if res.Err != nil {
				full++
				if !errors.Is(res.Err, broker.ErrUnavailable) {
					t.Fatal(res.Err)
				}
			}
		}
		if full == 0 || full == 500 || refused.Value() != uint64(full) || b.ids.cost() > cfg.Bytes/2 {
			t.Errorf("%d refused, %d counted, %d bytes of IDs", full, refused.Value(), b.ids.cost())
		}
		if again := s.say(b, "mine", "id", `1`); !again.Duplicate || again.Position != first.Position {
			t.Errorf("retry %+v of %+v", again, first)
		}
		if res := s.say(b, "new", "", `1`); res.Err != nil || len(read(t, b, "new").Messages) != 1 {
			t.Errorf("without an ID: %+v", res)
		}
		b.pass(3 * time.Minute)
		if res := s.say(b, "new", "id", `1`); res.Err != nil {
			t.Errorf("after the window: %v", res.Err)
		}
	})
}

func TestAMessageThatCannotFitIsRefusedAndCostsNobody(t *testing.T) {
	inBubble(t, Config{Bytes: 64 << 10}, func(t *testing.T, b *Broker, s *recorder) {
		s.say(b, "a", "", `1`)
		if res := s.say(b, "b", "", strings.Repeat("1", 70<<10)); !errors.Is(res.Err, broker.ErrUnavailable) {
			t.Errorf("answered %+v", res)
		}
		if len(read(t, b, "a").Messages) != 1 || b.roomCount() != 1 {
			t.Error("another room paid for it")
		}
	})
}

func TestALogGivesItsMemoryBack(t *testing.T) {
	cfg := Config{Bounds: keeping(broker.Bounds{Messages: 4096, Age: time.Minute})}
	inBubble(t, cfg, func(t *testing.T, b *Broker, s *recorder) {
		b.Subscribe("a")
		for range 4096 {
			b.Publish([]broker.Publication{{Room: "a", Data: []byte(`1`)}})
		}
		b.pass(30 * time.Second)
		full := b.kept
		s.say(b, "a", "", `1`)
		b.pass(40 * time.Second)
		if page := read(t, b, "a"); len(page.Messages) != 1 || b.kept > full/100 {
			t.Errorf("%d messages in %d bytes, were %d", len(page.Messages), b.kept, full)
		}
	})
}

func TestReboundRoomsKeepWhatTheirNewBoundsSay(t *testing.T) {
	bounds := broker.Bounds{Messages: 100, Age: time.Hour}
	cfg := Config{Bounds: func(name string) broker.Bounds {
		if name == "other" {
			return broker.Bounds{Messages: 100}
		}
		return bounds
	}}
	inBubble(t, cfg, func(t *testing.T, b *Broker, s *recorder) {
		b.Subscribe("a")
		for range 50 {
			s.say(b, "a", "", `1`)
			s.say(b, "other", "", `1`)
		}
		rebound := func(to broker.Bounds) {
			bounds = to
			b.Rebound()
			synctest.Wait()
			checkBooks(t, b)
		}
		first := func() uint64 { return read(t, b, "a").First }
		epoch := read(t, b, "a").Epoch
		if rebound(broker.Bounds{Messages: 10, Age: time.Hour}); first() != 41 {
			t.Errorf("of 10 messages the first is %d of 50", first())
		}
		if rebound(broker.Bounds{Messages: 100, Bytes: 5, Age: time.Hour}); first() != 46 {
			t.Errorf("of 5 bytes the first is %d of 50", first())
		}
		rebound(broker.Bounds{Messages: 20, Age: time.Minute})
		for range 30 {
			s.say(b, "a", "", `1`)
		}
		if first() != 61 {
			t.Errorf("of 20 messages the first is %d of 80", first())
		}
		b.pass(time.Minute + 2*time.Second)
		if s, _ := b.shardOf("a"); s.rooms["a"].log.n != 0 {
			t.Error("the age that became shorter is not looked at in time")
		}
		if page := read(t, b, "a"); page.Epoch != epoch || page.Last != 80 {
			t.Errorf("the log is %+v, was of epoch %s", page, epoch)
		}
		if n := len(read(t, b, "other").Messages); n != 50 {
			t.Errorf("a room whose bounds stayed has %d of 50", n)
		}
	})
}

func TestMapsGiveTheirMemoryBack(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *Broker, s *recorder) {
		for i := range 40_000 {
			b.Publish([]broker.Publication{{Room: fmt.Sprint("room", i), Data: []byte(`1`)}})
		}
		b.pass(time.Hour)
		for i := range b.shards {
			if s := &b.shards[i]; len(s.rooms) != 0 || s.peak > 256 {
				t.Fatalf("a shard has %d rooms in a map made for %d", len(s.rooms), s.peak)
			}
		}
		if cap(b.dues.rooms) > 1024 {
			t.Errorf("the heap has place for %d", cap(b.dues.rooms))
		}
	})
}

func TestNoEpochComesTwice(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, b *Broker, s *recorder) {
		seen := make(map[string]bool)
		for i := range 5000 {
			epoch := s.say(b, fmt.Sprint("room", i%10), "", `1`).Epoch
			if seen[epoch] || len(epoch) < 12 {
				t.Fatalf("epoch %q", epoch)
			}
			seen[epoch] = true
			if err := b.Forget(t.Context(), fmt.Sprint("room", i%10)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Whatever happens in whatever order, the books are right and the bound holds.
func TestBooksAreRightAfterAnything(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 1))
		bounds := []broker.Bounds{{}, {Messages: 3}, {Messages: 100, Bytes: 300}, {Messages: 50, Age: time.Minute}}
		cfg := Config{
			Bytes: 20 << 10, DedupWindow: 30 * time.Second, Idle: 10 * time.Second,
			Bounds: func(room string) broker.Bounds { return bounds[int(room[0])%len(bounds)] },
		}
		inBubble(t, cfg, func(t *testing.T, b *Broker, s *recorder) {
			for range 400 {
				name := string(rune('a' + random.IntN(20)))
				switch random.IntN(11) {
				case 10:
					random.Shuffle(len(bounds), func(i, j int) { bounds[i], bounds[j] = bounds[j], bounds[i] })
					b.Rebound()
				case 0:
					b.Subscribe(name)
				case 1:
					b.Unsubscribe(name)
				case 2:
					b.Forget(t.Context(), name)
				case 3:
					b.pass(time.Duration(random.IntN(20)) * time.Second)
				default:
					p := broker.Publication{Room: name, From: "me", Data: make([]byte, random.IntN(400))}
					if random.IntN(3) == 0 {
						p.ID = fmt.Sprint(random.IntN(100))
					}
					b.Publish([]broker.Publication{p, {Room: name, Event: "e"}})
				}
				synctest.Wait()
				checkBooks(t, b)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
			for name := 'a'; name < 'a'+20; name++ {
				b.Unsubscribe(string(name))
				b.Forget(t.Context(), string(name))
			}
			b.pass(time.Hour)
			if b.roomCount() != 0 || b.kept != 0 || b.ids.cost() != 0 {
				t.Errorf("seed %d: %d rooms, %d bytes, %d of IDs are left", seed, b.roomCount(), b.kept, b.ids.cost())
			}
		})
	}
}
