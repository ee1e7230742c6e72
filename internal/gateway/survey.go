package gateway

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/loop"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

const (
	// surveyTop is how many rooms and slow connections are told of each gateway.
	surveyTop = 10
	// surveyMost bounds what a loop looks at of its blocked connections, and
	// surveyRooms what is looked at in each stripe: of more, it is some.
	surveyMost  = 4096
	surveyRooms = 1024
	// surveyEvery is how old a survey may be: who looks more often gets the same.
	surveyEvery = 900 * time.Millisecond
	surveyWait  = 500 * time.Millisecond

	// A gateway announces a survey for lookFor after anyone of the fleet looked, and
	// who looks says so again every lookAgain.
	lookFor   = 10 * time.Second
	lookAgain = 4 * time.Second
)

// surveys keeps the newest.
type surveys struct {
	mu     sync.Mutex
	newest *broker.Survey
	at     time.Time
	told   time.Time // the others, that somebody looks
}

// Look is every gateway that is alive, with a survey of each: of this one as it is
// now, of the others as they announced it last, or none yet. Nothing is gathered
// anywhere while nobody looks. Where the others cannot be asked it is this one alone,
// whose survey says why.
func (g *Gateway) Look(ctx context.Context) []broker.Member {
	own := g.member()
	own.Survey = g.survey(ctx)
	fleet, ok := g.cfg.Broker.(broker.Fleet)
	if !ok {
		return []broker.Member{own}
	}
	if g.surveys.tell(time.Now()) {
		if err := g.tell(ctx, control{Type: controlLook}); err != nil {
			g.cfg.Log.Debug("the fleet was not told to show itself", "error", err)
		}
	}
	members, err := fleet.Members(ctx)
	if err != nil {
		g.cfg.Log.Debug("the fleet could not be looked at", "error", err)
		return []broker.Member{own}
	}
	members = slices.DeleteFunc(members, func(m broker.Member) bool { return m.ID == own.ID })
	members = append(members, own)
	slices.SortFunc(members, func(a, b broker.Member) int { return cmp.Compare(a.ID, b.ID) })
	return members
}

// tell reports whether the others have to be told at now.
func (s *surveys) tell(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.told) < lookAgain {
		return false
	}
	s.told = now
	return true
}

// lookedAt reports whether somebody looks.
func (g *Gateway) lookedAt() bool { return time.Since(time.Unix(0, g.looked.Load())) < lookFor }

// survey is a survey of this gateway, new or nearly so.
func (g *Gateway) survey(ctx context.Context) *broker.Survey {
	s := &g.surveys
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil || time.Since(s.at) > surveyEvery {
		s.newest = g.gather(ctx)
		s.at = time.Now()
	}
	return s.newest
}

func (g *Gateway) gather(ctx context.Context) *broker.Survey {
	totals := g.cfg.Metrics.Totals()
	survey := &broker.Survey{
		Time: time.Now().UnixMilli(), Rooms: g.hub.topRooms(), Opened: totals.Opened, Received: totals.Received, Sent: totals.Sent, SentBytes: totals.SentBytes,
		Dropped: totals.Dropped, Resets: totals.Resets, Timeouts: totals.Timeouts,
		Heartbeats: broker.Timing(totals.Heartbeats), Fanout: broker.Timing(totals.Fanout),
	}
	if err := g.cfg.Broker.Ready(); err != nil {
		survey.Broker = err.Error()
	}
	if _, ok := g.cfg.Broker.(broker.Remote); ok {
		survey.Relay = relaySurvey(g.cfg.Relay)
	}
	survey.Slow, survey.Blocked = g.slowest(ctx)
	return survey
}

func relaySurvey(r *metrics.Relay) *broker.Relay {
	t := r.Totals()
	return &broker.Relay{
		ProbeMS: t.ProbeAge.Milliseconds(), Lag: broker.Timing(t.Lag), Subscriptions: r.Subscriptions.Value(),
		Reconnects: t.Reconnects, Dropped: r.Dropped.Value(), Gaps: t.Gaps,
	}
}

