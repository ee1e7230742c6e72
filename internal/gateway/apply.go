package gateway

import (
	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/loop"
)

// Apply puts other settings into force, while the gateway runs, for who is
// connected too: rooms in use get the history and the window of what is now their
// class. No limit that became lower ends anything that is above it already, but
// for messages, replies and queues, whose limits hold for the next byte. One call
// at a time.
func (g *Gateway) Apply(live Live) {
	g.settings.Store(&live)
	g.gate.SetCaps(live.Limits.Handshakes, live.Limits.HandshakesPerAddress)
	for _, s := range g.shards {
		s.loop.Post(applied{})
	}
	g.hub.reclass()
}

// applied is a post: what the loop holds of the settings is not those in force.
type applied struct{}

func (s *shard) applied() { s.loop.SetLimits(s.gw.live().Limits.ofLoops()) }

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
	for i := range h.stripes {
		s := &h.stripes[i]
		s.mu.Lock()
		for name, r := range s.rooms {
			if r.reclass(classes.Of(name)) {
				look = append(look, r)
			}
		}
		s.mu.Unlock()
	}
	for _, r := range look {
		h.tell(r) // whose socket takes nothing is held against the new window now
	}
}
