package gateway

import (
	"sync"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// roster is the users that are in a room by this gateway, and what the broker has
// still to be told of them. A guest is in it only until the broker knows: its
// connection says the rest. Every room has one: of a room with nothing but guests
// who have been there for a while it is 24 bytes.
type roster struct {
	depth *metrics.Gauge // of all rosters' unsaid

	mu     sync.Mutex
	*books // nil: nobody with a name is in it, and all is said
}

// books are a roster's, guarded by its mu.
type books struct {
	users  map[string]int    // of those with a name: connections; 0: in the grace after the last
	unsaid map[string]remark // nil while all is said
	delta  int               // what the room's known count lacks by what is unsaid
	state  rosterState

	noted, taken, told uint64 // remarks: all that were made; up to which all were taken to be told; and were told
	says, cooledSays   uint64 // what was told so often, and so many of those a while ago
	warm               bool   // while it cools: more may be told
	warming            bool   // it will be asked whether more may be told
	spurt              bucket // of what may be told without a pause
	waiting            []settling
}

// settling waits until the broker has been told of the remarks up to one, or could
// not be.
type settling struct {
	upTo uint64
	then func()
}

// rosterState is what is being done about what is unsaid.
type rosterState uint8

const (
	rosterIdle    rosterState = iota
	rosterReady               // waits to be said
	rosterSaying              // is being said
	rosterCooling             // was said a moment ago
)

// spurts is how often a room may be said after presenceSoon; else it is after
// presenceEvery. A few who come one behind the other are on every gateway's list at
// once, and a crowd that does costs no more.
var spurts = rate{perSecond: 1, burst: 8}

// settlingMost bounds who waits for one room.
const settlingMost = 1024

// remark is what the broker is to be told of a user, is being told, or was told a
// moment ago.
type remark struct {
	connections int32
	pending     bool   // is to be told
	told        bool   // something of the user was told, or may have been
	say         uint64 // when it was last told: see roster.says
	counted     bool   // the room's count has the user, as far as is known
}

// lacks is what the room's count lacks of the user.
func (m *remark) lacks() (n int) {
	if m.connections > 0 {
		n++
	}
	if m.counted {
		n--
	}
	return n
}

// enter takes a connection of a user in. It reports whether the room has to be
// queued, as exit, rename and over do.
func (r *roster) enter(user string, guest bool) (queue bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open()
	return r.come(user, guest)
}

// open makes the books.
func (r *roster) open() {
	if r.books == nil {
		r.books = new(books)
	}
}

// rest lets go of the books where there is nothing to be kept in them, and nobody
// will look at them for what was said.
func (r *roster) rest(now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.books == nil || r.state != rosterIdle || r.noted != r.told || r.cooledSays < r.says || r.warming ||
		len(r.users)+len(r.unsaid)+len(r.waiting) > 0 || r.spurt.due > now {
		return
	}
	r.books = nil
}

func (r *roster) come(user string, guest bool) (queue bool) {
	if guest {
		return r.note(user, 1, true)
	}
	n, known := r.users[user]
	if r.users == nil {
		r.users = make(map[string]int)
	}
	r.users[user] = n + 1
	if _, unsaid := r.unsaid[user]; known && n == 0 && !unsaid {
		return false // it is back before anybody heard that it had gone
	}
	return r.note(user, n+1, !known)
}

// exit takes a connection out that has left the room on purpose.
func (r *roster) exit(user string, guest bool) (queue bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open()
	return r.leave(user, guest)
}

func (r *roster) leave(user string, guest bool) (queue bool) {
	if guest {
		return r.note(user, 0, false)
	}
	n, there := r.users[user]
	switch n--; {
	case !there:
		return false
	case n <= 0:
		delete(r.users, user)
	default:
		r.users[user] = n
	}
	return r.note(user, max(n, 0), false)
}

// rename makes a connection that of another user. Nobody is told of the one without
// the other: the room is never without its only user.
func (r *roster) rename(was, is string, wasGuest, isGuest bool) (queue bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open()
	queue = r.come(is, isGuest)
	return r.leave(was, wasGuest) || queue
}

// close takes out a connection that has ended. The last one of a user leaves it in
// the room until over: a page that is loaded again is no leave.
func (r *roster) close(user string) (last, queue bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.books == nil {
		return false, false
	}
	n, there := r.users[user]
	if !there {
		return false, false
	}
	n = max(n-1, 0)
	if r.users[user] = n; n == 0 {
		return true, false
	}
	return false, r.note(user, n, false)
}

// over ends the grace of a user, if it did not come back.
func (r *roster) over(user string) (queue bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.books == nil {
		return false
	}
	if n, there := r.users[user]; !there || n > 0 {
		return false
	}
	delete(r.users, user)
	return r.note(user, 0, false)
}

// note keeps a remark for the broker; comes says that it has not been told of the
// user yet. mu is held.
func (r *roster) note(user string, connections int, comes bool) (queue bool) {
	m, there := r.unsaid[user]
	if !there {
		m = remark{told: !comes, counted: !comes}
	} else {
		r.delta -= m.lacks()
	}
	if connections == 0 && !m.told {
		r.forget(user) // it came and went unheard
		return false
	}
	m.connections, m.pending = int32(connections), true
	r.noted++
	r.delta += m.lacks()
	if r.unsaid == nil {
		r.unsaid = make(map[string]remark)
	}
	r.unsaid[user] = m
	if !there {
		r.depth.Add(1)
	}
	return r.ready()
}

// ready puts the roster among those that wait, if nothing is done about it yet.
func (r *roster) ready() (queue bool) {
	if r.state != rosterIdle && !(r.state == rosterCooling && r.warm) {
		return false
	}
	r.state, r.warm = rosterReady, false
	return true
}

func (r *roster) forget(user string) {
	r.depth.Add(-1)
	if delete(r.unsaid, user); len(r.unsaid) == 0 {
		r.unsaid = nil // a map never shrinks
	}
}

// take returns up to n users of whom something is to be told.
func (r *roster) take(n int) (users []broker.UserConnections) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = rosterSaying
	for user, m := range r.unsaid {
		if len(users) == n {
			return users
		}
		if m.pending {
			users = append(users, r.tell(user, m))
		}
	}
	r.taken = r.noted
	return users
}

