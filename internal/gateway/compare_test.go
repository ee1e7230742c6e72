package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

func (s *service) gaps(outcome string) float64 {
	s.t.Helper()
	return s.metric(fmt.Sprintf(`fanfare_relay_gaps_total{outcome=%q}`, outcome))
}

// The message that was lost was the last one: nothing follows it that would show
// a jump.
func TestALostLastMessageOfASilentRoomIsFound(t *testing.T) {
	t.Parallel()
	b, s := runRemote(t)
	members := s.joinAll(4, "r")
	allStand(t, members, protocol.Position(b.store("r", true, numbers(3)...)), 0)
	last := protocol.Position(b.store("r", false, `"lost"`, `"too"`))
	for _, c := range members {
		c.sync()
	}
	s.quieten() // and the hub's own goroutine does the rest
	allStand(t, members, last, 0)
	settled(t, b, s, members)
	if n := s.gaps("repaired"); n != 1 {
		t.Errorf("%v gaps repaired", n)
	}
}

func TestOnlySilentRoomsAreCompared(t *testing.T) {
	b, s := runRemote(t)
	members := s.joinAll(1, "r")
	silent := func(after time.Duration) bool { return len(s.gw.hub.silent(time.Now().Add(after))) > 0 }
	if silent(compareEvery - time.Second) {
		t.Error("a room that was just read is compared")
	}
	if !silent(compareEvery) {
		t.Error("a room that has been silent for long is not compared")
	}
	s.quieten()
	allStand(t, members, protocol.Position(b.store("r", true, "1")), 0)
	if silent(0) {
		t.Error("a room that was just heard is compared")
	}
	s.compareNow()
	if silent(0) {
		t.Error("a room that was just compared is compared again")
	}
}

// An error of Tails is no difference: nothing is read for it, members notice
// nothing, and what was lost is found by a later comparison.
func TestAComparisonThatFailsIsHarmless(t *testing.T) {
	b, s := runRemote(t)
	members := s.joinAll(2, "r")
	allStand(t, members, protocol.Position(b.store("r", true, "1")), 0)
	last := protocol.Position(b.store("r", false, `"lost"`))
	b.setBlind(true)
	reads := b.count(&b.reads)
	for range 3 {
		s.compareNow()
	}
	for _, c := range members {
		c.sync()
	}
	if n := b.count(&b.reads); n != reads {
		t.Errorf("%d reads for comparisons that failed", n-reads)
	}
	b.setBlind(false)
	s.compareNow()
	allStand(t, members, last, 0)
}

// Many rooms are compared in few round trips, each of them once.
func TestRoomsAreComparedInBatches(t *testing.T) {
	const rooms = 600
	b, s := runRemote(t, func(c *setup, _ *remote) { c.Limits.HandshakeBytes = 64 << 10 })
	names := make([]string, rooms)
	for i := range names {
		names[i] = fmt.Sprint("room", i)
	}
	c := s.connect(dialing{path: "/ws?room=" + strings.Join(names, "&room=")})
	for range names {
		c.joinedFirst()
	}
	before := len(b.comparisons())
	s.quieten()
	var batches [][]string
	until(t, "all rooms are compared", func() bool {
		batches = b.comparisons()[before:]
		return len(slices.Concat(batches...)) >= rooms
	})
	all := slices.Concat(batches...)
	slices.Sort(all)
	slices.Sort(names)
	if !slices.Equal(all, names) {
		t.Errorf("%d names in comparisons of %d rooms", len(all), rooms)
	}
	if len(batches) != (rooms+compareBatch-1)/compareBatch {
		t.Errorf("%d round trips", len(batches))
	}
	for _, batch := range batches {
		if len(batch) > compareBatch {
			t.Errorf("%d rooms in one round trip", len(batch))
		}
	}
}

