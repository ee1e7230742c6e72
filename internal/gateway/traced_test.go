package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/room"
	"github.com/fanfare-ws/fanfare/internal/tracetest"
	"github.com/fanfare-ws/fanfare/internal/tracing"
)

// traced has a gateway record a share of the messages and send the spans to a
// collector.
func traced(t testing.TB, share float64) (*tracetest.Collector, func(*setup)) {
	t.Helper()
	c := tracetest.New(t)
	tracer, err := tracing.New(tracing.Config{
		Sample: share, Rooms: true, Queue: 1 << 16, Collector: tracing.Collector{URL: c.URL + "/v1/traces", Timeout: patience},
		Broker: "memory", Gateway: "gw", Metrics: new(metrics.Traces), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		tracer.Close(ctx)
	})
	return c, func(s *setup) { s.Tracer = tracer }
}

// spansOf is the spans of one name, by their parents.
func spansOf(spans []tracetest.Span, name string) map[string]tracetest.Span {
	found := make(map[string]tracetest.Span)
	for _, s := range spans {
		if strings.HasPrefix(s.Name, name+" ") {
			found[s.Parent] = s
		}
	}
	return found
}

func TestATracedMessageIsFollowedToTheMembersOfAllLoops(t *testing.T) {
	collector, trace := traced(t, 1)
	s := run(t, trace, func(c *setup) { c.Loops = 2 })
	members := []*client{s.dial(), s.dial(), s.dial(), s.dial()}
	for _, c := range members {
		c.join("a", "")
	}
	loops := 0
	for _, l := range s.set.Loops() {
		loops += min(1, int(l.Memberships.Value()))
	}
	at := members[0].publish("a", `"hello"`)
	spans := collector.Wait(4)
	publish := spansOf(spans, "publish")[""]
	relay := spansOf(spans, "relay")[publish.ID]
	receive := spansOf(spans, "receive")[relay.ID]
	fanOut := spansOf(spans, "fan-out")[receive.ID]
	for _, span := range []tracetest.Span{publish, relay, receive, fanOut} {
		if span.Trace == "" || span.Trace != publish.Trace || span.Attributes["messaging.message.id"] != at.Epoch+":"+strconv.FormatUint(at.Seq, 10) {
			t.Errorf("%+v", span)
		}
	}
	if publish.Attributes["fanfare.via"] != "websocket" || publish.End.Before(relay.End) || relay.Begin.Before(publish.Begin) {
		t.Errorf("publish %+v, relay %+v", publish, relay)
	}
	if !fanOut.Begin.Equal(receive.End) {
		t.Errorf("fan-out begins at %v, the message was in the log at %v", fanOut.Begin, receive.End)
	}
	_ = members[1].expect("message")
	frame := len(members[1].raw) + 2 // a header of a short frame
	if frame > 127 {
		frame += 2
	}
	for key, want := range map[string]int{
		"fanfare.members": 4, "fanfare.members.behind": 0, "fanfare.frames.dropped": 0, "fanfare.loops": loops, "fanfare.bytes": 4 * frame,
	} {
		if got := fanOut.Attributes[key]; got != strconv.Itoa(want) {
			t.Errorf("%s is %s, want %d", key, got, want)
		}
	}
	if collector.Says("hello") {
		t.Error("a span has the payload")
	}
}

func TestATracedMessageWithoutMembersEndsAtTheBroker(t *testing.T) {
	collector, trace := traced(t, 1)
	s := run(t, trace)
	s.dial().publish("a", "1")
	s.dial().publish("b", "1")
	if spans := collector.Wait(4); len(spans) != 4 || len(spansOf(spans, "receive")) != 0 {
		t.Errorf("%+v", spans)
	}
}

