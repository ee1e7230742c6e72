package room

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// at is a time of the test's own clock.
func at(ms int64) time.Time { return time.UnixMilli(ms) }

// frame is a frame of the tests: a length, the seq, whether it is compressed,
// and padding.
func frame(seq uint64, size int, deflated bool) []byte {
	b := make([]byte, 13+size)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	binary.BigEndian.PutUint64(b[4:], seq)
	if deflated {
		b[12] = 1
	}
	return b
}

func appendFrame(l *Log, seq uint64, size int, ms int64) {
	b := frame(seq, size, false)
	f := Frame{Seq: seq, Time: ms, Data: size, Header: b[:2], Payload: b[2:]}
	if l.WantsDeflated() {
		f.Deflated = frame(seq, size, true)
	}
	l.Append(f)
}

// member is a slow reader's model: what it was sent, in order.
type member struct {
	t        *testing.T
	cur      Cursor
	rest     []byte
	wire     []byte
	next     uint64 // the seq that has to be sent or named next
	sent     int
	deflated int
	gaps     []Gap
}

func join(t *testing.T, l *Log, seq uint64, now time.Time, deflate bool) *member {
	c, from := l.Join(seq, now, deflate)
	return &member{t: t, cur: c, next: from + 1}
}

// write gives the member a socket that takes n bytes.
func (m *member) write(l *Log, n int) {
	for {
		if len(m.rest) > 0 {
			k := min(n, len(m.rest))
			m.wire, m.rest, n = append(m.wire, m.rest[:k]...), m.rest[k:], n-k
			if len(m.rest) > 0 {
				return
			}
		}
		m.take()
		step := m.cur.Next(l)
		switch step.Kind {
		case Nothing, Hopeless:
			return
		case Skipped, Lost:
			if step.Gap.From != m.next || step.Gap.To < step.Gap.From {
				m.t.Fatalf("gap %v where %d is next", step.Gap, m.next)
			}
			m.next = step.Gap.To + 1
			m.gaps = append(m.gaps, step.Gap)
		case Run:
			k := min(n, len(step.Run))
			m.wire, n = append(m.wire, step.Run[:k]...), n-k
			_, rest := m.cur.Advance(k)
			m.rest = bytes.Clone(rest)
			if k < len(step.Run) {
				m.take()
				return
			}
		}
	}
}

// take reads the whole frames off the wire.
func (m *member) take() {
	for len(m.wire) >= 13 {
		size := int(binary.BigEndian.Uint32(m.wire))
		if len(m.wire) < size {
			return
		}
		if seq := binary.BigEndian.Uint64(m.wire[4:]); seq != m.next {
			m.t.Fatalf("frame %d where %d is next", seq, m.next)
		}
		if m.wire[12] == 1 {
			m.deflated++
		}
		m.wire, m.next, m.sent = m.wire[size:], m.next+1, m.sent+1
	}
}

func TestEveryMemberGetsEachFrameOrAGapThatNamesIt(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { checkMembers(t, seed) })
	}
}

