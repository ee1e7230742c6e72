package redis

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// pair is a master and a replica that lags: what becomes the next master is made of
// what the old one had when it was copied.
type pair struct {
	t        *testing.T
	old, new *server
}

func newPair(t *testing.T) *pair {
	return &pair{t: t, old: startServer(t), new: startServer(t)}
}

// replicate has the new server know what the old one knows now, and nothing later.
func (p *pair) replicate() {
	p.t.Helper()
	ctx := context.Background()
	p.new.do("flushall")
	for _, key := range p.old.conn.Keys(ctx, "*").Val() {
		p.new.do("restore", key, max(0, p.old.conn.PTTL(ctx, key).Val().Milliseconds()), p.old.conn.Dump(ctx, key).Val())
	}
}

// follower is a gateway that asks a sentinel of the test's own.
type follower struct {
	*rig
	mu    sync.Mutex
	named opinion
	// held, where it is not nil, keeps the gateway between its answers from a server and
	// what it does with them until it is closed; holds says that it is there.
	held, holds chan struct{}
}

func (f *follower) sees(s *server, epoch int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.named = opinion{s.addr(), epoch}
}

// newFollower starts a gateway of the fleet that takes the old server for the master.
func (p *pair) newFollower(gateway string) *follower {
	t := p.t
	t.Helper()
	b := mustNew(t, Config{Mode: Sentinel, SentinelMaster: "hub", ProbeInterval: 100 * time.Millisecond, ProbeTimeout: 800 * time.Millisecond})
	f := &follower{rig: &rig{Broker: b, t: t, ear: newEar(t)}}
	f.sees(p.old, 1)
	b.master.ask = func(context.Context) []opinion {
		f.mu.Lock()
		defer f.mu.Unlock()
		return []opinion{f.named}
	}
	b.client.AddHook(f)
	f.Start(f.ear)
	t.Cleanup(f.Close)
	eventually(t, "announced", func() bool {
		_, err := f.Announce(t.Context(), broker.Member{ID: gateway}, time.Minute)
		return err == nil
	})
	return f
}

func (f *follower) DialHook(next goredis.DialHook) goredis.DialHook          { return next }
func (f *follower) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook { return next }

func (f *follower) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		err := next(ctx, cmds)
		f.mu.Lock()
		held, holds := f.held, f.holds
		f.mu.Unlock()
		if held != nil && strings.HasPrefix(cmds[0].Name(), "eval") { // and not what opens a connection
			holds <- struct{}{}
			<-held
		}
		return err
	}
}

// hold keeps the gateway's lanes with the answers that they get, until it is told to
// go on.
func (f *follower) hold() (holds <-chan struct{}, goOn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held, f.holds = make(chan struct{}), make(chan struct{}, 2)
	return f.holds, sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		close(f.held)
		f.held = nil
	})
}

// follows waits until the gateway has entered a server.
func (f *follower) follows(s *server) {
	f.t.Helper()
	eventually(f.t, "the other master is entered", func() bool { return f.master.entered() == s.addr() })
}

// refuses says whether publications are still refused after the gateway has called
// the roll again and again.
func (f *follower) refuses(room, text string) {
	f.t.Helper()
	for range 3 {
		f.follow()
		if res := f.try(broker.Publication{Room: room, Data: []byte(text)}); !errors.Is(res.Err, broker.ErrUnavailable) {
			f.t.Fatalf("while another gateway has not followed: %+v", res)
		}
	}
}

// What a gateway acknowledged and the new master lacks is lost in silence if another
// publishes there before the first has followed: its numbers are given again.
func TestNewMasterWaitsForAllGateways(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	slow, quick, member := p.newFollower("slow"), p.newFollower("quick"), p.newFollower("member")
	first := slow.recovers("a", `1`)
	quick.recovers("a", `2`)
	p.replicate()
	lost := slow.say("a", `"lost"`)

	quick.sees(p.new, 2)
	member.sees(p.new, 2)
	quick.follows(p.new)
	member.follows(p.new)
	member.subscribe("a")
	quick.refuses("a", `3`)
	if res := slow.try(broker.Publication{Room: "a", Data: []byte(`"old"`)}); res.Err != nil {
		t.Errorf("at the old master, which is all that it knows: %v", res.Err)
	}

	slow.sees(p.new, 2)
	slow.follows(p.new)
	next := quick.recovers("a", `3`)
	if next.Epoch == first.Epoch {
		t.Errorf("%+v is given again as %+v, and nobody is told", lost.Position, next.Position)
	}
	member.resetTo("a")
	member.hears("a", `3`)
	if res := slow.recovers("a", `4`); res.Epoch != next.Epoch || res.Seq != next.Seq+1 {
		t.Errorf("after %+v: %+v", next.Position, res.Position)
	}
}

