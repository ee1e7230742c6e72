package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

const (
	// leaveGrace is how long a user stays in a room whose last connection there has
	// ended: a page that is loaded again is no leave.
	leaveGrace = 3 * time.Second
	// sayMost bounds the users that the broker is told of in one call, and sayRooms the
	// rooms.
	sayMost  = 4096
	sayRooms = 256
	sayRetry = 250 * time.Millisecond
	// presenceSoon is the least time between two times that the broker is told of a
	// room's users: see spurts.
	presenceSoon = 25 * time.Millisecond
	// againMost is how many users may be unsaid while those are gathered that have to
	// be said again.
	againMost = 64 << 10
)

// presence is how the broker hears of the users that are here, and how the members
// of rooms hear of all. Goroutines do it: for each part of the broker one that waits
// for it, so that a part that is away holds up no other, and one that waits for the
// time.
type presence struct {
	ready   []roomQueue    // rooms of which something is to be said, by the broker's part
	cooling lag[*hubRoom]  // of which something was said a moment ago
	warming lag[*hubRoom]  // the same, of which more may be said soon
	telling lag[*hubRoom]  // whose members were told something a moment ago
	leaving lag[departure] // users who may come back
	wake    chan struct{}  // one token when a lag has got its first
}

// departure is a user's last connection to have ended in a room.
type departure struct {
	room *hubRoom
	user string
}

func newPresence(parts int) presence {
	return presence{
		ready:   newRoomQueues(parts),
		cooling: lag[*hubRoom]{after: presenceEvery},
		warming: lag[*hubRoom]{after: presenceSoon},
		telling: lag[*hubRoom]{after: presenceEvery},
		leaving: lag[departure]{after: leaveGrace},
		wake:    make(chan struct{}, 1),
	}
}

// roomQueue is rooms, each once: its bound is the number of rooms.
type roomQueue struct {
	mu    sync.Mutex
	rooms []*hubRoom
	wake  chan struct{} // one token while there are rooms
}

func newRoomQueues(n int) []roomQueue {
	queues := make([]roomQueue, n)
	for i := range queues {
		queues[i].wake = make(chan struct{}, 1)
	}
	return queues
}

func (q *roomQueue) add(r *hubRoom) {
	q.mu.Lock()
	q.rooms = append(q.rooms, r)
	q.mu.Unlock()
	q.signal()
}

func (q *roomQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *roomQueue) take() *hubRoom {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.rooms) == 0 {
		return nil
	}
	r := q.rooms[0]
	q.rooms[0] = nil
	q.rooms = q.rooms[1:]
	if len(q.rooms) == 0 {
		q.rooms = nil
		return r
	}
	q.signal()
	return r
}

// enter, exit and close are told by loops: a connection of a user has come to a
// room, has left it, or has ended in it.

func (p *people) enter(r *hubRoom, user string, guest bool) { p.queue(r, r.roster.enter(user, guest)) }

func (p *people) exit(r *hubRoom, user string, guest bool) { p.queue(r, r.roster.exit(user, guest)) }

// A guest has gone for good: nobody comes back by its name.
func (p *people) close(r *hubRoom, user string, guest bool) {
	if guest {
		p.exit(r, user, true)
		return
	}
	last, queue := r.roster.close(user)
	p.queue(r, queue)
	if last {
		p.put(p.presence.leaving.put(departure{r, user}, time.Now()))
	}
}

func (p *people) queue(r *hubRoom, queue bool) {
	if queue {
		p.presence.ready[p.Part(r.name)].add(r)
	}
}

// put wakes who waits for the time.
func (p *people) put(first bool) {
	if !first {
		return
	}
	select {
	case p.presence.wake <- struct{}{}:
	default:
	}
}

// statement is what the broker is told at a time.
type statement struct {
	rooms []*hubRoom
	users []broker.RoomUsers
	count int
}

// speak tells the broker of the users of rooms of one part, as long as ctx lasts.
func (p *people) speak(ready *roomQueue) {
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-ready.wake:
		}
		for s := gather(ready); len(s.rooms) > 0; s = gather(ready) {
			if !p.say(&s) {
				return
			}
		}
	}
}

// gather takes what waits to be said.
func gather(ready *roomQueue) (s statement) {
	for s.count < sayMost && len(s.rooms) < sayRooms {
		r := ready.take()
		if r == nil {
			break
		}
		users := r.roster.take(sayMost - s.count)
		s.rooms = append(s.rooms, r)
		s.users = append(s.users, broker.RoomUsers{Room: r.name, Users: users})
		s.count += len(users)
	}
	return s
}

