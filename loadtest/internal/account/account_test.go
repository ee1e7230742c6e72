package account

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// world is a book with a room, and frames as a gateway would send them.
type world struct {
	t    *testing.T
	book *Book
	room *Room
}

func newWorld(t *testing.T) *world {
	b := NewBook("r1")
	return &world{t, b, b.Room("lobby")}
}

// member is one that has joined at seq 0.
func (w *world) member() *Member {
	m := NewMember(w.room)
	m.Stands(&protocol.Joined{Room: "lobby", Position: protocol.Position{Epoch: "e"}})
	return &m
}

func (w *world) message(epoch string, seq uint64, number uint64) protocol.Message {
	data := AppendData(nil, "r1", Stamp{Key{1, number}, int64(1000 + number), 128})
	return protocol.Message{Room: "lobby", Epoch: epoch, Seq: seq, Time: 1, From: "p", Data: data}
}

// send gives the member a message as a driver does: by its bytes first.
func (w *world) send(m *Member, msg protocol.Message) Arrival {
	raw := frame.AppendFrame(nil, frame.OpText, protocol.AppendMessage(nil, &msg))
	if n, a := m.Next(append(raw, "more"...)); n > 0 {
		if n != len(raw) {
			w.t.Errorf("took %d bytes of a frame of %d", n, len(raw))
		}
		return a
	}
	return m.Message(&msg, raw)
}

// deliver gives it messages of the epoch e, the publications of the same numbers.
func (w *world) deliver(m *Member, seqs ...uint64) {
	for _, seq := range seqs {
		w.send(m, w.message("e", seq, seq))
	}
}

func (w *world) gap(m *Member, from, to uint64) {
	m.Gap(&protocol.Gap{Room: "lobby", Epoch: "e", From: from, To: to, Reason: protocol.GapSlowConsumer})
}

func (w *world) close(members ...*Member) Counts {
	w.book.Close(func(yield func(*Member)) {
		for _, m := range members {
			yield(m)
		}
	})
	return w.book.Counts
}

