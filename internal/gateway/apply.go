package gateway

import (
	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/loop"
	"github.com/fanfare-ws/fanfare/internal/room"
)

// Apply puts other settings into force, while the gateway runs, for who is
// connected too: rooms in use get the history and the window of what is now their
// class, and who may not be in them any more leaves. No limit that became lower ends anything that is above it already, but
// for messages, replies and queues, whose limits hold for the next byte. One call
// at a time.
func (g *Gateway) Apply(live Live) {
	shut := g.live().Auth.Required
	g.settings.Store(newInForce(live))
	g.show(&live)
	if shut {
		g.people.namesakesAgain() // there may be guests now
	}
	g.certified(&live)
	g.gate.SetCaps(live.Limits.Handshakes, live.Limits.HandshakesPerAddress)
	g.hub.reclass()
	for _, s := range g.shards {
		s.loop.Post(applied{})
	}
}

// show exports what of the settings is held against what is measured.
func (g *Gateway) show(live *Live) {
	window := 0
	for i := range live.Classes {
		slow := live.Classes[i].Slow
		if slow.Policy != room.Conflate && slow.Messages > 0 && (window == 0 || slow.Messages < window) {
			window = slow.Messages
		}
	}
	g.cfg.Metrics.ConnectionsMax.Set(int64(live.Limits.Connections))
	g.cfg.Metrics.WindowFrames.Set(int64(window))
}

// inForce is settings with what follows of them, so that what is not limited costs
// a look at a flag.
type inForce struct {
	Live
	shared    bool // users or addresses are limited
	roomRates bool // some room is
}

func newInForce(live Live) *inForce {
	f := &inForce{Live: live}
	f.shared = live.Limits.User.limited() || live.Limits.Address.limited()
	f.roomRates = live.Limits.RoomMessages > 0
	for i := range live.Classes {
		f.roomRates = f.roomRates || live.Classes[i].PublishRate > 0
	}
	return f
}

// applied is a post: what the loop holds of the settings is not those in force.
type applied struct{}

func (s *shard) applied() {
	s.loop.SetLimits(s.gw.live().Limits.ofLoops())
	for _, lr := range s.rooms {
		if lists := s.gw.people.lists(lr.shared); lists != lr.listed {
			lr.list(lists)
		}
	}
	s.hunt.next.changed = true
}

// list puts the members into the roster, or takes them out: the class keeps who is in
// a room now, or does not any more.
func (lr *localRoom) list(on bool) {
	lr.listed = on
	put := lr.shard.gw.people.exit
	if on {
		put = lr.shard.gw.people.enter
	}
	for i := range lr.members {
		ses := lr.members[i].session
		put(lr.shared, ses.user(), ses.caller == nil)
	}
}

// ofLoops is what the event loops see to themselves.
func (l *Limits) ofLoops() loop.Limits {
	return loop.Limits{
		Head:             frame.HeadLimits{Bytes: l.HandshakeBytes, Headers: l.HandshakeHeaders},
		HandshakeTimeout: l.HandshakeTimeout,
		MessageBytes:     l.MessageBytes,
		Fragments:        l.MessageFragments,
		ReplyBytes:       l.ReplyBytes,
	}
}

// reclass holds every room against the classes now in force. A room that comes
// to be meanwhile has been given its class by them: see hold.
func (h *hub) reclass() {
	classes := h.live().Classes
	var look []*hubRoom
	for _, r := range h.all() {
		was := r.class().Presence
		if r.reclass(classes.Of(r.name)) {
			look = append(look, r)
		}
		if r.class().Presence && !was {
			r.crowd.stale()
			h.check(r)
		}
	}
	for _, r := range look {
		h.tell(r) // whose socket takes nothing is held against the new window now
	}
}
