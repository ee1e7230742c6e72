package gateway

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/tracing"
)

// What a backend may ask of a gateway, which has been allowed to ask: names are
// valid, data is JSON. All of it may be called from any goroutine and blocks
// until ctx ends at the latest. Errors wrap those of package broker.

// RoomInfo is what is known of a room.
type RoomInfo struct {
	Room            string
	broker.Position        // of its newest message
	First           uint64 // the oldest message kept; Seq+1 where none is
	Members         int    // users, over all gateways; 0 where the class has no presence
	Class           *Class // immutable
}

var errNoPeople = fmt.Errorf("this broker keeps no users: %w", broker.ErrUnavailable)

// Rules is who may do what in a room.
func (g *Gateway) Rules(room string) auth.Rules { return g.live().Classes.Of(room).Rules }

// MessageBytes bounds the data of a message; 0 is no bound.
func (g *Gateway) MessageBytes() int64 { return g.live().Limits.MessageBytes }

// History reads messages of a room.
func (g *Gateway) History(ctx context.Context, q broker.Query) (broker.Page, error) {
	return g.cfg.Broker.Range(ctx, q)
}

// Forget drops a room's messages and begins a new epoch.
func (g *Gateway) Forget(ctx context.Context, room string) error {
	return g.cfg.Broker.Forget(ctx, room)
}

// Members is a page of the users in a room, behind the user after.
func (g *Gateway) Members(ctx context.Context, room, after string, limit int) (broker.Online, error) {
	if g.people == nil {
		return broker.Online{}, errNoPeople
	}
	g.settle(ctx, room)
	return g.people.Online(ctx, room, after, limit) // with who has just joined here
}

// settle waits until the broker has been told who is in a room by this gateway.
func (g *Gateway) settle(ctx context.Context, room string) {
	done := make(chan struct{})
	g.people.settle(g.hub.find(room), func() { close(done) })
	select {
	case <-done:
	case <-ctx.Done():
	case <-g.people.ctx.Done():
	}
}

// Room is what is known of one room.
func (g *Gateway) Room(ctx context.Context, room string) (RoomInfo, error) {
	info := RoomInfo{Room: room, Class: g.live().Classes.Of(room)}
	page, err := g.cfg.Broker.Range(ctx, broker.Query{Room: room, Limit: 1, Newest: true})
	if err != nil {
		return info, err
	}
	info.Position, info.First = broker.Position{Epoch: page.Epoch, Seq: page.Last}, page.First
	if g.people == nil || !info.Class.Presence {
		return info, nil
	}
	g.settle(ctx, room)
	counts, err := g.people.OnlineCounts(ctx, []string{room})
	if err != nil {
		return info, err
	}
	info.Members = counts[0]
	return info, nil
}

// Rooms is a page of the rooms that have users, from a cursor, and that of what
// follows, empty at the end.
func (g *Gateway) Rooms(ctx context.Context, cursor string, limit int) (rooms []broker.ActiveRoom, next string, err error) {
	if g.people == nil {
		return nil, "", errNoPeople
	}
	return g.people.ActiveRooms(ctx, cursor, limit)
}

// Revocations are all that have not run out, in no order.
func (g *Gateway) Revocations(ctx context.Context) ([]broker.Revocation, error) {
	if g.people == nil {
		return nil, errNoPeople
	}
	return g.people.Revocations(ctx)
}

// Gateways is every gateway that is alive.
func (g *Gateway) Gateways(ctx context.Context) ([]broker.Member, error) {
	fleet, ok := g.cfg.Broker.(broker.Fleet)
	if !ok {
		return []broker.Member{g.member()}, nil
	}
	members, err := fleet.Members(ctx)
	for i := range members {
		members[i].Survey = nil
	}
	return members, err
}

// call waits for the results of publications that no session made.
type call struct {
	results []broker.Result
	tickets []callTicket
	left    atomic.Int64  // results that have not come
	done    chan struct{} // closed with the last
}

// callTicket is the way back of one publication of a call.
type callTicket struct {
	call   *call
	at     int
	traced *tracing.Publication // nil: not recorded
}

// answer takes one result, from the broker's goroutine.
func (t *callTicket) answer(r *broker.Result) {
	if t.traced != nil {
		o, at := tracedOutcome(r)
		t.traced.Relayed(o, at)
		t.traced.End(o, at)
	}
	t.call.results[t.at] = *r
	t.call.results[t.at].Ticket = nil
	if t.call.left.Add(-1) == 0 {
		close(t.call.done)
	}
}

// Publish stores publications and waits for their results, which come in the
// order of the batch; each has its own error, a *protocol.Error where the room has
// too many. The tickets of the batch are set here. They are of the trace in ctx, if
// there is one. Where ctx ends first, some may have been stored all the same.
func (g *Gateway) Publish(ctx context.Context, batch []broker.Publication) ([]broker.Result, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	c := &call{
		results: make([]broker.Result, len(batch)),
		tickets: make([]callTicket, len(batch)),
		done:    make(chan struct{}),
	}
	c.left.Store(int64(len(batch)))
	for i := range batch {
		c.tickets[i] = callTicket{call: c, at: i}
		batch[i].Ticket = &c.tickets[i]
		if g.cfg.Tracer != nil {
			c.tickets[i].traced = g.traced(ctx, &batch[i])
		}
	}
	if admitted := c.admit(g, batch); len(admitted) > 0 {
		for i := range admitted {
			admitted[i].Trace = toBroker(admitted[i].Ticket.(*callTicket).traced)
		}
		g.cfg.Broker.Publish(admitted)
	}
	select {
	case <-c.done:
		return c.results, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("publish: %w", ctx.Err())
	}
}