func TestWhatBecomesOfEachMessage(t *testing.T) {
	for _, tt := range []struct {
		name   string
		happen func(w *world, m *Member)
		want   Counts
	}{
		{"all in order", func(w *world, m *Member) { w.deliver(m, 1, 2, 3) }, Counts{Delivered: 3}},
		{"one dropped", func(w *world, m *Member) { w.deliver(m, 1, 3) }, Counts{Delivered: 2, Unexplained: 1}},
		{"one twice", func(w *world, m *Member) { w.deliver(m, 1, 2, 2) }, Counts{Delivered: 2, Duplicate: 1}},
		{"the first of all, twice", func(w *world, m *Member) { w.deliver(m, 1, 2, 3, 1) }, Counts{Delivered: 3, Duplicate: 1}},
		{"two changed places", func(w *world, m *Member) { w.deliver(m, 1, 3, 2, 4) }, Counts{Delivered: 4, OutOfOrder: 1}},
		{"one came late and twice", func(w *world, m *Member) { w.deliver(m, 1, 3, 2, 2) }, Counts{Delivered: 3, OutOfOrder: 1, Duplicate: 1}},
		{"from the middle of a hole", func(w *world, m *Member) { w.deliver(m, 1, 6, 3) }, Counts{Delivered: 3, OutOfOrder: 1, Unexplained: 3}},
		{"a gap", func(w *world, m *Member) { w.deliver(m, 1); w.gap(m, 2, 4); w.deliver(m, 5) }, Counts{Delivered: 2, Gapped: 3, Gaps: 1}},
		{"a gap that names too little", func(w *world, m *Member) { w.deliver(m, 1); w.gap(m, 3, 4); w.deliver(m, 5) }, Counts{Delivered: 2, Gapped: 2, Gaps: 1, Unexplained: 1}},
		{"a gap behind its place", func(w *world, m *Member) { w.deliver(m, 1, 3); w.gap(m, 2, 2) }, Counts{Delivered: 2, Gapped: 1, Gaps: 1, OutOfOrder: 1}},
		{"a gap that names what was delivered", func(w *world, m *Member) { w.deliver(m, 1, 2); w.gap(m, 2, 3) }, Counts{Delivered: 2, Gapped: 1, Gaps: 1, OutOfOrder: 1, Duplicate: 1}},
		{"delivered though a gap named it", func(w *world, m *Member) { w.gap(m, 1, 2); w.deliver(m, 2) }, Counts{Delivered: 1, Gapped: 1, Gaps: 1, OutOfOrder: 1}},
		{"a gap of another epoch", func(w *world, m *Member) { m.Gap(&protocol.Gap{Room: "lobby", Epoch: "x", From: 1, To: 2}) }, Counts{Gaps: 1, Stray: 1}},
		{"another log without a word", func(w *world, m *Member) {
			w.deliver(m, 1)
			w.send(m, w.message("f", 1, 2))
			w.send(m, w.message("f", 2, 3))
		}, Counts{Delivered: 2, Stray: 1}},
		{"a reset", func(w *world, m *Member) {
			w.deliver(m, 1, 2)
			m.Reset(&protocol.Reset{Room: "lobby", Position: protocol.Position{Epoch: "f"}, Previous: protocol.Position{Epoch: "e", Seq: 2}})
			w.send(m, w.message("f", 1, 3))
		}, Counts{Delivered: 3, Resets: 1}},
		{"a reset that says the old log went further", func(w *world, m *Member) {
			w.deliver(m, 1, 2)
			m.Reset(&protocol.Reset{Room: "lobby", Position: protocol.Position{Epoch: "f"}, Previous: protocol.Position{Epoch: "e", Seq: 4}})
		}, Counts{Delivered: 2, Resets: 1, Unexplained: 2}},
		{"what an old log had is behind the reset", func(w *world, m *Member) {
			w.deliver(m, 1)
			w.room.Acknowledged(Key{1, 2}, protocol.Position{Epoch: "e", Seq: 2})
			m.Reset(&protocol.Reset{Room: "lobby", Position: protocol.Position{Epoch: "f"}, Previous: protocol.Position{Epoch: "e", Seq: 1}})
		}, Counts{Acknowledged: 1, Delivered: 1, Resets: 1, BehindReset: 1}},
		{"acknowledged and never delivered", func(w *world, m *Member) {
			w.deliver(m, 1)
			w.room.Acknowledged(Key{1, 2}, protocol.Position{Epoch: "e", Seq: 2})
		}, Counts{Acknowledged: 1, Delivered: 1, Unexplained: 1}},
		{"the room went on in another log", func(w *world, m *Member) {
			w.deliver(m, 1)
			w.room.Acknowledged(Key{1, 2}, protocol.Position{Epoch: "f", Seq: 1})
		}, Counts{Acknowledged: 1, Delivered: 1, Unexplained: 1}},
		{"acknowledged at a place where another came", func(w *world, m *Member) {
			w.deliver(m, 1)
			w.room.Acknowledged(Key{1, 9}, protocol.Position{Epoch: "e", Seq: 1})
		}, Counts{Acknowledged: 1, Delivered: 1, Misplaced: 1}},
		{"another came where one was acknowledged", func(w *world, m *Member) {
			w.room.Acknowledged(Key{1, 9}, protocol.Position{Epoch: "e", Seq: 1})
			w.deliver(m, 1)
		}, Counts{Acknowledged: 1, Delivered: 1, Misplaced: 1}},
		{"another was acknowledged at a place that nobody was delivered yet", func(w *world, m *Member) {
			w.room.Acknowledged(Key{1, 1}, protocol.Position{Epoch: "e", Seq: 1})
			w.room.Acknowledged(Key{1, 9}, protocol.Position{Epoch: "e", Seq: 1})
			w.deliver(m, 1)
		}, Counts{Acknowledged: 2, Delivered: 1, Misplaced: 1}},
		{"stored twice", func(w *world, m *Member) {
			w.deliver(m, 1)
			w.send(m, w.message("e", 2, 1))
		}, Counts{Delivered: 2, StoredTwice: 1}},
		{"its data was changed", func(w *world, m *Member) {
			msg := w.message("e", 1, 1)
			msg.Data[len(msg.Data)-5] ^= 1
			w.send(m, msg)
		}, Counts{Delivered: 1, Altered: 1}},
		{"its data was cut short", func(w *world, m *Member) {
			msg := w.message("e", 1, 1)
			msg.Data = append(msg.Data[:len(msg.Data)-9], `"}`...)
			msg.Data[len(msg.Data)-3] = '!'
			w.send(m, msg)
		}, Counts{Delivered: 1, Altered: 1}},
		{"before it joined", func(w *world, m *Member) { m.Leave(); w.deliver(m, 1) }, Counts{Stray: 1}},
		{"left with a hole and a tail", func(w *world, m *Member) { w.deliver(m, 1, 3); m.Leave() }, Counts{Delivered: 2, Unexplained: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			m := w.member()
			tt.happen(w, m)
			if got := w.close(m); got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestAResumeIsHeldToItsPosition(t *testing.T) {
	for _, tt := range []struct {
		name   string
		joined protocol.Position
		then   []uint64
		want   Counts
	}{
		{"where it stood", protocol.Position{Epoch: "e", Seq: 2}, []uint64{3}, Counts{Delivered: 3}},
		{"further on without a word", protocol.Position{Epoch: "e", Seq: 5}, []uint64{6}, Counts{Delivered: 3, Unexplained: 3}},
		{"before it", protocol.Position{Epoch: "e", Seq: 1}, []uint64{2, 3}, Counts{Delivered: 3, Duplicate: 1}},
		{"in another log", protocol.Position{Epoch: "f", Seq: 7}, nil, Counts{Delivered: 2, Resets: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			m := w.member()
			w.deliver(m, 1, 2)
			m.Stands(&protocol.Joined{Room: "lobby", Position: tt.joined, Recovery: protocol.Recovered})
			w.deliver(m, tt.then...)
			if got := w.close(m); got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestMembersCopiesAreComparedWithTheFirst(t *testing.T) {
	w := newWorld(t)
	a, b := w.member(), w.member()
	w.deliver(a, 1, 2)
	raw := func(msg protocol.Message) []byte {
		return frame.AppendFrame(nil, frame.OpText, protocol.AppendMessage(nil, &msg))
	}
	if n, got := b.Next(raw(w.message("e", 1, 1))); n == 0 || got.Due != 1001 {
		t.Fatalf("the same bytes: took %d, due %d", n, got.Due)
	}
	other := w.message("e", 2, 2)
	other.Data[20] ^= 1
	if n, _ := b.Next(raw(other)); n != 0 {
		t.Fatal("other bytes were taken for the same")
	}
	w.send(b, other)
	if w.book.Altered != 1 {
		t.Errorf("altered %d, want 1: %+v", w.book.Altered, w.book.Counts)
	}
}

func TestOthersMessagesCountWithoutATime(t *testing.T) {
	w := newWorld(t)
	m := w.member()
	msg := w.message("e", 1, 1)
	msg.Data = []byte(`{"run":"r2","p":1,"n":1,"t":5,"x":""}`)
	if a := w.send(m, msg); !a.New || a.Due != 0 {
		t.Errorf("got %+v", a)
	}
	if got := w.close(m); got != (Counts{Delivered: 1}) {
		t.Errorf("got %+v", got)
	}
}

func TestMembersFarApartAreAccountedFor(t *testing.T) {
	w := newWorld(t)
	ahead, behind := w.member(), w.member()
	const n = 5000
	for seq := range uint64(n) {
		w.deliver(ahead, seq+1)
	}
	for seq := range uint64(n) {
		w.deliver(behind, seq+1)
	}
	if got := w.close(ahead, behind); got != (Counts{Delivered: 2 * n}) {
		t.Errorf("got %+v", got)
	}
	if ring := len(ahead.log.ring); ring != mostRing {
		t.Errorf("ring of %d, want %d", ring, mostRing)
	}
}

func TestWhatAnotherProcessKnowsIsOwed(t *testing.T) {
	here, there := newWorld(t), newWorld(t)
	m := here.member()
	here.deliver(m, 1)
	there.room.Acknowledged(Key{7, 1}, protocol.Position{Epoch: "e", Seq: 3})
	tops := here.book.Tops()
	tops.Merge(there.book.Tops())
	tops.Merge(Tops{"other": {"e": 9}})
	here.book.Learn(tops)
	if m.Behind() != 2 {
		t.Errorf("behind %d, want 2", m.Behind())
	}
	if got := here.close(m); got.Unexplained != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestDataFollowsFromItsStamp(t *testing.T) {
	for _, size := range []int{0, 60, 75, 128, 129, 1000} {
		s := Stamp{Key{3, 70}, 1690000000123456789, size}
		data := AppendData([]byte("before"), "r1", s)[len("before"):]
		if size >= 128 && len(data) != size {
			t.Errorf("size %d, want %d", len(data), size)
		}
		if !strings.HasPrefix(string(data), `{"run":"r1","p":3,"n":70,"t":1690000000123456789,"c":`) {
			t.Errorf("data %s", data)
		}
		got, ours, intact := parseData(data, "r1", nil)
		if !ours || !intact || got.Key != s.Key || got.Due != s.Due {
			t.Errorf("size %d: %+v %v %v", size, got, ours, intact)
		}
		for i := range data {
			changed := append([]byte(nil), data...)
			changed[i] ^= 1
			if _, ours, intact := parseData(changed, "r1", nil); ours && intact {
				t.Errorf("size %d: byte %d was changed to %q and nobody saw", size, i, changed[i])
			}
		}
	}
}

func TestCountsAddUp(t *testing.T) {
	var c, sum Counts
	for i, f := range []*uint64{&c.Published, &c.Acknowledged, &c.Refused, &c.Unanswered, &c.Uncertain, &c.Resent, &c.Delivered, &c.Gapped,
		&c.BehindReset, &c.Unexplained, &c.Duplicate, &c.OutOfOrder, &c.Stray, &c.Altered, &c.StoredTwice, &c.Misplaced, &c.Gaps, &c.Resets} {
		*f = uint64(i + 1)
	}
	sum.Add(&c)
	sum.Add(&c)
	want := fmt.Sprintf("%+v", Counts{2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36})
	if got := fmt.Sprintf("%+v", sum); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if c.Owed() != 7+8+9+10 || c.Broken() != 4+10+11+12+13+14+15+16 {
		t.Errorf("owed %d, broken %d", c.Owed(), c.Broken())
	}
}

func BenchmarkCopyOfAKnownFrame(b *testing.B) {
	book := NewBook("r1")
	m := NewMember(book.Room("lobby"))
	m.Stands(&protocol.Joined{Position: protocol.Position{Epoch: "e"}})
	msg := protocol.Message{Room: "lobby", Epoch: "e", Seq: 1, Data: AppendData(nil, "r1", Stamp{Key{1, 1}, 1, 128})}
	raw := frame.AppendFrame(nil, frame.OpText, protocol.AppendMessage(nil, &msg))
	m.Message(&msg, raw)
	b.ReportAllocs()
	for b.Loop() {
		m.seq = 0
		if n, _ := m.Next(raw); n == 0 {
			b.Fatal("not taken")
		}
	}
}
