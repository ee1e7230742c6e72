package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

const (
	// nameGrace is for how long the name of a connection that has ended is only given
	// to who knows its key.
	nameGrace = 10 * time.Second
	// nameWait is how long who asks for a name waits for the broker, give or take a
	// tick.
	nameWait = 3 * time.Second
	// nameQueues do the work, each in order: a name is always in the same one.
	nameQueues = 4
	// namesMost bounds the claims that wait in a queue. Releases are as many as names
	// are held.
	namesMost = 1024
)

var (
	errNameTaken  = &protocol.Error{Code: protocol.UsernameTaken, Message: "another has this name", Field: "username"}
	errNameToken  = &protocol.Error{Code: protocol.Forbidden, Message: "the token says who the user is", Field: "username"}
	errNoNames    = &protocol.Error{Code: protocol.Unavailable, Message: "the name could not be taken in time"}
	errNameAsked  = &protocol.Error{Code: protocol.Unavailable, Message: "another name is being asked for"}
	nameResultsOf = map[*protocol.Error]metrics.NameResult{nil: metrics.NameClaimed, errNameTaken: metrics.NameTaken, errNoNames: metrics.NameUnavailable, errNameToken: metrics.NameForbidden}
)

// naming is a session's claim of a name that is not answered yet. What is not said
// to be immutable is the loop's.
type naming struct {
	session *session         // immutable
	claim   broker.NameClaim // immutable
	id      []byte           // immutable: the request's
	until   time.Time        // immutable: when nobody waits for it any more
	problem *protocol.Error  // set by the queue before it comes back
	over    bool             // it was answered without the broker
}

// register asks for a name, in the place of the one that the session has.
func (ses *session) register(r *protocol.Request) {
	s, name := ses.shard, string(r.Username)
	switch {
	case ses.identity() != nil:
		ses.fail(r.ID, errNameToken)
	case s.namings[ses] != nil:
		ses.fail(r.ID, errNameAsked)
	case ses.caller != nil && ses.caller.user == name:
		ses.registered(r.ID)
	default:
		ses.claim(bytes.Clone(r.ID), name, string(r.UsernameKey))
	}
}

func (ses *session) registered(id []byte) {
	s := ses.shard
	s.payload = protocol.AppendRegistered(s.payload[:0], id, protocol.Registered{Username: ses.caller.user, Key: ses.caller.key})
	s.send(ses.conn, s.payload)
}

// claim hands a claim over. Without a key, which shows that the client had the name
// before, it makes one.
func (ses *session) claim(id []byte, name, key string) {
	s := ses.shard
	if key == "" {
		key = newKey()
	}
	n := &naming{
		session: ses, id: id, until: time.Now().Add(s.gw.nameWait),
		claim: broker.NameClaim{Name: name, Key: key, Connection: ses.name("c-"), Gateway: s.gw.cfg.ID},
	}
	if s.namings == nil {
		s.namings = make(map[*session]*naming)
	}
	s.namings[ses] = n
	switch {
	case strings.HasPrefix(name, guestPrefix):
		n.problem = errNameTaken // it looks like a guest's
	case s.gw.people == nil:
		n.problem = errNoNames
	case s.gw.people.registry.hasNamesake(name):
		n.problem = errNameTaken
	case !s.gw.people.names(name).add(nameTask{naming: n}):
		n.problem = errNoNames
	default:
		return
	}
	s.named(n)
}

// newKey is a secret that whoever holds a name is told: 128 bits.
func newKey() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// named takes the answer to a claim.
func (s *shard) named(n *naming) {
	ses := n.session
	if s.namings[ses] == n {
		delete(s.namings, ses)
	}
	switch {
	case n.over || ses.gone:
		if n.problem == nil {
			s.gw.people.release(n.claim, 0) // nobody knows that it was taken
		}
		return
	case n.problem == nil && ses.identity() != nil:
		s.gw.people.release(n.claim, 0)
		n.problem = errNameToken
	case n.problem == nil && !s.gw.people.keep(ses, n.claim):
		s.gw.people.release(n.claim, 0)
		n.problem = errNameTaken
	case n.problem == nil:
		ses.become(&caller{session: ses, user: n.claim.Name, key: n.claim.Key})
	}
	s.gw.cfg.Metrics.NameAnswered(nameResultsOf[n.problem])
	if ses.greeting != nil {
		ses.open(n.problem)
		return
	}
	if n.problem != nil {
		ses.fail(n.id, n.problem)
		return
	}
	ses.registered(n.id)
}

// forgetNames answers those who have waited too long for a name.
func (s *shard) forgetNames(now time.Time) {
	for _, n := range s.namings {
		if now.After(n.until) {
			late := &naming{session: n.session, id: n.id, problem: errNoNames}
			n.over = true
			delete(s.namings, n.session)
			s.named(late)
		}
	}
}

// unname takes a name from the session to which it was given: the broker forgot it,
// and another was quicker; or it is another's by a token.
type unname struct {
	session *session
	name    string
}

func (u *unname) lost() {
	ses := u.session
	if ses.gone || ses.caller == nil || ses.caller.key == "" || ses.caller.user != u.name {
		return
	}
	ses.become(nil)
	ses.fail(nil, errNameTaken)
}

// nameTask is a claim that is asked for, one that is said again, who is to be said
// to be here by a token, or a release.
type nameTask struct {
	naming   *naming
	again    *broker.NameClaim
	namesake string
	claim    *broker.NameClaim // to be released
	grace    time.Duration
}

