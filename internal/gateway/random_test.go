package gateway

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/internal/room"
)

// walker is a client that does anything at any time, and holds what it gets
// against the promise.
type walker struct {
	s       *service
	rng     *rand.Rand
	c       *client
	l       *ledger
	known   map[string]protocol.Position // where it stood in rooms
	pending map[string]string            // request_id: the type of reply that is due
	n       int
	gaps    int
	resets  int
}

var walkRooms = []string{"drop-a", "drop-b", "conflate-a", "all-a", "bytes-a"}

func (w *walker) step() error {
	if w.c == nil {
		return w.connect()
	}
	name := walkRooms[w.rng.IntN(len(walkRooms))]
	switch w.rng.IntN(20) {
	case 0, 1, 2:
		return w.ask("join", "joined", fmt.Sprintf(`"room":%q%s`, name, w.place(name)))
	case 3:
		return w.ask("leave", "left", fmt.Sprintf(`"room":%q`, name))
	case 4, 5, 6, 7, 8:
		size := []int{5, 100, 3000, 40 << 10}[w.rng.IntN(4)]
		return w.ask("publish", "published", fmt.Sprintf(`"room":%q,"data":%s`, name, noise(w.rng.Int(), size)))
	case 9:
		return w.ask("history", "history", fmt.Sprintf(`"room":%q,"limit":5`, name))
	case 10:
		if w.rng.IntN(4) == 0 {
			w.drop()
		}
		return nil
	case 11:
		if w.rng.IntN(30) == 0 {
			return w.s.memory.Forget(w.s.t.Context(), name)
		}
		return nil
	}
	return w.read(time.Duration(w.rng.IntN(2000)) * time.Microsecond)
}

// place is where a join begins.
func (w *walker) place(name string) string {
	switch p, ok := w.known[name]; {
	case ok && w.rng.IntN(3) > 0:
		return since(p.Epoch, p.Seq)
	case w.rng.IntN(2) == 0:
		return fmt.Sprintf(`,"last":%d`, w.rng.IntN(100))
	}
	return ""
}

func (w *walker) ask(kind, reply, payload string) error {
	w.n++
	id := fmt.Sprint(w.n)
	w.pending[id] = reply
	return w.alive(w.c.write(1, fmt.Appendf(nil, `{"type":%q,"request_id":%q,"payload":{%s}}`, kind, id, payload)))
}

// alive forgives what fails because the gateway has closed the connection.
func (w *walker) alive(err error) error {
	if err == nil {
		return nil
	}
	w.drop()
	return nil
}

func (w *walker) connect() (err error) {
	if w.c, err = w.s.quiet(dialing{small: w.rng.IntN(2) == 0, deflate: w.rng.IntN(2) == 0}); err != nil {
		return err
	}
	if res, err := w.c.answer(); err != nil || res.StatusCode != 101 {
		return fmt.Errorf("handshake: %v %w", res, err)
	}
	w.l, w.pending = newLedger(w.l.seen), make(map[string]string)
	return nil
}

func (w *walker) drop() {
	for name, a := range w.l.rooms {
		w.known[name] = protocol.Position{Epoch: a.epoch, Seq: a.seq}
	}
	w.c.conn.Close()
	w.c = nil
}