// say says it until it is taken, with the numbers of then: what has failed may have
// been done, so that nothing else goes before it. It returns false at the end.
func (p *people) say(s *statement) bool {
	counts := &p.gw.cfg.Metrics.Users
	for !p.said(s) {
		counts.PresenceFailed.Add(s.count)
		for _, r := range s.rooms {
			settleAll(r.roster.unsettled())
		}
		select {
		case <-p.ctx.Done():
			return false
		case <-time.After(sayRetry):
		}
		for i, r := range s.rooms {
			r.roster.refresh(s.users[i].Users)
		}
	}
	counts.PresenceSaid.Add(s.count)
	now := time.Now()
	for _, r := range s.rooms {
		done, soon := r.roster.said(monotonic())
		p.put(p.presence.cooling.put(r, now))
		if soon {
			p.put(p.presence.warming.put(r, now))
		}
		settleAll(done)
	}
	return true
}

// settle has then be called once the broker knows who is in a room by this gateway,
// as far as it can: at once where it does, by the caller, or soon, by another
// goroutine. then must not wait.
func (p *people) settle(r *hubRoom, then func()) {
	if r == nil || p == nil {
		then()
		return
	}
	waits, soon := r.roster.settle(then)
	if soon {
		p.put(p.presence.warming.put(r, time.Now()))
	}
	if !waits {
		then()
	}
}

func settleAll(waiting []settling) {
	for _, w := range waiting {
		w.then()
	}
}

func (p *people) said(s *statement) bool {
	if s.count == 0 {
		return true
	}
	p.writeFirst()
	ctx, cancel := context.WithTimeout(p.ctx, rangeWait)
	defer cancel()
	err := p.SetPresence(ctx, p.gw.cfg.ID, s.users)
	if err != nil && p.ctx.Err() == nil && !errors.Is(err, broker.ErrClosed) {
		p.gw.cfg.Log.Debug("presence not said", "users", s.count, "error", err)
	}
	return err == nil
}

// pace does what is due, as long as ctx lasts.
func (p *people) pace() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(p.due(time.Now()))
		select {
		case <-p.ctx.Done():
			return
		case <-p.presence.wake:
		case <-timer.C:
		}
	}
}

// due does what is due now, and says how long nothing else will be.
func (p *people) due(now time.Time) time.Duration {
	c := &p.presence
	for _, d := range c.leaving.take(now) {
		p.queue(d.room, d.room.roster.over(d.user))
	}
	for _, r := range c.warming.take(now) {
		p.queue(r, r.roster.warmed())
	}
	for _, r := range c.cooling.take(now) {
		p.queue(r, r.roster.cooled())
	}
	for _, r := range c.telling.take(now) {
		switch tell, again := r.crowd.cooled(now); {
		case tell:
			p.tell(r, now)
		case again:
			c.telling.put(r, now)
		}
	}
	wait := time.Hour
	for _, next := range []func() (time.Time, bool){c.leaving.next, c.warming.next, c.cooling.next, c.telling.next} {
		if at, ok := next(); ok {
			wait = min(wait, at.Sub(now))
		}
	}
	return wait
}

// heard is the broker's watcher of presence: it is called on its goroutines.
func (p *people) heard(e broker.PresenceEvent) {
	r := p.gw.hub.find(e.Room)
	if r == nil {
		return
	}
	counts := &p.gw.cfg.Metrics.Users
	counts.PresenceHeard.Inc()
	r.roster.counted(e.Joined, e.Left)
	tell, dropped := r.crowd.hear(&e)
	counts.PresenceNamesDropped.Add(dropped)
	if tell {
		p.tell(r, time.Now())
	}
}

// tell has every loop tell its members of the room who asked for it.
func (p *people) tell(r *hubRoom, now time.Time) {
	news := &presenceNews{room: r}
	news.frame, news.passes = r.crowd.event(r.name, now)
	for i := range r.marks {
		if r.marks[i].held.Load() {
			news.passes.Add(1)
			p.gw.shards[i].loop.Post(news)
		}
	}
	p.put(p.presence.telling.put(r, now))
}

// count reads how many users are in a room, where that is not known. It returns
// false if it has to be tried again.
func (p *people) count(ctx context.Context, r *hubRoom) bool {
	if p == nil || !r.class().Presence {
		return true
	}
	heard, ok := r.crowd.wants()
	if !ok {
		return true
	}
	counts, err := p.OnlineCounts(ctx, []string{r.name})
	if err != nil {
		p.gw.cfg.Log.Debug("users not counted", "error", err)
		return ctx.Err() != nil && p.ctx.Err() != nil
	}
	if r.crowd.counted(counts[0], heard) {
		p.tell(r, time.Now())
	}
	return true
}

// users is how many are in the room, as far as is known, with who has just come.
func (r *hubRoom) users() int {
	if !r.class().Presence {
		return int(r.members.Load())
	}
	return max(int(r.crowd.known.Load())+r.roster.lacking(), 1)
}