// A gateway has its answer, and is not yet through with it when it is asked.
func TestAcknowledgementUnderWayIsWaitedFor(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	slow, quick := p.newFollower("slow"), p.newFollower("quick")
	first := slow.recovers("a", `1`)
	quick.recovers("a", `2`)
	p.replicate()
	holds, goOn := slow.hold()
	defer goOn()
	ticket := slow.send(broker.Publication{Room: "a", Data: []byte(`"lost"`)})
	<-holds
	quick.sees(p.new, 2)
	slow.sees(p.new, 2)
	quick.follows(p.new)
	slow.follows(p.new)
	quick.refuses("a", `3`)
	goOn()
	res := slow.answer(ticket)
	next := quick.recovers("a", `3`)
	if res.Err == nil && next.Epoch == first.Epoch {
		t.Errorf("%+v was acknowledged, and is given again as %+v", res.Position, next.Position)
	}
}

// Who does not answer is not waited for for ever; but what it may know is missing.
func TestRoomsBeginAnewWhereAGatewayDoesNotFollow(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	gone, quick, member := p.newFollower("gone"), p.newFollower("quick"), p.newFollower("member")
	member.subscribe("a", "silent")
	var first broker.Result
	for _, room := range []string{"silent", "a"} {
		first = gone.recovers(room, `1`)
		member.hears(room, `1`)
	}
	p.replicate()
	quick.rollCall, member.rollCall = time.Millisecond, time.Millisecond
	quick.sees(p.new, 2)
	quick.follows(p.new)
	next := quick.recovers("a", `2`)
	if next.Epoch == first.Epoch || next.Seq != 2 {
		t.Errorf("after %+v: %+v", first.Position, next.Position)
	}
	member.sees(p.new, 2)
	member.follows(p.new)
	begunAnew := func(epoch string) bool { return strings.HasPrefix(epoch, quick.term()+"_") }
	eventually(t, "a room to which nobody publishes begins anew", func() bool { return begunAnew(member.tail("silent").Epoch) })
	if page := quick.read("a"); page.Epoch != next.Epoch || !slices.Equal(texts(page), []string{`1`, `2`}) {
		t.Errorf("kept: %+v", page)
	}
	silent := member.tail("silent")
	if res := quick.recovers("silent", `2`); res.Epoch != silent.Epoch || res.Seq != 2 {
		t.Errorf("after %+v: %+v", silent.Position, res.Position)
	}
	if res := quick.recovers("new", `1`); !begunAnew(res.Epoch) {
		t.Errorf("a room that began: %+v", res.Position)
	}
	gone.sees(p.new, 2)
	gone.follows(p.new)
	if res := gone.recovers("a", `3`); res.Epoch != next.Epoch || res.Seq != 3 {
		t.Errorf("by who was gone: %+v", res.Position)
	}
}

func (f *follower) term() string {
	token, _ := f.master.publishing()
	return token
}

// Who has forgotten its term, or has it from elsewhere, is entered again.
func TestTermThatIsGoneBeginsAgain(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	f := p.newFollower("a")
	f.recovers("a", `1`)
	was := f.term()
	for _, spoil := range [][]any{
		{"flushall"}, {"del", "fanfare:fleet:open"}, {"set", "fanfare:fleet:open", "junk"}, {"del", "fanfare:fleet:term"},
		{"set", "fanfare:fleet:term", "junk"}, {"hdel", "fanfare:fleet:term", "token"},
	} {
		p.old.do(spoil...)
		if spoil[1:] != nil && spoil[len(spoil)-1] == "junk" && strings.HasSuffix(spoil[1].(string), "term") {
			p.old.do("del", "fanfare:fleet:open")
		}
		f.recovers("a", `2`)
	}
	if f.term() == was {
		t.Error("it is the same term")
	}
}