// The newest message is not kept, so that its stamp is known to the broker alone:
// that is no difference, or the room would be read for ever.
func TestARoomWhoseNewestMessageIsGoneIsNotReadAgainAndAgain(t *testing.T) {
	b, s := runRemote(t)
	members := s.joinAll(1, "r")
	allStand(t, members, protocol.Position(b.store("r", true, numbers(3)...)), 0)
	b.store("r", false, numbers(3)...)
	b.mu.Lock()
	b.log("r").messages = nil // all have expired
	b.mu.Unlock()
	s.compareNow()
	if g := members[0].expect("gap").Gap; g.From != 4 || g.To != 6 || g.Reason != protocol.GapHistoryLost {
		t.Errorf("gap %+v", g)
	}
	settled(t, b, s, members)
	if n := s.gaps("lost"); n != 1 {
		t.Errorf("%v gaps lost", n)
	}
}

// A jump, a part of which is no longer kept, and one that is: each is counted as
// what became of it.
func TestGapsAreCountedByTheirOutcome(t *testing.T) {
	b, s := runRemote(t, func(_ *setup, b *remote) { b.keeps = 5 })
	members := s.joinAll(3, "r")
	allStand(t, members, protocol.Position(b.store("r", true, numbers(3)...)), 0)
	for outcome, n := range map[string]float64{"repaired": 0, "lost": 0, "reset": 0} {
		if v := s.gaps(outcome); v != n {
			t.Errorf("%v gaps %s at the beginning", v, outcome)
		}
	}
	b.store("r", false, numbers(2)...)
	allStand(t, members, protocol.Position(b.store("r", true, "1")), 0) // 6
	s.untilMetric(`fanfare_relay_gaps_total{outcome="repaired"}`, 1)
	b.store("r", false, numbers(20)...)
	last := protocol.Position(b.store("r", true, "1")) // 27; 23 to 27 are kept
	for _, c := range members {
		if a := c.upTo(c.ledger, "r", last); a.gapped != 16 || len(a.gaps) != 1 {
			t.Errorf("%+v", a)
		}
	}
	s.untilMetric(`fanfare_relay_gaps_total{outcome="lost"}`, 1)
	b.rewind("r", 25)
	b.confirm("r")
	for _, c := range members {
		until(t, "the epoch is another", func() bool { return b.tail("r").Epoch != last.Epoch })
		c.upTo(c.ledger, "r", b.tail("r"))
	}
	s.untilMetric(`fanfare_relay_gaps_total{outcome="reset"}`, 1)
	if n := s.gaps("lost"); n != 1 {
		t.Errorf("%v gaps lost", n)
	}
}

// The results of resumes: all there, a part of it gone, another log.
func TestResumesAreCountedByTheirResult(t *testing.T) {
	b, s := runRemote(t, func(c *setup, b *remote) { b.keeps = 5; c.history(5, 0, 0) })
	at := b.store("r", true, numbers(10)...) // 6 to 10 are kept
	for _, test := range []struct {
		more   string
		result string
	}{
		{since(at.Epoch, 8), "recovered"}, {since(at.Epoch, 10), "recovered"}, {since(at.Epoch, 5), "recovered"},
		{since(at.Epoch, 4), "gap"}, {since(at.Epoch, 0), "gap"},
		{since("another", 8), "reset"}, {since(at.Epoch, 11), "reset"}, {"", ""}, {`,"last":3`, ""},
	} {
		counts := func() (all map[string]float64) {
			all = make(map[string]float64)
			for _, r := range []string{"recovered", "gap", "reset"} {
				all[r] = s.metric(fmt.Sprintf(`fanfare_resume_total{result=%q}`, r))
			}
			return all
		}
		want := counts()
		if test.result != "" {
			want[test.result]++
		}
		c := s.dial()
		c.join("r", test.more)
		for result, n := range counts() {
			if n != want[result] {
				t.Errorf("%s: %v counted as %s, want %v", test.more, n, result, want[result])
			}
		}
		c.conn.Close()
	}
}
