package memory

import (
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// recorder is a Sink. It is read when the broker is known to be at rest.
type recorder struct {
	hold    chan struct{} // not nil: each call of Published takes from it first
	calls   []string
	results []broker.Result
	got     []broker.Message
}

func (s *recorder) Published(results []broker.Result) {
	if s.hold != nil {
		<-s.hold
	}
	s.calls = append(s.calls, fmt.Sprint("published ", len(results)))
	s.results = append(s.results, results...)
}

func (s *recorder) Subscribed(rooms []string) {
	s.calls = append(s.calls, fmt.Sprint("subscribed ", rooms))
}

func (s *recorder) Deliver(messages []broker.Message) {
	s.calls = append(s.calls, fmt.Sprint("deliver ", len(messages)))
	s.got = append(s.got, messages...)
}

func (s *recorder) Reset(room string, p broker.Position) {
	s.calls = append(s.calls, fmt.Sprint("reset ", room, " ", p.Seq))
}

// inBubble runs a test on a broker whose time passes as soon as it rests.
func inBubble(t *testing.T, cfg Config, run func(t *testing.T, b *Broker, s *recorder)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, s := New(cfg), new(recorder)
		b.Start(s)
		defer b.Close()
		run(t, b, s)
		synctest.Wait()
		checkBooks(t, b)
	})
}

// pass lets time go by and the broker come to rest.
func (b *Broker) pass(d time.Duration) {
	_ = b.Ready() // takes mu: what the test has read, it read before the goroutine goes on
	<-time.After(d)
	synctest.Wait()
}

// say publishes one message, with an ID unless that is empty, and returns its
// answer.
func (s *recorder) say(b *Broker, room, id, data string) broker.Result {
	n := len(s.results)
	b.Publish([]broker.Publication{{Room: room, ID: id, Data: []byte(data)}})
	synctest.Wait()
	return s.results[n]
}

func read(t *testing.T, b *Broker, room string) broker.Page {
	t.Helper()
	page, err := b.Range(t.Context(), broker.Query{Room: room})
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func (b *Broker) roomCount() int {
	n := 0
	for i := range b.shards {
		n += len(b.shards[i].rooms)
	}
	return n
}

// checkBooks recounts what a broker at rest keeps account of.
func checkBooks(t *testing.T, b *Broker) {
	t.Helper()
	kept, listed := int64(0), 0
	for i := range b.shards {
		for name, r := range b.shards[i].rooms {
			data, names := int64(0), int64(0)
			for i := range r.log.n {
				e := r.log.at(i)
				data += int64(len(e.data))
				names += int64(len(e.from) + len(e.event))
			}
			if data != r.dataBytes || names != r.nameBytes {
				t.Errorf("%s holds %d and %d bytes, its books say %d and %d", name, data, names, r.dataBytes, r.nameBytes)
			}
			if r.log.n > 0 && !r.listed {
				t.Errorf("%s cannot be evicted", name)
			}
			if r.stock != nothing && r.log.n == 0 && len(r.log.array) == 0 && !r.listed && r.duePlace == 0 && r.idsUntil == 0 {
				t.Errorf("%s has place for nothing", name)
			}
			if r.duePlace == 0 && b.dueOf(r) < never {
				t.Errorf("%s is never looked at", name)
			}
			kept += r.cost()
			if r.listed {
				listed++
			}
		}
	}
	if !reflect.DeepEqual(nothing, new(stock)) {
		t.Errorf("the stock of those who have none is %+v", nothing)
	}
	if kept != b.kept {
		t.Errorf("rooms cost %d, the books say %d", kept, b.kept)
	}
	for r := b.recent.first; r != nil; r = r.next {
		listed--
	}
	if listed != 0 {
		t.Errorf("the list of recent rooms is wrong by %d", listed)
	}
	if b.waiting != 0 || b.waitingBytes != 0 || b.cfg.Depth.Value() != 0 {
		t.Errorf("at rest %d publications of %d bytes wait, depth %d", b.waiting, b.waitingBytes, b.cfg.Depth.Value())
	}
}

// keeping is Bounds for every room.
func keeping(bounds broker.Bounds) func(string) broker.Bounds {
	return func(string) broker.Bounds { return bounds }
}