// What is behind, and what it loses by that, is told; the rest of the room is not
// waited for it.
func TestAFanOutTellsOfSlowMembers(t *testing.T) {
	collector, trace := traced(t, 1)
	s := run(t, trace, func(c *setup) { c.slow(room.Drop, 2, 0) })
	slow, quick := s.connect(dialing{small: true}), s.dial()
	slow.join("r", "")
	quick.join("r", "")
	queued := func() float64 { return s.metric(`fanfare_dropped_frames_total{policy="drop",stage="queue"}`) }
	published := 0
	for after := 0; after < 20; published++ { // each costs the slow one a frame, once it is behind
		if queued() > 0 {
			after++
		}
		results, err := s.gw.Publish(t.Context(), []broker.Publication{{Room: "r", Data: []byte(sized(published, 30<<10))}})
		if err != nil || results[0].Err != nil {
			t.Fatal(results, err)
		}
		quick.expect("message")
	}
	behind, dropped := 0, 0
	fanOuts := spansOf(collector.Wait(4*published), "fan-out")
	for _, f := range fanOuts {
		n, _ := strconv.Atoi(f.Attributes["fanfare.members.behind"])
		behind += n
		n, _ = strconv.Atoi(f.Attributes["fanfare.frames.dropped"])
		dropped += n
		if f.Attributes["fanfare.members"] != "2" {
			t.Errorf("%+v", f)
		}
	}
	// What falls away while no traced message is being written is of no fan-out.
	if len(fanOuts) != published || behind == 0 || dropped == 0 || dropped > int(queued()) {
		t.Errorf("%d fan-outs of %d; %d times behind, %d dropped of %v", len(fanOuts), published, behind, dropped, queued())
	}
}

func TestWhatBecameOfAPublicationIsTold(t *testing.T) {
	collector, trace := traced(t, 1)
	var refuse atomic.Bool
	s := run(t, trace, func(c *setup) {
		c.dedup = time.Minute
		other := c.Classes[0]
		c.Classes[0].Match, c.Classes[0].Rules.Publish = "closed", auth.Server
		limited := other
		limited.Match, limited.PublishRate = "limited", 1
		c.Classes = append(c.Classes, limited, other)
		c.tap.published = func(r []broker.Result) []broker.Result {
			for i := range r {
				if refuse.Load() {
					r[i].Err = broker.ErrUnavailable
				}
			}
			return r
		}
	})
	c := s.dial()
	say := func(room string) {
		c.sendf(`{"type":"publish","request_id":"p","payload":{"room":%q,"data":1,"id":"same"}}`, room)
		c.reply("p")
	}
	call := func(room string) {
		if _, err := s.gw.Publish(t.Context(), []broker.Publication{{Room: room, Data: []byte("1"), ID: "same"}}); err != nil {
			t.Fatal(err)
		}
	}
	say("open")
	say("open")
	say("closed")
	for range 3 { // twice the rate at once, and one more
		say("limited")
	}
	call("limited")
	refuse.Store(true)
	say("open")
	call("open")
	outcomes := make(map[string]int)
	spans := collector.Wait(9 + 6)
	for _, p := range spans {
		if strings.HasPrefix(p.Name, "publish ") {
			outcomes[p.Name+" "+p.Attributes["fanfare.via"]+" "+p.Attributes["fanfare.outcome"]]++
			if relayed := slices.ContainsFunc(spans, func(r tracetest.Span) bool {
				return r.Parent == p.ID && r.Attributes["fanfare.outcome"] == p.Attributes["fanfare.outcome"]
			}); relayed != (p.Attributes["fanfare.outcome"] != "forbidden" && p.Attributes["fanfare.outcome"] != "rate_limited") {
				t.Errorf("%+v: given to the broker is %v", p, relayed)
			}
		}
	}
	if want := map[string]int{
		"publish * websocket stored": 1, "publish * websocket duplicate": 1, "publish closed websocket forbidden": 1,
		"publish limited websocket stored": 1, "publish limited websocket duplicate": 1, "publish limited websocket rate_limited": 1,
		"publish limited api rate_limited": 1, "publish * websocket unavailable": 1, "publish * api unavailable": 1,
	}; !maps.Equal(outcomes, want) {
		t.Errorf("got  %v\nwant %v", outcomes, want)
	}
}

