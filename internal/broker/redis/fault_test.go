package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

func TestWaitsForRedisAtStart(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.kill()
	r := newRig(t, Config{URL: s.url()})
	r.Subscribe("a")
	if err := r.Ready(); err == nil || !strings.Contains(err.Error(), "since") {
		t.Errorf("ready without a server: %v", err)
	}
	if res := r.try(broker.Publication{Room: "a", Data: []byte(`1`)}); !errors.Is(res.Err, broker.ErrUnavailable) {
		t.Errorf("publish without a server: %+v", res)
	}
	s.start()
	r.ready()
	r.recovers("a", `2`)
	eventually(t, "delivery", func() bool { return r.ear.has("a", `2`) })
}

func TestPublishesAreRefusedAtOnceWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url(), PublishTimeout: 500 * time.Millisecond})
	r.ready()
	r.say("a", `1`)
	s.signal(syscall.SIGSTOP)
	defer s.signal(syscall.SIGCONT)
	begun := time.Now()
	if res := r.try(broker.Publication{Room: "a", Data: []byte(`2`)}); !errors.Is(res.Err, broker.ErrUnavailable) {
		t.Errorf("publish to a stopped server: %+v", res)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("the first refusal took %v", took)
	}
	begun = time.Now()
	for range 1000 {
		if res := r.try(broker.Publication{Room: "a", Data: []byte(`3`)}); res.Err == nil {
			t.Fatal("stored by a stopped server")
		}
		if time.Since(begun) > time.Second {
			break
		}
	}
	r.ear.mu.Lock()
	answered := len(r.ear.results)
	r.ear.mu.Unlock()
	if answered < 20 {
		t.Errorf("%d refusals in a second: each waited", answered)
	}
	eventually(t, "unready", func() bool { return r.Ready() != nil })
	s.signal(syscall.SIGCONT)
	r.recovers("a", `4`)
	r.ready()
	if n := r.waiting.Load(); n != 0 {
		t.Errorf("%d publications counted as waiting", n)
	}
}

func TestKilledSubscribersAreMadeAnew(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	r.subscribe("a", "b", "c")
	r.ready()
	made := s.connections()
	for i := range 5 {
		before := r.ear.times("a")
		s.do("client", "kill", "type", "pubsub")
		for _, room := range []string{"a", "b", "c"} {
			eventually(t, "subscribed again", func() bool { return r.ear.times(room) > before })
		}
		text := fmt.Sprint(i)
		r.say("a", text)
		eventually(t, "delivery", func() bool { return r.ear.has("a", text) })
	}
	// One for each that was killed, and not a second that the client makes by itself;
	// the commands' connections may be a few.
	if n := s.connections() - made; n >= 2*5*standaloneShards {
		t.Errorf("%d connections were made", n)
	}
	if n := r.cfg.Metrics.Reconnects(metrics.ReconnectRead); n < 5 {
		t.Errorf("%d reconnects counted", n)
	}
	if n := r.cfg.Metrics.Subscriptions.Value(); n != 3 {
		t.Errorf("%d subscriptions counted", n)
	}
}

func TestMuteConnectionIsFoundByItsProbe(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s.addr())
	r := newRig(t, Config{URL: p.url()})
	r.subscribe("a")
	r.ready()
	if n := p.muteSubscribers(); n != standaloneShards {
		t.Fatalf("%d subscribers muted", n)
	}
	eventually(t, "unready or made anew", func() bool {
		return r.Ready() != nil || r.cfg.Metrics.Reconnects(metrics.ReconnectProbe) > 0
	})
	r.ready()
	eventually(t, "subscribed again", func() bool { return r.ear.times("a") > 1 })
	r.say("a", `1`)
	eventually(t, "delivery", func() bool { return r.ear.has("a", `1`) })
}