func checkMembers(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	window := Window{Policy: Policy(r.IntN(2)), Messages: r.IntN(40), Bytes: int64(r.IntN(8000))}
	if window.Messages == 0 && window.Bytes == 0 {
		window.Messages = 5
	}
	var memory metrics.Gauge
	l := NewLog("e", 0, &History{Messages: r.IntN(60), Bytes: int64(r.IntN(9000)), Age: 5 * time.Second}, &memory)
	var members []*member
	var seq uint64
	ms := int64(1000)
	for range 2000 {
		switch k := r.IntN(20); {
		case k < 8:
			seq++
			if r.IntN(50) == 0 {
				seq += uint64(r.IntN(5))
			}
			size := r.IntN(300)
			if r.IntN(100) == 0 {
				size = r.IntN(100_000)
			}
			appendFrame(l, seq, size, ms)
		case k == 8 && r.IntN(8) == 0:
			seq += uint64(r.IntN(4))
			l.Skip(seq)
		case k < 9 && len(members) < 12:
			members = append(members, join(t, l, uint64(r.IntN(int(seq)+1)), at(ms), r.IntN(2) == 0))
		case k < 10:
			ms += int64(r.IntN(4000))
			l.Expire(at(ms))
		case len(members) > 0:
			m := members[r.IntN(len(members))]
			m.write(l, r.IntN(3000))
			m.cur.Fall(l, window)
			if frames, _ := m.cur.Depth(l); m.cur.backlog == nil && window.Messages > 0 && frames > window.Messages {
				t.Fatalf("depth %d past a window of %d", frames, window.Messages)
			}
		}
	}
	for i, m := range members {
		m.write(l, 1<<30)
		if m.next != seq+1 {
			t.Errorf("member %d ends at %d of %d", i, m.next-1, seq)
		}
		l.Leave(&m.cur)
	}
	l.Close()
	if v := memory.Value(); v != 0 {
		t.Errorf("a closed log still counts %d bytes", v)
	}
}

func TestOneSlowMemberGetsOneGapHoweverOftenItFalls(t *testing.T) {
	l := NewLog("e", 0, &History{Messages: 256}, new(metrics.Gauge))
	m := join(t, l, 0, at(0), false)
	for seq := range uint64(1000) {
		appendFrame(l, seq+1, 10, 0)
		m.cur.Fall(l, Window{Messages: 100})
	}
	m.write(l, 1<<20)
	if want := []Gap{{1, 900}}; !slices.Equal(m.gaps, want) || m.sent != 100 {
		t.Errorf("gaps %v and %d frames, want %v and 100", m.gaps, m.sent, want)
	}
}

func TestAFrameThatHasBegunIsFinishedBeforeTheGap(t *testing.T) {
	l := NewLog("e", 0, &History{Messages: 256}, new(metrics.Gauge))
	m := join(t, l, 0, at(0), false)
	appendFrame(l, 1, 100, 0)
	m.write(l, 50)
	for seq := range uint64(20) {
		appendFrame(l, seq+2, 100, 0)
	}
	m.cur.Fall(l, Window{Messages: 5})
	m.write(l, 1<<20)
	if want := []Gap{{2, 16}}; !slices.Equal(m.gaps, want) || m.sent != 6 {
		t.Errorf("gaps %v and %d frames, want %v and 6", m.gaps, m.sent, want)
	}
}

func TestConflateLeavesTheNewest(t *testing.T) {
	l := NewLog("e", 0, &History{Messages: 256}, new(metrics.Gauge))
	m := join(t, l, 0, at(0), false)
	for seq := range uint64(20) {
		appendFrame(l, seq+1, 100, 0)
	}
	m.cur.Fall(l, Window{Policy: Conflate, Messages: 5})
	m.write(l, 1<<20)
	if want := []Gap{{1, 19}}; !slices.Equal(m.gaps, want) || m.sent != 1 {
		t.Errorf("gaps %v and %d frames, want %v and 1", m.gaps, m.sent, want)
	}
}

func TestDisconnectWaitsForTheBacklog(t *testing.T) {
	l := NewLog("e", 0, &History{Messages: 256}, new(metrics.Gauge))
	appendFrame(l, 1, 100, 0)
	m := join(t, l, 0, at(0), false)
	for seq := range uint64(20) {
		appendFrame(l, seq+2, 100, 0)
	}
	m.cur.Fall(l, Window{Policy: Disconnect, Messages: 5})
	m.write(l, 1<<20)
	if step := m.cur.Next(l); step.Kind != Hopeless || m.sent != 1 {
		t.Errorf("%d frames and then %v", m.sent, step.Kind)
	}
}