// Members come and go, and the log begins anew, while traced messages are on their
// way: each fan-out ends all the same.
func TestEveryFanOutEnds(t *testing.T) {
	const messages = 300
	collector, trace := traced(t, 1)
	s := run(t, trace, func(c *setup) { c.Loops = 2 })
	steady := []*client{s.dial(), s.dial(), s.dial()}
	for _, c := range steady {
		c.join("a", "")
		_ = c.conn.SetReadDeadline(time.Time{})
		go func() {
			for {
				if _, err := c.conn.Read(c.buf); err != nil {
					return
				}
			}
		}()
	}
	restless := s.dial()
	for i := range messages {
		if _, err := s.gw.Publish(t.Context(), []broker.Publication{{Room: "a", Data: []byte(fmt.Sprint(i))}, {Room: "b", Data: []byte("1")}}); err != nil {
			t.Fatal(err)
		}
		switch i % 10 {
		case 3:
			restless.send(`{"type":"join","payload":{"room":"a"}}`)
			restless.send(`{"type":"join","payload":{"room":"b"}}`)
		case 6:
			restless.send(`{"type":"leave","payload":{"room":"b"}}`)
			restless.send(`{"type":"leave","payload":{"room":"a"}}`)
		case 8:
			if err := s.gw.Forget(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
		}
	}
	// What is held while a log is read, and read with it, is not received on its own.
	var spans []tracetest.Span
	ended := func() (all bool) {
		spans = collector.Spans()
		if len(spansOf(spans, "publish")) == 0 {
			return false
		}
		fanOuts, receives := spansOf(spans, "fan-out"), 0
		for _, r := range spans {
			if strings.HasPrefix(r.Name, "receive ") && r.Attributes["messaging.destination.name"] == "a" {
				receives++
				if f, ok := fanOuts[r.ID]; !ok || f.Trace != r.Trace {
					return false
				}
			}
		}
		return receives >= messages/2
	}
	s.letPassTo(t, collector, 2*2*messages)
	until(t, "every message that was received is fanned out", ended)
}

// letPassTo waits for n spans of publications.
func (s *service) letPassTo(t *testing.T, c *tracetest.Collector, n int) {
	t.Helper()
	until(t, fmt.Sprint(n, " spans of publications"), func() bool {
		got := 0
		for _, span := range c.Spans() {
			if strings.HasPrefix(span.Name, "publish ") || strings.HasPrefix(span.Name, "relay ") {
				got++
			}
		}
		return got >= n
	})
}

// Of other messages a gateway that traces makes as little as one that does not.
func TestADeliveryThatIsNotTracedAllocatesNothing(t *testing.T) {
	needsPlain(t)
	const members = 50
	_, trace := traced(t, 1e-18)
	deliver := fanout(t, run(t, trace), members)
	for range 50 {
		deliver()
	}
	if n := testing.AllocsPerRun(100, deliver); n > 4 {
		t.Errorf("%v allocations for %d deliveries", n, members)
	}
}

// A gateway that does not trace takes no notice of what others do.
func TestTracesOfOthersAreNothingToAGatewayWithout(t *testing.T) {
	s := run(t)
	c := s.dial()
	c.join("a", "")
	r, e := s.gw.hub.find("a"), new(encoder)
	r.accept(e, []broker.Message{{
		Room: "a", Position: broker.Position{Epoch: s.tail("a").Epoch, Seq: 1}, Data: []byte("1"), Trace: &broker.Trace{ID: [16]byte{1}, Span: [8]byte{1}},
	}})
	s.gw.hub.fanOut(r, e)
	s.gw.hub.tell(r)
	c.expect("message")
	if len(e.arrivals) != 0 {
		t.Errorf("%+v", e.arrivals)
	}
}