func TestRoomsGoOnInTheirEpochAfterARestartWithData(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--appendonly", "yes", "--appendfsync", "always")
	r := newRig(t, Config{URL: s.url()})
	r.subscribe("a")
	first := r.say("a", `1`)
	s.kill()
	eventually(t, "unready", func() bool { return r.Ready() != nil })
	s.start()
	r.ready()
	second := r.recovers("a", `2`)
	if second.Epoch != first.Epoch || second.Seq <= first.Seq {
		t.Errorf("first %+v, after the restart %+v", first.Position, second.Position)
	}
	if page := r.read("a"); page.First != 1 || page.Last != second.Seq {
		t.Errorf("kept %d to %d", page.First, page.Last)
	}
}

func TestRestartWithoutDataBeginsANewEpoch(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	r.subscribe("a")
	first := r.say("a", `1`)
	s.kill()
	s.start()
	second := r.recovers("a", `2`)
	if second.Epoch == first.Epoch || second.Seq != 1 {
		t.Errorf("first %+v, after the restart %+v", first.Position, second.Position)
	}
	eventually(t, "subscribed again", func() bool { return r.ear.times("a") > 1 })
	s.do("flushall")
	if tail := r.tail("a"); tail.Epoch == second.Epoch || tail.Seq != 0 || tail.Stamp != 0 {
		t.Errorf("after flushall %+v", tail)
	}
}

func TestReplicaTakesNothing(t *testing.T) {
	t.Parallel()
	s, other := startServer(t), startServer(t)
	r := newRig(t, Config{URL: s.url()})
	r.ready()
	r.say("a", `1`)
	s.do("replicaof", "127.0.0.1", fmt.Sprint(other.port))
	eventually(t, "unready", func() bool { return r.Ready() != nil })
	if res := r.try(broker.Publication{Room: "a", Data: []byte(`2`)}); !errors.Is(res.Err, broker.ErrUnavailable) {
		t.Errorf("publish to a replica: %+v", res)
	}
	if err := r.Ready(); err != nil && !strings.Contains(err.Error(), "READONLY") {
		t.Logf("ready: %v", err) // the reason may be a connection that ended since
	}
	s.do("replicaof", "no", "one")
	r.ready()
	r.recovers("a", `3`)
}

func TestFullMemoryStoresNothingAndKeepsReading(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	r.subscribe("a")
	first := r.say("a", `1`)
	s.do("config", "set", "maxmemory", "1")
	p := broker.Publication{Room: "a", ID: "x", Data: []byte(`2`)}
	for _, room := range []string{"a", "new"} {
		p.Room = room
		if res := r.try(p); !errors.Is(res.Err, broker.ErrUnavailable) || !strings.Contains(res.Err.Error(), "OOM") {
			t.Errorf("publish with a full memory: %+v", res)
		}
		p.ID = ""
		if res := r.try(p); !errors.Is(res.Err, broker.ErrUnavailable) {
			t.Errorf("publish with a full memory: %+v", res)
		}
		p.ID = "x"
	}
	r.ready() // deliveries are proven all the same
	if page := r.read("a"); page.Last != 1 || len(page.Messages) != 1 {
		t.Errorf("kept %+v", page)
	}
	s.do("config", "set", "maxmemory", "0")
	p.Room = "a"
	if res := r.try(p); res.Err != nil || res.Duplicate || res.Seq != 2 || res.Epoch != first.Epoch {
		t.Errorf("afterwards %+v", res)
	}
}

func TestForgottenScriptsAreSentAgain(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	r.ready()
	for i := range 20 {
		s.do("script", "flush")
		if res := r.say("a", fmt.Sprint(i)); res.Seq != uint64(i+1) {
			t.Fatalf("message %d: %+v", i, res)
		}
		s.do("script", "flush")
		r.read("a")
		s.do("script", "flush")
		r.tail("a")
	}
}

// between runs what a test wants behind the first command of each pipeline, as another
// gateway may.
type between func()

func (between) DialHook(next goredis.DialHook) goredis.DialHook          { return next }
func (between) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook { return next }

