package faulttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"sync"
	"time"
)

const (
	rooms          = 100
	membersPerRoom = 10
	clientsInAll   = rooms * membersPerRoom
	// The first rooms are busy, and keep less than what is published during a long
	// fault: there gaps are due.
	busyRooms = 10
	busyKeeps = 32
	roomKeeps = 256
	// Of each room's members, these two are one user, of two gateways.
	oneTab, otherTab = 6, 7
	// In every so many rooms, the members up to this one that join by a frame are
	// told who comes and goes: one at each gateway.
	watchedRooms, lastWatcher = 4, 4
)

// roomName is the name of a room: those of class busy keep busyKeeps messages.
func roomName(i int) string {
	if i < busyRooms {
		return fmt.Sprintf("busy:%d", i)
	}
	return fmt.Sprintf("room:%d", i)
}

func keeps(room string) uint64 {
	if len(room) > 5 && room[:5] == "busy:" {
		return busyKeeps
	}
	return roomKeeps
}

// fleet is the clients of a run.
type fleet struct {
	began     time.Time
	addresses []string
	clients   []*client
	byRoom    map[string][]*client

	cancel context.CancelFunc
	done   sync.WaitGroup

	mu sync.Mutex
	// Guarded by mu.
	reports []violation
	reasons map[string]int // why connections ended
}

// newFleet makes the clients, spread over the addresses so that each room has
// members at each.
func newFleet(seed uint64, addresses []string) *fleet {
	f := &fleet{began: time.Now(), addresses: addresses, byRoom: make(map[string][]*client), reasons: make(map[string]int)}
	for i := range clientsInAll {
		room := roomName(i % rooms)
		c := &client{
			id: i, room: room, fleet: f,
			home:    (i / rooms) % len(addresses),
			byURL:   i/rooms%2 == 1,
			random:  rand.New(rand.NewPCG(seed, uint64(i))),
			resume:  make(chan struct{}, 1),
			journal: journal{client: i, room: room},
			roll:    newRoll(),
		}
		switch member := i / rooms; {
		case member >= oneTab && member <= otherTab:
			c.token = token("tab-"+strconv.Itoa(i%rooms), "")
		case member <= lastWatcher && !c.byURL && i%rooms%watchedRooms == 0:
			c.watches = true
		}
		f.clients = append(f.clients, c)
		f.byRoom[room] = append(f.byRoom[room], c)
	}
	return f
}

// start lets the clients live until stop.
func (f *fleet) start() {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	for _, c := range f.clients {
		f.done.Go(func() { c.run(ctx) })
	}
}

// stop ends the clients and waits for them. Their journals may be read then.
func (f *fleet) stop() {
	f.cancel()
	f.done.Wait()
}

func (f *fleet) clock() time.Duration { return time.Since(f.began) }

// address is where a client connects to: its home, or anywhere for -1.
func (f *fleet) address(r *rand.Rand, home int) string {
	if home < 0 {
		home = r.IntN(len(f.addresses))
	}
	return f.addresses[home]
}

func (f *fleet) report(invariant, detail string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reports = append(f.reports, violation{invariant, detail})
}

// addresses are left out of reasons, so that they can be counted.
var addresses = regexp.MustCompile(`( tcp)? 127\.[0-9.:]+(->127\.[0-9.:]+)?`)

func (f *fleet) ended(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reasons[addresses.ReplaceAllString(err.Error(), "")]++
}

// joinedCount is how many clients are joined now.
func (f *fleet) joinedCount() (n int) {
	for _, c := range f.clients {
		if _, in := c.where(); in {
			n++
		}
	}
	return n
}

// missing describes the clients that are not joined, or do not stand at their
// room's target or beyond it. Rooms without a target only have to be joined.
func (f *fleet) missing(targets map[string]position) (n int, example string) {
	for _, c := range f.clients {
		p, in := c.where()
		t, ok := targets[c.room]
		if in && (!ok || p.Epoch == t.Epoch && p.Seq >= t.Seq) {
			continue
		}
		if n++; n == 1 {
			example = fmt.Sprintf("client %d of %s, joined %t, stands at %s, not at %s", c.id, c.room, in, p, t)
		}
	}
	return n, example
}

// reconnects is how many connections have ended.
func (f *fleet) reconnects() (n int) {
	for _, c := range f.clients {
		c.mu.Lock()
		n += c.ends
		c.mu.Unlock()
	}
	return n
}

// journals is what the clients wrote. After stop only.
func (f *fleet) journals() []*journal {
	all := make([]*journal, len(f.clients))
	for i, c := range f.clients {
		all[i] = &c.journal
	}
	return all
}