// nameQueue does what is to be done about some names, in order.
type nameQueue struct {
	wake chan struct{} // one token while there are tasks

	mu     sync.Mutex
	tasks  []nameTask
	claims int // of those, by sessions
}

// add puts a task behind the others. It returns false where there are too many
// claims.
func (q *nameQueue) add(t nameTask) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.naming != nil {
		if q.claims >= namesMost {
			return false
		}
		q.claims++
	}
	q.tasks = append(q.tasks, t)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// take returns the next one, and how many are left.
func (q *nameQueue) take() (t nameTask, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.tasks) == 0 {
		return t, false
	}
	t = q.tasks[0]
	q.tasks[0] = nameTask{}
	if q.tasks = q.tasks[1:]; len(q.tasks) == 0 {
		q.tasks = nil
	}
	if t.naming != nil {
		q.claims--
	}
	return t, true
}

// registry is the names that are held here.
type registry struct {
	seed   maphash.Seed
	queues [nameQueues]nameQueue

	mu        sync.Mutex
	held      map[string]holding // by name
	namesakes map[string]*namesake
}

// holding is a name and the session that has it.
type holding struct {
	claim   broker.NameClaim
	session *session
}

func newRegistry() *registry {
	r := &registry{seed: maphash.MakeSeed(), held: make(map[string]holding), namesakes: make(map[string]*namesake)}
	for i := range r.queues {
		r.queues[i].wake = make(chan struct{}, 1)
	}
	return r
}

func (p *people) names(name string) *nameQueue {
	return &p.registry.queues[maphash.String(p.registry.seed, name)%nameQueues]
}

// keep remembers that a session has a name, unless somebody has come meanwhile who
// has it by a token.
func (p *people) keep(ses *session, c broker.NameClaim) bool {
	r := p.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.namesakes[c.Name]; n != nil && n.connections > 0 {
		return false
	}
	r.held[c.Name] = holding{c, ses}
	p.gw.cfg.Metrics.NamesHeld.Set(int64(len(r.held)))
	return true
}

// letGo gives the name of a session back.
func (p *people) letGo(ses *session, name string) {
	r := p.registry
	r.mu.Lock()
	h, ok := r.held[name]
	if ok = ok && h.session == ses; ok {
		delete(r.held, name)
		p.gw.cfg.Metrics.NamesHeld.Set(int64(len(r.held)))
	}
	r.mu.Unlock()
	if ok {
		p.release(h.claim, nameGrace)
	}
}

func (p *people) release(c broker.NameClaim, grace time.Duration) {
	p.names(c.Name).add(nameTask{claim: &c, grace: grace})
}

// nameAgain claims again what is held: the broker has forgotten it.
func (p *people) nameAgain() {
	r := p.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, h := range r.held {
		p.names(name).add(nameTask{again: &h.claim})
	}
}

// nameLoop does the tasks of a queue, as long as ctx lasts.
func (p *people) nameLoop(q *nameQueue) {
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-q.wake:
		}
		for t, ok := q.take(); ok && p.ctx.Err() == nil; t, ok = q.take() {
			p.nameTask(t)
		}
	}
}

func (p *people) nameTask(t nameTask) {
	ctx, cancel := context.WithTimeout(p.ctx, p.gw.nameWait)
	defer cancel()
	switch {
	case t.naming != nil:
		t.naming.problem = p.claimName(ctx, t.naming)
		t.naming.session.shard.loop.Post(t.naming)
	case t.again != nil:
		p.claimAgain(ctx, *t.again)
	case t.namesake != "":
		p.sayNamesake(ctx, t.namesake)
	default:
		if err := p.ReleaseName(ctx, *t.claim, t.grace); err != nil && p.ctx.Err() == nil {
			p.gw.cfg.Log.Debug("a name was not released", "error", err)
		}
	}
}

func (p *people) claimName(ctx context.Context, n *naming) *protocol.Error {
	if time.Now().After(n.until) {
		return errNoNames
	}
	switch ok, err := p.ClaimName(ctx, n.claim); {
	case err != nil:
		p.gw.cfg.Log.Debug("a name was not claimed", "error", err)
		return errNoNames
	case !ok:
		return errNameTaken
	}
	problem := p.unique(ctx, n.claim)
	if problem != nil {
		p.release(n.claim, 0)
	}
	return problem
}

// claimAgain claims a name that is held, or tells its session that it has none any
// more.
func (p *people) claimAgain(ctx context.Context, c broker.NameClaim) {
	r := p.registry
	r.mu.Lock()
	h, ok := r.held[c.Name]
	r.mu.Unlock()
	if !ok || h.claim != c {
		return // its release comes behind this
	}
	ok, err := p.ClaimName(ctx, c)
	if err != nil {
		p.gw.cfg.Log.Debug("a name was not claimed again", "error", err)
		select {
		case <-p.ctx.Done():
		case <-time.After(sayRetry):
			p.names(c.Name).add(nameTask{again: &c})
		}
		return
	}
	if ok {
		return
	}
	p.gw.cfg.Metrics.NamesLost.Inc()
	r.mu.Lock()
	if h, ok := r.held[c.Name]; ok && h.claim == c {
		delete(r.held, c.Name)
		p.gw.cfg.Metrics.NamesHeld.Set(int64(len(r.held)))
	}
	r.mu.Unlock()
	h.session.shard.loop.Post(&unname{h.session, c.Name})
}