// refresh makes numbers that were not told those of now.
func (r *roster) refresh(users []broker.UserConnections) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range users {
		users[i] = r.tell(users[i].User, r.unsaid[users[i].User])
	}
}

func (r *roster) tell(user string, m remark) broker.UserConnections {
	m.pending, m.told, m.say = false, true, r.says+1
	r.unsaid[user] = m
	return broker.UserConnections{User: user, Connections: int(m.connections)}
}

// said: what was taken has been told at now. Who waited for that is called, and soon
// reports whether more may be told after presenceSoon.
func (r *roster) said(now int64) (done []settling, soon bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state, r.told = rosterCooling, r.taken
	r.says++
	n := 0
	for n < len(r.waiting) && r.waiting[n].upTo <= r.told {
		n++
	}
	done = r.waiting[:n:n]
	if r.waiting = r.waiting[n:]; len(r.waiting) == 0 {
		r.waiting = nil
	}
	return done, (len(r.waiting) > 0 || r.spurt.take(now, 1, spurts) == 0) && r.warms()
}

// warms says that it has to be asked whether more may be told.
func (r *roster) warms() (first bool) {
	first = !r.warming
	r.warming = true
	return first
}

// warmed lets more be told, though what was told is not forgotten yet. It reports
// whether there is, for which the room has to be queued.
func (r *roster) warmed() (queue bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.books == nil {
		return false
	}
	r.warming = false
	if r.state != rosterCooling {
		return false
	}
	r.warm = true
	return r.noted > r.taken && r.ready()
}

// cooled forgets what was told, some time after it; it is owed for each said. It
// reports whether there is more to be told, for which the room has to be queued.
func (r *roster) cooled() (queue bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.books == nil {
		return false
	}
	r.cooledSays++
	for user, m := range r.unsaid {
		if !m.pending && m.say <= r.cooledSays {
			r.delta -= m.lacks()
			r.forget(user)
		}
	}
	if r.state != rosterCooling || r.cooledSays < r.says {
		return false
	}
	r.state, r.warm = rosterIdle, false
	return r.noted > r.taken && r.ready()
}

// settle has then be called once the broker was told of all that is noted by now,
// or could not be. It returns false where there is nothing to wait for, or too many
// wait. Where the room cools, soon asks for a look after presenceSoon.
func (r *roster) settle(then func()) (waits, soon bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.books == nil {
		return false, false
	}
	if r.noted == r.told || len(r.waiting) >= settlingMost {
		return false, false
	}
	r.waiting = append(r.waiting, settling{r.noted, then})
	return true, r.state == rosterCooling && r.warms()
}

// unsettled is who waits for what could not be told.
func (r *roster) unsettled() (waiting []settling) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.books == nil {
		return nil
	}
	waiting, r.waiting = r.waiting, nil
	return waiting
}

// counted: these have come and gone, and the room's count is after it.
func (r *roster) counted(joined, left []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.books == nil || len(r.unsaid) == 0 {
		return
	}
	for _, user := range joined {
		r.count(user, true)
	}
	for _, user := range left {
		r.count(user, false)
	}
}

func (r *roster) count(user string, counted bool) {
	m, ok := r.unsaid[user]
	if !ok {
		return
	}
	r.delta -= m.lacks()
	m.counted = counted
	r.delta += m.lacks()
	r.unsaid[user] = m
}

// again: the broker has forgotten what it was told. Guests are told of by their
// connections.
func (r *roster) again() (queue bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.books == nil {
		return false
	}
	for user, n := range r.users {
		queue = r.note(user, max(n, 1), false) || queue
	}
	return queue
}

// guest is told of again, if it is a user of this room: see again.
func (r *roster) guest(user string) (queue bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open()
	return r.note(user, 1, false)
}

// lacking is what the count of the room lacks by what is unsaid.
func (r *roster) lacking() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.books == nil {
		return 0
	}
	return r.delta
}

// end lets go of what will not be told any more.
func (r *roster) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.books != nil {
		r.depth.Add(-len(r.unsaid))
		r.unsaid, r.waiting = nil, nil
	}
}

// idle says whether nobody with a name is in it and nothing is to be told.
func (r *roster) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.books == nil || r.state == rosterIdle && len(r.users) == 0
}
