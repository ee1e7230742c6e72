package gateway

import (
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// tooManyForRoom refuses a publication to a room that has too many.
func tooManyForRoom(wait time.Duration) *protocol.Error {
	return &protocol.Error{Code: protocol.RateLimited, Message: "too many messages are published to this room", Field: "room", RetryAfter: wait}
}

// admit answers the publications of a call whose rooms have too many, and returns
// the others.
func (c *call) admit(g *Gateway, batch []broker.Publication) []broker.Publication {
	if !g.settings.Load().roomRates {
		return batch
	}
	admitted := make([]broker.Publication, 0, len(batch))
	for i := range batch {
		p := &batch[i]
		wait := g.takeOfRoom(nil, p.Room)
		if wait == 0 {
			admitted = append(admitted, *p)
			continue
		}
		g.cfg.Metrics.Limited(metrics.LimitRoomMessages)
		p.Ticket.(*callTicket).answer(&broker.Result{Room: p.Room, Err: tooManyForRoom(wait)})
	}
	return admitted
}

// takeOfRoom takes one message of what may be published to a room through this
// gateway, or says how long until it could. r is nil where the caller does not have
// it. Any goroutine may ask.
func (g *Gateway) takeOfRoom(r *hubRoom, name string) time.Duration {
	set := g.settings.Load()
	if !set.roomRates {
		return 0
	}
	if r == nil {
		r = g.hub.find(name)
	}
	var class *Class
	if r != nil {
		class = r.class()
	} else {
		class = set.Classes.Of(name)
	}
	per := class.PublishRate
	if per == 0 {
		per = set.Limits.RoomMessages
	}
	now := monotonic()
	switch {
	case per == 0:
		return 0
	case r != nil:
		return r.published.take(now, 1, doubled(int64(per)))
	}
	return g.unjoined.touch(name, now).buckets[useMessages].take(now, 1, doubled(int64(per)))
}
