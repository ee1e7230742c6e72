package redis

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

func TestTailsTellWhereLogsEnd(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	r.subscribe("r3")
	rooms := make([]string, 300)
	want := make([]broker.Position, len(rooms))
	for i := range rooms {
		rooms[i] = fmt.Sprint("r", i)
		for range i % 4 {
			want[i] = r.say(rooms[i], `1`).Position
		}
	}
	tails, err := r.Tails(t.Context(), rooms)
	if err != nil || len(tails) != len(rooms) {
		t.Fatal(len(tails), err)
	}
	epochs := make(map[string]bool)
	for i, tail := range tails {
		if i%4 > 0 && (tail.Position != want[i] || tail.Stamp == 0) || i%4 == 0 && (tail.Seq != 0 || tail.Stamp != 0) {
			t.Errorf("%s: %+v, want %+v", rooms[i], tail, want[i])
		}
		epochs[tail.Epoch] = true
	}
	if len(epochs) != len(rooms) {
		t.Errorf("%d epochs of %d rooms", len(epochs), len(rooms))
	}
	// Stamps are the same wherever a message is met.
	eventually(t, "delivery", func() bool { return r.ear.has("r3", `1`) })
	page := r.read("r3")
	kept := page.Messages[len(page.Messages)-1]
	r.ear.mu.Lock()
	delivered := r.ear.delivered["r3"][2]
	r.ear.mu.Unlock()
	if kept.Stamp != tails[3].Stamp || delivered.Stamp != kept.Stamp || page.Messages[0].Stamp == kept.Stamp {
		t.Errorf("kept %x, delivered %x, tail %x", kept.Stamp, delivered.Stamp, tails[3].Stamp)
	}
}

func TestRenewKeepsTheMessagesAndTellsAll(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	keep := func(string) broker.Bounds { return broker.Bounds{Messages: 3} }
	one, two := newRig(t, Config{URL: s.url(), Bounds: keep}), newRig(t, Config{URL: s.url(), Bounds: keep})
	one.subscribe("a")
	two.subscribe("a")
	var last broker.Result
	for i := range 5 {
		last = one.say("a", fmt.Sprint(i))
	}
	before := two.ear.times("a")
	for range 2 { // the second finds that another was quicker
		if err := one.Renew(t.Context(), "a", last.Epoch); err != nil {
			t.Fatal(err)
		}
	}
	page := one.read("a")
	if page.Epoch == last.Epoch || page.First != 3 || page.Last != 5 || len(page.Messages) != 3 {
		t.Errorf("after renewal: %s %d to %d", page.Epoch, page.First, page.Last)
	}
	for _, r := range []*rig{one, two} {
		eventually(t, "subscribed again", func() bool { return r.ear.times("a") > before })
		r.ear.mu.Lock()
		resets := r.ear.resets["a"]
		r.ear.mu.Unlock()
		if want := []broker.Position{{Epoch: page.Epoch, Seq: 2}}; !slices.Equal(resets, want) {
			t.Errorf("resets %+v, want %+v", resets, want)
		}
	}
	if res := two.say("a", `5`); res.Seq != 6 || res.Epoch != page.Epoch {
		t.Errorf("next %+v", res.Position)
	}
}

