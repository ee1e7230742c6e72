package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// remember copies a room's log, and returns what puts the copy in its place, as a
// failover to a replica does that has no more.
func (s *server) remember(room string) (rewind func()) {
	keys := []string{"fanfare:m:" + room, "fanfare:s:" + room}
	for _, key := range keys {
		s.do("copy", key, "copy:"+key, "replace")
	}
	return func() {
		for _, key := range keys {
			s.do("copy", "copy:"+key, key, "replace")
		}
	}
}

// resetTo waits until the room was reset once, and returns to where.
func (r *rig) resetTo(room string) (p broker.Position) {
	r.t.Helper()
	eventually(r.t, "a reset of "+room, func() bool {
		r.ear.mu.Lock()
		defer r.ear.mu.Unlock()
		if n := len(r.ear.resets[room]); n > 0 {
			p = r.ear.resets[room][n-1]
		}
		return p.Epoch != ""
	})
	return p
}

func (r *rig) resets(room string) int {
	r.ear.mu.Lock()
	defer r.ear.mu.Unlock()
	return len(r.ear.resets[room])
}

func (r *rig) hears(room, text string) {
	r.t.Helper()
	eventually(r.t, "delivery of "+text, func() bool { return r.ear.has(room, text) })
}

func TestPublicationToARewoundLogBeginsANewEpoch(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, id := range []string{"", "x"} {
		room := "a" + id
		r, member := newRig(t, Config{URL: s.url()}), newRig(t, Config{URL: s.url()})
		member.subscribe(room)
		first := r.say(room, `1`)
		rewind := s.remember(room)
		r.say(room, `2`)
		r.say(room, `3`)
		member.hears(room, `3`)
		rewind()
		p := broker.Publication{Room: room, ID: id, Data: []byte(`4`)}
		res := r.try(p)
		if res.Err != nil || res.Epoch == first.Epoch || res.Seq != 2 {
			t.Fatalf("behind %+v of a rewound log: %+v", first.Position, res)
		}
		member.hears(room, `4`)
		if got, want := member.resetTo(room), (broker.Position{Epoch: res.Epoch}); got != want {
			t.Errorf("reset to %+v, want %+v", got, want)
		}
		page := r.read(room)
		if page.Epoch != res.Epoch || len(page.Messages) != 2 || string(page.Messages[0].Data) != `1` || page.Messages[1].Seq != 2 {
			t.Errorf("kept %+v", page)
		}
		if next := member.say(room, `5`); next.Epoch != res.Epoch || next.Seq != 3 || member.resets(room) != 1 {
			t.Errorf("next %+v, %d resets", next, member.resets(room))
		}
		if again := r.try(p); id != "" && (!again.Duplicate || again.Position != res.Position) {
			t.Errorf("retry %+v, first %+v", again, res)
		}
	}
}

// What only its publisher's gateway has heard of is missed by that gateway, by each
// of the ways in which it meets the log; at is what others have stored meanwhile.
func TestRewoundLogIsFoundByWhoAcknowledgedMore(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	reconnect := func(r *rig, _ string) { s.do("client", "kill", "type", "pubsub") }
	for _, c := range []struct {
		name       string
		others     int
		subscribed bool
		meet       func(r *rig, room string)
	}{
		{"a reconnect", 0, false, reconnect},
		{"a reconnect, another has its place", 2, false, reconnect},
		{"a reconnect, the log goes on", 4, false, reconnect},
		{"tails", 0, false, func(r *rig, room string) { r.tail(room) }},
		{"tails, another has its place", 2, false, func(r *rig, room string) { r.tail(room) }},
		{"range", 0, false, func(r *rig, room string) { r.read(room) }},
		{"range, the log goes on", 4, false, func(r *rig, room string) { r.read(room) }},
		{"a delivery", 2, true, func(*rig, string) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, other := newRig(t, Config{URL: s.url()}), newRig(t, Config{URL: s.url()})
			room := c.name
			if c.subscribed {
				r.subscribe(room)
			}
			other.subscribe("unrelated") // a connection to be reset by
			r.ready()
			first := r.say(room, `1`)
			rewind := s.remember(room)
			r.say(room, `2`)
			r.say(room, `3`)
			rewind()
			other.Subscribe(room)
			eventually(t, "subscribed", func() bool { return other.ear.times(room) > 0 })
			for i := range c.others {
				other.say(room, fmt.Sprint("9", i))
			}
			c.meet(r, room)
			eventually(t, "a new epoch", func() bool {
				got, err := s.conn.Get(context.Background(), "fanfare:m:"+room).Result()
				return err == nil && got[52:] != first.Epoch
			})
			page := other.read(room)
			if page.Last != uint64(1+c.others) || len(page.Messages) != 1+c.others {
				t.Errorf("kept %+v", page)
			}
			for range 3 { // it was renewed once
				r.tail(room)
			}
			if now := r.read(room); now.Epoch != page.Epoch {
				t.Errorf("epoch %q, then %q", page.Epoch, now.Epoch)
			}
			if res := r.say(room, `4`); res.Epoch != page.Epoch || res.Seq != page.Last+1 {
				t.Errorf("next %+v", res)
			}
		})
	}
}

