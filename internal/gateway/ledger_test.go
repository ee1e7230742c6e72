package gateway

import (
	"bytes"
	"fmt"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// ledger holds what a connection receives against the promise of PROTOCOL
// section 5: every seq after the one in joined, each once, ascending, or in a
// gap, or a reset in its place. It knows nothing but what the client was sent.
type ledger struct {
	rooms map[string]*account
	seen  map[protocol.Position][]byte // shared by the test's clients; by room through the epoch
}

// account is one joined room.
type account struct {
	epoch     string
	seq       uint64
	delivered uint64
	gapped    uint64
	gaps      []protocol.Gap
	resets    int
}

func newLedger(seen map[protocol.Position][]byte) *ledger {
	return &ledger{rooms: make(map[string]*account), seen: seen}
}

// take enters one frame; an error is a broken promise.
func (l *ledger) take(m *protocol.Server) error {
	switch m.Type {
	case "joined":
		return l.joined(&m.Joined)
	case "left":
		if l.rooms[m.Left] == nil {
			return fmt.Errorf("left %q, which was not joined", m.Left)
		}
		delete(l.rooms, m.Left)
	case "message":
		return l.message(&m.Message)
	case "gap":
		return l.gap(&m.Gap)
	case "reset":
		a := l.rooms[m.Reset.Room]
		if a == nil {
			return fmt.Errorf("reset of %q, which is not joined", m.Reset.Room)
		}
		if p := m.Reset.Previous; p.Epoch != a.epoch || p.Seq != a.seq {
			return fmt.Errorf("reset of %q: previous is %v, but the old log ended at %s:%d", m.Reset.Room, p, a.epoch, a.seq)
		}
		if m.Reset.Epoch == a.epoch {
			return fmt.Errorf("reset of %q to its own epoch", m.Reset.Room)
		}
		a.epoch, a.seq = m.Reset.Epoch, m.Reset.Seq
		a.resets++
	}
	return nil
}

func (l *ledger) joined(j *protocol.Joined) error {
	if a := l.rooms[j.Room]; a != nil {
		if a.epoch != j.Epoch || a.seq != j.Seq {
			return fmt.Errorf("second joined of %q stands at %v, the connection at %s:%d", j.Room, j.Position, a.epoch, a.seq)
		}
		return nil
	}
	l.rooms[j.Room] = &account{epoch: j.Epoch, seq: j.Seq}
	return nil
}

func (l *ledger) message(m *protocol.Message) error {
	a := l.rooms[m.Room]
	if a == nil {
		return fmt.Errorf("message %d of %q, which is not joined", m.Seq, m.Room)
	}
	if m.Epoch != a.epoch || m.Seq != a.seq+1 {
		return fmt.Errorf("message %s:%d of %q behind %s:%d", m.Epoch, m.Seq, m.Room, a.epoch, a.seq)
	}
	a.seq++
	a.delivered++
	if l.seen != nil {
		p := protocol.Position{Epoch: m.Epoch, Seq: m.Seq}
		if was, ok := l.seen[p]; ok && !bytes.Equal(was, m.Data) {
			return fmt.Errorf("message %v was %.60s and is %.60s", p, was, m.Data)
		}
		l.seen[p] = m.Data
	}
	return nil
}

func (l *ledger) gap(g *protocol.Gap) error {
	a := l.rooms[g.Room]
	if a == nil {
		return fmt.Errorf("gap of %q, which is not joined", g.Room)
	}
	if g.Epoch != a.epoch || g.From != a.seq+1 || g.To < g.From {
		return fmt.Errorf("gap %s:%d-%d of %q behind %s:%d", g.Epoch, g.From, g.To, g.Room, a.epoch, a.seq)
	}
	a.seq = g.To
	a.gapped += g.To - g.From + 1
	a.gaps = append(a.gaps, *g)
	return nil
}

// upTo reads, entering all in the ledger, until the room stands at a position.
func (c *client) upTo(l *ledger, name string, p protocol.Position) *account {
	c.t.Helper()
	for {
		if a := l.rooms[name]; a != nil && a.epoch == p.Epoch && a.seq >= p.Seq {
			if a.seq > p.Seq {
				c.t.Fatalf("%s stands at %d, beyond %d", name, a.seq, p.Seq)
			}
			return a
		}
		m := c.next()
		if err := l.take(&m); err != nil {
			c.t.Fatalf("%v\nframe: %.300s", err, c.raw)
		}
	}
}