func TestForgetDropsTheMessagesAndKnowsTheIDs(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	r.subscribe("a")
	p := broker.Publication{Room: "a", ID: "x", Data: []byte(`1`)}
	first := r.try(p)
	if err := r.Forget(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	page := r.read("a")
	if page.Epoch == first.Epoch || page.Last != 0 || page.First != 1 {
		t.Errorf("afterwards %+v", page)
	}
	if again := r.try(p); !again.Duplicate || again.Position != first.Position {
		t.Errorf("retry %+v, first %+v", again, first)
	}
	eventually(t, "reset", func() bool {
		r.ear.mu.Lock()
		defer r.ear.mu.Unlock()
		return slices.Equal(r.ear.resets["a"], []broker.Position{{Epoch: page.Epoch}})
	})
}

func TestForeignWritesToAnIDsKeyDoNotKeepItsMessageOut(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	for i, junk := range [][]any{
		{"set", "fanfare:d:1:a:x0", "junk"},
		{"set", "fanfare:d:1:a:x1", ""},
		{"rpush", "fanfare:d:1:a:x2", "junk"},
	} {
		s.do(junk...)
		p := broker.Publication{Room: "a", ID: fmt.Sprint("x", i), Data: []byte(`1`)}
		first, again := r.try(p), r.try(p)
		if first.Err != nil || first.Duplicate || first.Seq != uint64(i+1) {
			t.Errorf("%v: %+v", junk, first)
		}
		if again.Err != nil || !again.Duplicate || again.Position != first.Position {
			t.Errorf("%v: again %+v", junk, again)
		}
	}
}

func TestMemoryIsBoundedWithoutReading(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	word := []byte(strings.Repeat("x", 1000))
	for _, c := range []struct {
		name   string
		bounds broker.Bounds
		most   int64
	}{
		{"messages", broker.Bounds{Messages: 20}, 40},
		{"bytes", broker.Bounds{Messages: 100000, Bytes: 20000}, 26},
		{"age", broker.Bounds{Messages: 100000, Age: 200 * time.Millisecond}, 1000},
	} {
		r := newRig(t, Config{URL: s.url(), Bounds: func(string) broker.Bounds { return c.bounds }})
		r.ready()
		var tickets []int
		for range 2000 {
			tickets = append(tickets, r.send(broker.Publication{Room: c.name, Data: word}))
		}
		for _, ticket := range tickets {
			r.answer(ticket)
		}
		if c.bounds.Age > 0 {
			eventually(t, "the newest are left", func() bool {
				r.say(c.name, `1`)
				return s.conn.XLen(context.Background(), "fanfare:s:"+c.name).Val() < c.most
			})
			continue
		}
		if n := s.conn.XLen(context.Background(), "fanfare:s:"+c.name).Val(); n > c.most {
			t.Errorf("%s: %d entries are kept", c.name, n)
		}
	}
}

func TestKeysOutliveTheirUseByALimit(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	r.subscribe("a")
	ttl := func(key string) time.Duration { return s.conn.PTTL(context.Background(), key).Val() }
	r.read("stranger")
	if d := ttl("fanfare:m:stranger"); d <= 0 || d > strangerLife {
		t.Errorf("a room only asked about lives for %v", d)
	}
	r.say("a", `1`)
	if d := ttl("fanfare:m:a"); d < stateLife || d > 2*stateLife {
		t.Errorf("a state lives for %v", d)
	}
	if d := ttl("fanfare:s:a"); d < 10*time.Minute || d > 12*time.Minute {
		t.Errorf("a stream of 10 minutes lives for %v", d)
	}
	r.try(broker.Publication{Room: "a", ID: "x", Data: []byte(`1`)})
	if d := ttl("fanfare:d:1:a:x"); d <= 0 || d > 2*time.Minute {
		t.Errorf("an ID counts for %v", d)
	}
	s.do("pexpire", "fanfare:m:a", 1000)
	r.tail("a")
	if d := ttl("fanfare:m:a"); d < stateLife-time.Minute {
		t.Errorf("after tails a state lives for %v", d)
	}
	for _, key := range s.conn.Keys(context.Background(), "*").Val() {
		if ttl(key) < 0 {
			t.Errorf("%q never expires", key)
		}
	}
}

func TestJunkIsCountedAndSkipped(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	r.subscribe("a")
	first := r.say("a", `"first"`)
	junk := []string{"", "M", "R", "x", "M\x00\x00", "Mhello world", "R" + strings.Repeat("\xff", 30), strings.Repeat("M", 1000),
		"R\x00\x00\x00\x00\x00\x00\x00\x01\x05ab cd", "M\x00\x00\x00\x00\x00\x00\x00\x09\x01e"}
	for _, text := range junk {
		s.do("publish", "fanfare:c:a", text)
		s.do("publish", r.shards[0].probing, text)
	}
	if res := r.say("a", `"second"`); res.Epoch != first.Epoch {
		t.Errorf("epoch %q, then %q", first.Epoch, res.Epoch)
	}
	eventually(t, "delivery", func() bool { return r.ear.has("a", `"second"`) })
	eventually(t, "junk counted", func() bool { return r.cfg.Metrics.Junk.Value() >= uint64(2*len(junk)) })
	r.ear.mu.Lock()
	if n := len(r.ear.delivered["a"]); n != 2 || len(r.ear.resets) > 0 {
		t.Errorf("%d delivered, resets %v", n, r.ear.resets)
	}
	r.ear.mu.Unlock()
	r.ready()
}

func TestJunkInOurKeysBeginsANewEpoch(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	r.subscribe("a")
	for _, c := range []struct {
		name  string
		write func()
	}{
		{"state of another type", func() { s.do("del", "fanfare:m:a"); s.do("hset", "fanfare:m:a", "x", "y") }},
		{"state too short", func() { s.do("set", "fanfare:m:a", "junk") }},
		{"state of another version", func() { s.do("set", "fanfare:m:a", strings.Repeat("\x07", 70)) }},
		{"state with a seq past all", func() { s.do("set", "fanfare:m:a", "\x01"+strings.Repeat("\xff", 70)) }},
		{"stream of another type", func() { s.do("set", "fanfare:s:a", "junk") }},
		{"stream with an id of its own", func() { s.do("xadd", "fanfare:s:a", "*", "x", "y") }},
		{"stream exhausted", func() { s.do("xadd", "fanfare:s:a", "18446744073709551615-18446744073709551615", "x", "y") }},
	} {
		for range 3 {
			r.say("a", `"old"`)
		}
		before := r.say("a", `"old"`)
		c.write()
		r.read("a")
		r.tail("a")
		id := broker.Publication{Room: "a", ID: c.name, Data: []byte(`"new"`)}
		next := r.try(id)
		if next.Err != nil || next.Seq <= before.Seq && next.Epoch == before.Epoch {
			t.Errorf("%s: %+v behind %+v", c.name, next, before)
			continue
		}
		if again := r.try(id); !again.Duplicate || again.Position != next.Position {
			t.Errorf("%s: retry %+v of %+v", c.name, again, next)
		}
		page := r.read("a")
		if n := len(page.Messages); n == 0 || string(page.Messages[n-1].Data) != `"new"` || page.Last != next.Seq || page.Epoch != next.Epoch {
			t.Errorf("%s: the log ends with %+v", c.name, page)
		}
	}
	// Entries that are not ours are left out of a page.
	junk := r.say("a", `"kept"`)
	s.do("del", "fanfare:s:a")
	s.do("xadd", "fanfare:s:a", fmt.Sprintf("%d-0", junk.Seq-1), "x", "short")
	s.do("xadd", "fanfare:s:a", fmt.Sprintf("%d-0", junk.Seq), "x", strings.Repeat("long enough ", 9))
	if page := r.read("a"); len(page.Messages) != 0 || page.Last != junk.Seq {
		t.Errorf("a page of junk: %+v", page)
	}
	r.say("a", `"after"`)
}

func TestRoomsOfPrefixesAndDatabasesAreApart(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	one := newRig(t, Config{URL: s.url()})
	two := newRig(t, Config{URL: s.url() + "/3"})
	three := newRig(t, Config{URL: s.url(), Prefix: "other"})
	for i, r := range []*rig{one, two, three} {
		r.subscribe("a")
		if res := r.say("a", fmt.Sprint(i)); res.Seq != 1 {
			t.Errorf("broker %d: seq %d", i, res.Seq)
		}
		eventually(t, "delivery", func() bool { return r.ear.has("a", fmt.Sprint(i)) })
	}
	for i, r := range []*rig{one, two, three} {
		r.ear.mu.Lock()
		if n := len(r.ear.delivered["a"]); n != 1 {
			t.Errorf("broker %d was delivered %d", i, n)
		}
		r.ear.mu.Unlock()
	}
}

func TestIDsOfRoomsCannotMeet(t *testing.T) {
	n := newNames("fanfare", "", 0)
	if a, b := n.id("a:b", "c"), n.id("a", "b:c"); a == b {
		t.Errorf("%q is both", a)
	}
	if bytes.ContainsAny([]byte(n.channel("a")), "{}") {
		t.Error("a tag outside of a cluster")
	}
}

func TestLargePagesAreReadInParts(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url(), Bounds: func(string) broker.Bounds { return broker.Bounds{Messages: 2000} }})
	r.ready()
	const total = 1500
	var tickets []int
	for i := range total {
		tickets = append(tickets, r.send(broker.Publication{Room: "a", Data: fmt.Append(nil, i)}))
	}
	for _, ticket := range tickets {
		r.answer(ticket)
	}
	for _, newest := range []bool{false, true} {
		page, err := r.Range(t.Context(), broker.Query{Room: "a", Newest: newest, After: 100})
		if err != nil || len(page.Messages) != total-100 || page.Messages[0].Seq != 101 || page.Last != total {
			t.Errorf("newest %v: %d messages, last %d, %v", newest, len(page.Messages), page.Last, err)
		}
		for i, m := range page.Messages {
			if m.Seq != uint64(101+i) {
				t.Fatalf("newest %v: seq %d at %d", newest, m.Seq, i)
			}
		}
	}
}