func TestLogThatGoesOnIsNotRenewed(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r, other := newRig(t, Config{URL: s.url()}), newRig(t, Config{URL: s.url()})
	other.subscribe("a")
	first := r.say("a", `1`)
	for i := range 200 {
		r.send(broker.Publication{Room: "a", Data: []byte(`1`)})
		res := other.say("a", `2`)
		if res.Epoch != first.Epoch {
			t.Fatalf("epoch %q, then %q", first.Epoch, res.Epoch)
		}
		switch i % 50 {
		case 10:
			s.do("client", "kill", "type", "pubsub")
		case 20:
			r.read("a")
		case 30:
			other.tail("a")
		}
	}
	if n := other.resets("a"); n != 0 {
		t.Errorf("%d resets", n)
	}
}

// newSplitRig starts a broker that subscribes at one server and sends its commands to
// another, as one does that still has connections to an old master.
func newSplitRig(t *testing.T, subscribe, command *server) *rig {
	t.Helper()
	b := mustNew(t, Config{URL: command.url(), ProbeInterval: 13 * time.Second, ProbeTimeout: 14 * time.Second})
	b.client.Close()
	b.client = goredis.NewClient(&goredis.Options{
		Addr: command.addr(), Protocol: 2, MaxRetries: -1, DisableIdentity: true, ContextTimeoutEnabled: true,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if ctx.Value(dialed{}) != nil {
				addr = subscribe.addr()
			}
			return dialer(nil)(ctx, network, addr)
		},
	})
	r := &rig{Broker: b, t: t, ear: newEar(t)}
	r.Start(r.ear)
	t.Cleanup(r.Close)
	return r
}

func TestAnswerOfAnOldMasterIsNoAcknowledgement(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		went func(w *rig) (heard func(r *rig) bool) // what the new master has done meanwhile
	}{
		{"the place is another's", func(w *rig) func(*rig) bool {
			w.say("a", `"other"`)
			return func(r *rig) bool { return r.ear.has("a", `"other"`) }
		}},
		{"the epoch was left", func(w *rig) func(*rig) bool {
			if err := w.Forget(w.t.Context(), "a"); err != nil {
				w.t.Fatal(err)
			}
			return func(r *rig) bool { return r.resets("a") > 0 }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			master, old := startServer(t), startServer(t)
			w, r := newRig(t, Config{URL: master.url()}), newSplitRig(t, master, old)
			r.subscribe("a")
			w.say("a", `1`)
			r.hears("a", `1`)
			warm := "warm"
			for r.of(warm) != r.of("a") {
				warm += "."
			}
			r.say(warm, `1`) // the old master has the script
			for _, key := range []string{"fanfare:m:a", "fanfare:s:a"} {
				old.do("restore", key, 0, master.do("dump", key))
			}
			old.signal(syscall.SIGSTOP)
			ticket := r.send(broker.Publication{Room: "a", Data: []byte(`"mine"`)})
			heard := c.went(w)
			eventually(t, "the new master is heard", func() bool { return heard(r) })
			old.signal(syscall.SIGCONT)
			if res := r.answer(ticket); !errors.Is(res.Err, errOther) {
				t.Errorf("the old master's answer: %+v", res)
			}
			if n := old.conn.XLen(context.Background(), "fanfare:s:a").Val(); n != 2 {
				t.Errorf("the old master has %d messages", n)
			}
		})
	}
}

func TestOwnMessageThatOvertakesItsAnswerIsAcknowledged(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s.addr())
	r, other := newRig(t, Config{URL: p.url()}), newRig(t, Config{URL: s.url()})
	r.subscribe("a")
	r.ready()
	first := r.say("a", `1`)
	release := p.hold()
	defer release()
	ticket := r.send(broker.Publication{Room: "a", Data: []byte(`"mine"`)})
	r.hears("a", `"mine"`)
	other.say("a", `"other"`)
	r.hears("a", `"other"`)
	release()
	if res := r.answer(ticket); res.Err != nil || res.Epoch != first.Epoch || res.Seq != 2 {
		t.Errorf("answer %+v", res)
	}
}

func TestLostMessageIsAcknowledgedThoughLaterOnesCame(t *testing.T) {
	f := new(fence)
	f.init()
	now := time.Now()
	at := func(seq, stamp uint64) broker.Message {
		return broker.Message{Room: "a", Position: broker.Position{Epoch: "e", Seq: seq}, Stamp: stamp}
	}
	f.delivered([]broker.Message{at(1, 1)}, now, nil)
	s := f.sending("a", f.base|1, now)
	f.delivered([]broker.Message{at(3, 1)}, now, nil)
	if ok, _ := f.accept(&s, at(2, 0).Position); !ok {
		t.Error("refused")
	}
	s = f.sending("a", f.base|2, now)
	if ok, _ := f.accept(&s, at(3, 0).Position); ok {
		t.Error("acknowledged with another's place")
	}
}

func TestWhatIsKnownOfRoomsIsBounded(t *testing.T) {
	f := new(fence)
	f.init()
	now := time.Now()
	for i := range fenceRooms + 100 {
		f.sending(fmt.Sprint(i), 1, now)
	}
	if n := len(f.rooms); n != fenceRooms {
		t.Errorf("%d rooms", n)
	}
	f.sending("late", 1, now.Add(fenceLife))
	f.sweep(now.Add(fenceLife + time.Second))
	if n := len(f.rooms); n != 1 {
		t.Errorf("%d rooms are left", n)
	}
}

// texts is what a room keeps, by position.
func texts(page broker.Page) (kept []string) {
	for _, m := range page.Messages {
		kept = append(kept, string(m.Data))
	}
	slices.Sort(kept)
	return kept
}