func TestABacklogIsSentWholeThoughTheLogIsTrimmed(t *testing.T) {
	l := NewLog("e", 0, &History{Messages: 50}, new(metrics.Gauge))
	for seq := range uint64(50) {
		appendFrame(l, seq+1, 500, 0)
	}
	m := join(t, l, 0, at(0), false)
	for seq := range uint64(1000) {
		appendFrame(l, seq+51, 500, 0)
		m.cur.Fall(l, Window{Messages: 10})
	}
	m.write(l, 1<<20)
	if want := []Gap{{51, 1040}}; !slices.Equal(m.gaps, want) || m.sent != 60 {
		t.Errorf("gaps %v and %d frames, want %v and 60", m.gaps, m.sent, want)
	}
}

func TestWhatIsSkippedIsLostAtOnce(t *testing.T) {
	for _, deflate := range []bool{false, true} {
		l := NewLog("e", 0, &History{Messages: 50}, new(metrics.Gauge))
		m := join(t, l, 0, at(0), deflate)
		appendFrame(l, 1, 10, 0)
		m.write(l, 1<<20)
		l.Skip(7)
		m.write(l, 1<<20)
		if want := []Gap{{2, 7}}; !slices.Equal(m.gaps, want) {
			t.Errorf("gaps %v, want %v", m.gaps, want)
		}
		appendFrame(l, 8, 10, 0)
		m.write(l, 1<<20)
		if m.sent != 2 {
			t.Errorf("%d frames of 2", m.sent)
		}
	}
}

func TestHistoryIsKeptWithinItsBounds(t *testing.T) {
	for _, c := range []struct {
		name  string
		h     History
		now   int64
		first uint64
	}{
		{"messages", History{Messages: 7}, 100, 94},
		{"none", History{}, 100, 101},
		{"bytes", History{Messages: 1000, Bytes: 1000}, 100, 91},
		{"age", History{Messages: 1000, Age: 30 * time.Millisecond}, 110, 80},
		{"age over all", History{Messages: 1000, Age: time.Millisecond}, 200, 101},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := NewLog("e", 0, &c.h, new(metrics.Gauge))
			for seq := range uint64(100) {
				appendFrame(l, seq+1, 100, int64(seq+1))
			}
			if first := l.First(at(c.now)); first != c.first {
				t.Errorf("first is %d, want %d", first, c.first)
			}
			l.Expire(at(c.now))
			cur, from := l.Join(0, at(c.now), false)
			if frames, _ := cur.Depth(l); from+1 != c.first || cur.Seq() != 100 || frames != int(100-from) {
				t.Errorf("a backlog of %d frames from %d to %d", frames, from, cur.Seq())
			}
		})
	}
}

func TestDeflatedMembersGetCompressedFramesOnceCaughtUp(t *testing.T) {
	l := NewLog("e", 0, &History{Messages: 50}, new(metrics.Gauge))
	for seq := range uint64(10) {
		appendFrame(l, seq+1, 100, 0)
	}
	m := join(t, l, 5, at(0), true)
	plain := join(t, l, 10, at(0), false)
	for seq := range uint64(300) {
		appendFrame(l, seq+11, 1000, 0)
		m.write(l, 1<<20)
		plain.write(l, 1<<20)
	}
	if m.sent != 305 || m.deflated != 300 || plain.deflated != 0 {
		t.Errorf("%d frames, %d of them compressed; %d compressed for a plain member", m.sent, m.deflated, plain.deflated)
	}
	l.Leave(&m.cur)
	if l.WantsDeflated() {
		t.Error("compressed frames are still wanted")
	}
}

func TestAnIdleLogGivesItsMemoryBackAndGoesOn(t *testing.T) {
	var memory metrics.Gauge
	l := NewLog("e", 0, &History{Messages: 50, Age: time.Second}, &memory)
	m := join(t, l, 0, at(0), false)
	appendFrame(l, 1, 100, 0)
	m.write(l, 1<<20)
	l.Expire(at(60_000))
	if v := memory.Value(); v != 0 {
		t.Errorf("an idle log holds %d bytes", v)
	}
	appendFrame(l, 2, 100, 60_000)
	m.write(l, 1<<20)
	if m.sent != 2 {
		t.Errorf("%d frames of 2", m.sent)
	}
}