func (b between) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		_ = next(ctx, cmds[:1])
		b()
		if len(cmds) == 1 {
			return nil
		}
		return next(ctx, cmds[1:])
	}
}

func TestAScriptThatAnotherBringsInTheMiddleHurtsNobody(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	r.ready()
	s.do("script", "flush")
	r.client.AddHook(between(func() {
		s.do("script", "load", scriptPresence.text)
		s.do("script", "load", scriptCounts.text)
	}))
	ctx := t.Context()
	var rooms []broker.RoomUsers
	var names []string
	for i := range countRooms + 2 { // two scripts count them
		names = append(names, fmt.Sprint("room", i))
		if i < 3 {
			rooms = append(rooms, broker.RoomUsers{Room: names[i], Users: []broker.UserConnections{{User: "ada", Connections: 1}}})
		}
	}
	if err := r.SetPresence(ctx, "g", rooms); err != nil {
		t.Error(err)
	}
	s.do("script", "flush")
	counts, err := r.OnlineCounts(ctx, names)
	if err != nil || !slices.Equal(counts[:4], []int{1, 1, 1, 0}) {
		t.Errorf("counts %v, %v", counts, err)
	}
	if _, err := r.Announce(ctx, broker.Member{ID: "g"}, time.Minute); err != nil {
		t.Error(err)
	}
	if stands, err := r.Announce(ctx, broker.Member{ID: "g"}, time.Minute); err != nil || !stands {
		t.Errorf("what was said is lost: %v, %v", stands, err)
	}
}

func TestOrderHoldsWhileScriptsAreForgotten(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	r.ready()
	var tickets []int
	for i := range 3000 {
		tickets = append(tickets, r.send(broker.Publication{Room: fmt.Sprint("r", i%7), Data: []byte(`1`)}))
		if i%200 == 0 {
			s.do("script", "flush")
		}
	}
	last, failed := make(map[string]uint64), 0
	for _, ticket := range tickets {
		res := r.answer(ticket)
		if res.Err != nil {
			failed++
			continue
		}
		if res.Seq <= last[res.Room] {
			t.Fatalf("%q: seq %d behind %d", res.Room, res.Seq, last[res.Room])
		}
		last[res.Room] = res.Seq
	}
	for room, seq := range last {
		if page := r.read(room); page.Last != seq {
			t.Errorf("%q ends at %d, answered up to %d", room, page.Last, seq)
		}
	}
	t.Logf("%d of %d refused", failed, len(tickets))
}

func TestOverflowIsCountedAndTheRoomsAreReadAgain(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url(), Inbox: 8})
	r.subscribe("a", "b")
	block := make(chan struct{})
	r.ear.mu.Lock()
	r.ear.block = block
	r.ear.mu.Unlock()
	const total = 300
	for i := range total {
		r.say("a", fmt.Sprint(i))
	}
	eventually(t, "an overflow", func() bool { return r.cfg.Metrics.Dropped.Value() > 0 })
	r.ready() // the reader is not held up
	before := r.ear.times("a")
	close(block)
	eventually(t, "subscribed again", func() bool { return r.ear.times("a") > before })
	if page := r.read("a"); page.Last != total {
		t.Errorf("the log ends at %d", page.Last)
	}
}

func TestClosesWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	r.subscribe("a")
	s.signal(syscall.SIGSTOP)
	defer s.signal(syscall.SIGCONT)
	tickets := []int{r.send(broker.Publication{Room: "a", Data: []byte(`1`)}), r.send(broker.Publication{Room: "b", Data: []byte(`1`)})}
	begun := time.Now()
	r.Close()
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("closing took %v", took)
	}
	for _, ticket := range tickets {
		if res := r.answer(ticket); res.Err == nil {
			t.Errorf("%+v", res)
		}
	}
	if _, err := r.Tails(context.Background(), []string{"a"}); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("tails after close: %v", err)
	}
}