// topRooms are the rooms with the most connections here.
func (h *hub) topRooms() []broker.RoomSurvey {
	top := ranking[broker.RoomSurvey]{by: func(a, b broker.RoomSurvey) int {
		return cmp.Or(b.Connections-a.Connections, cmp.Compare(a.Room, b.Room))
	}}
	for i := range h.stripes {
		h.stripes[i].survey(&top)
	}
	return top.all()
}

func (s *stripe) survey(top *ranking[broker.RoomSurvey]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := surveyRooms
	for _, r := range s.rooms {
		if left--; left < 0 {
			return
		}
		seen := broker.RoomSurvey{Room: r.name, Connections: int(r.members.Load())}
		if l := r.log.Load(); l != nil {
			seen.Epoch, seen.Seq = l.Epoch(), l.Head()
		}
		top.add(seen)
	}
}

// surveying is a post: the shard answers with its slowest connections.
type surveying struct {
	answer chan<- slowPart // has room for the answer of each
}

type slowPart struct {
	slow    []broker.SlowSurvey
	blocked int
}

func longestFirst(a, b broker.SlowSurvey) int {
	return cmp.Or(b.Bytes-a.Bytes, cmp.Compare(b.BlockedMS, a.BlockedMS), cmp.Compare(a.Connection, b.Connection))
}

// slowest are the connections of all loops that have the most queued. A loop that
// does not answer in time is left out.
func (g *Gateway) slowest(ctx context.Context) (slow []broker.SlowSurvey, blocked int) {
	ctx, cancel := context.WithTimeout(ctx, surveyWait)
	defer cancel()
	answers := make(chan slowPart, len(g.shards))
	for _, s := range g.shards {
		s.loop.Post(&surveying{answers})
	}
	top := ranking[broker.SlowSurvey]{by: longestFirst}
	for range g.shards {
		select {
		case part := <-answers:
			blocked += part.blocked
			for _, s := range part.slow {
				top.add(s)
			}
		case <-ctx.Done():
			return top.all(), blocked
		}
	}
	return top.all(), blocked
}

func (s *shard) survey(p *surveying) {
	top := ranking[broker.SlowSurvey]{by: longestFirst}
	now, left := s.loop.Now(), surveyMost
	for c := range s.blocked {
		if left--; left < 0 {
			break
		}
		if seen, ok := slowOf(c, now); ok {
			top.add(seen)
		}
	}
	p.answer <- slowPart{slow: top.all(), blocked: len(s.blocked)}
}

// slowOf is a connection whose socket takes nothing; false: it does.
func slowOf(c *loop.Conn, now int64) (seen broker.SlowSurvey, ok bool) {
	ses, isSession := c.Data.(*session)
	since, blocked := c.Blocked()
	if !isSession || !blocked {
		return seen, false
	}
	frames, bytes := ses.depth()
	return broker.SlowSurvey{
		Connection: ses.name("c-"), User: ses.user(), Rooms: len(ses.rooms),
		Frames: frames, Bytes: bytes + c.QueuedBytes(), Dropped: ses.shard.dropped[c], BlockedMS: (now - since) / int64(time.Millisecond),
	}, true
}

// lost counts frames that a connection will not get. Of those that lost any so
// many are remembered, as one is as slow as the other.
func (s *shard) lost(c *loop.Conn, frames uint64) {
	if _, known := s.dropped[c]; known || len(s.dropped) < surveyMost {
		s.dropped[c] += frames
	}
}

// ranking keeps the first surveyTop of many.
type ranking[V any] struct {
	by    func(a, b V) int
	first []V // in order
}

func (r *ranking[V]) add(v V) {
	if len(r.first) == surveyTop && r.by(r.first[surveyTop-1], v) <= 0 {
		return
	}
	at, _ := slices.BinarySearchFunc(r.first, v, r.by)
	r.first = slices.Insert(r.first, at, v)
	r.first = r.first[:min(len(r.first), surveyTop)]
}

// all is never nil.
func (r *ranking[V]) all() []V { return append([]V{}, r.first...) }