func TestAppendAndFlushAllocateNothing(t *testing.T) {
	l := NewLog("e", 0, &History{Messages: 64}, new(metrics.Gauge))
	c, _ := l.Join(Newest, at(0), false)
	header, payload := make([]byte, 2), make([]byte, 100)
	seq := uint64(0)
	n := testing.AllocsPerRun(1000, func() {
		seq++
		l.Append(Frame{Seq: seq, Data: 100, Header: header, Payload: payload})
		c.Advance(len(c.Next(l).Run))
	})
	if n >= 0.1 { // a chunk for some 500 frames
		t.Errorf("%v allocations a message", n)
	}
}

func TestReadersSeeWholeFramesWhileTheLogGrows(t *testing.T) {
	l := NewLog("e", 0, &History{Messages: 64}, new(metrics.Gauge))
	const last = 20_000
	done := make(chan *member)
	for i := range 3 {
		m := join(t, l, 0, at(0), i == 0)
		go func() {
			for m.next <= last {
				m.write(l, 1<<20)
			}
			done <- m
		}()
	}
	for seq := range uint64(last) {
		appendFrame(l, seq+1, int(seq%300), 0)
	}
	for range 3 {
		if m := <-done; m.sent != last {
			t.Errorf("%d frames of %d, gaps %v", m.sent, last, m.gaps)
		}
	}
}

func BenchmarkFlush(b *testing.B) {
	l := NewLog("e", 0, &History{Messages: 64}, new(metrics.Gauge))
	start, _ := l.Join(Newest, at(0), false)
	appendFrame(l, 1, 128, 0)
	start.settle(l)
	b.ReportAllocs()
	for b.Loop() {
		c := start
		c.Advance(len(c.Next(l).Run))
	}
}

func BenchmarkAppend(b *testing.B) {
	l := NewLog("e", 0, &History{Messages: 64}, new(metrics.Gauge))
	header, payload := make([]byte, 4), make([]byte, 200)
	b.ReportAllocs()
	seq := uint64(0)
	for b.Loop() {
		seq++
		l.Append(Frame{Seq: seq, Data: 128, Header: header, Payload: payload})
	}
}

func TestALogKeepsWhatItIsBoundTo(t *testing.T) {
	var memory metrics.Gauge
	l := NewLog("e", 0, &History{Messages: 100}, &memory)
	for seq := range uint64(100) {
		appendFrame(l, seq+1, 1000, int64(seq))
	}
	full := memory.Value()
	l.Bound(&History{Messages: 10})
	if first := l.First(at(100)); first != 91 || memory.Value() >= full {
		t.Errorf("of 10 messages the first is %d of 100; %d bytes of %d are held", first, memory.Value(), full)
	}
	l.Bound(&History{Messages: 100, Bytes: 5000})
	if first := l.First(at(100)); first != 96 {
		t.Errorf("of 5 messages the first is %d of 100", first)
	}
	l.Bound(&History{Messages: 100, Age: 2 * time.Millisecond})
	if first := l.First(at(100)); first != 99 {
		t.Errorf("of those of 2 ms the first is %d of 100", first)
	}
	l.Bound(&History{Messages: 20})
	for seq := range uint64(50) {
		appendFrame(l, seq+101, 1000, 100)
	}
	if first := l.First(at(100)); first != 131 {
		t.Errorf("of 20 messages the first is %d of 150", first)
	}
	l.Bound(&History{})
	if first := l.First(at(100)); first != 151 {
		t.Errorf("the first is %d where none is kept of 150", first)
	}
	if l.Close(); memory.Value() != 0 {
		t.Errorf("%d bytes are left", memory.Value())
	}
}