// read reads for a while, or up to a reply.
func (w *walker) read(wait time.Duration) error {
	for until := time.Now().Add(wait); w.c != nil; {
		m, err := w.c.poll(max(time.Until(until), 1))
		switch {
		case errors.Is(err, errQuiet):
			return nil
		case errors.Is(err, io.EOF):
			if w.c.code != 0 && w.c.code != protocol.CloseSlow {
				return fmt.Errorf("close code %d", w.c.code)
			}
			w.drop()
			return nil
		case err != nil:
			return err
		}
		if err := w.take(&m); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) take(m *protocol.Server) error {
	if m.ID != "" || m.Type == "error" {
		want, ok := w.pending[m.ID]
		delete(w.pending, m.ID)
		notJoined := want == "left" && m.Err != nil && m.Err.Code == protocol.NotJoined
		full := want == "published" && m.Err != nil && m.Err.Code == protocol.Unavailable // too much waits behind its join
		if !ok || m.Type != want && !notJoined && !full {
			return fmt.Errorf("request %s wants %q, got %.300s", m.ID, want, w.c.raw)
		}
	}
	switch m.Type {
	case "gap":
		w.gaps++
	case "reset":
		w.resets++
	}
	return w.l.take(m)
}

// finish reads all there is and wants to stand at each room's newest message.
func (w *walker) finish() error {
	if w.c == nil {
		return nil
	}
	if err := w.ask("ping", "pong", ""); err != nil || w.c == nil {
		return err
	}
	deadline := time.Now().Add(patience)
	for w.c != nil {
		if err := w.read(5 * time.Millisecond); err != nil || w.c == nil {
			return err
		}
		behind := ""
		for name, a := range w.l.rooms {
			if p := w.s.tail(name); p.Epoch != a.epoch || p.Seq != a.seq {
				behind = fmt.Sprintf("%s at %s:%d, not %v", name, a.epoch, a.seq, p)
			}
		}
		if behind == "" && len(w.pending) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("never came to the end: %s; replies due: %v", behind, w.pending)
		}
	}
	return nil
}

// Many clients at random, with small windows and short histories: what each was
// sent keeps the promise of section 5, and no two saw another message in a place.
func TestTheLogsOfRandomClientsKeepThePromise(t *testing.T) {
	const walkers, steps = 12, 400
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := run(t, func(c *setup) {
				c.Loops = 2
				small := room.History{Messages: 20}
				c.Classes = Classes{
					{Class: room.Class{Match: "drop-*", History: small, Slow: room.Window{Policy: room.Drop, Messages: 3}}},
					{Class: room.Class{Match: "conflate-*", History: small, Slow: room.Window{Policy: room.Conflate, Messages: 2}}},
					{Class: room.Class{Match: "bytes-*", History: room.History{Messages: 1000, Bytes: 300 << 10}, Slow: room.Window{Policy: room.Drop, Bytes: 50 << 10}}},
					{Class: room.Class{Match: "*", History: room.History{Messages: 50}, Slow: room.Window{Policy: room.Disconnect, Messages: 20}}},
				}
			})
			all := make([]*walker, walkers)
			fails := make(chan error, 2*walkers)
			each := func(do func(*walker) error) {
				var group sync.WaitGroup
				for i, w := range all {
					group.Go(func() {
						if err := do(w); err != nil {
							fails <- fmt.Errorf("client %d: %w", i, err)
						}
					})
				}
				group.Wait()
			}
			for i := range all {
				all[i] = &walker{s: s, rng: rand.New(rand.NewPCG(seed, uint64(i))), known: map[string]protocol.Position{},
					l: newLedger(make(map[protocol.Position][]byte))}
			}
			each(func(w *walker) error {
				for range steps {
					if err := w.step(); err != nil {
						return err
					}
				}
				return nil
			})
			each((*walker).finish)
			close(fails)
			for err := range fails {
				t.Errorf("seed %d: %v", seed, err)
			}
			gaps, resets := 0, 0
			same := newLedger(make(map[protocol.Position][]byte))
			for _, w := range all {
				gaps, resets = gaps+w.gaps, resets+w.resets
				for p, data := range w.l.seen {
					if was, ok := same.seen[p]; ok && string(was) != string(data) {
						t.Errorf("two clients saw different messages at %v", p)
					}
					same.seen[p] = data
				}
				if w.c != nil {
					w.c.conn.Close()
				}
			}
			t.Logf("%d gaps, %d resets, %d messages", gaps, resets, len(same.seen))
			s.untilMetric("fanfare_memberships", 0)
		})
	}
}
