package client

import (
	"context"
	"sort"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// asker is what is asked for what the logs keep.
type asker interface {
	History(ctx context.Context, h protocol.HistoryRequest) (protocol.History, error)
}

// FirstAfter finds the place before a room's first message that is no older than
// from, among those that its log keeps: a Since of it begins with that message. nil:
// there is none.
func (c *Client) FirstAfter(ctx context.Context, room string, from time.Time) (*Position, error) {
	return firstAfter(ctx, c, room, from)
}

// Replay tells what a room's log keeps from where the subscription begins, as the
// events that joining would have brought, and does not join; where the subscription
// does not say, all.
func (c *Client) Replay(ctx context.Context, s Subscription, tell func(Event)) error {
	return kept(ctx, c, s, tell)
}

func firstAfter(ctx context.Context, c asker, room string, from time.Time) (*Position, error) {
	least := from.UnixMilli()
	page, err := c.History(ctx, protocol.HistoryRequest{Room: room, Limit: protocol.MaxHistory})
	if err != nil {
		return nil, err
	}
	if len(page.Messages) == 0 || page.Messages[len(page.Messages)-1].Time < least {
		return nil, nil
	}
	i := sort.Search(len(page.Messages), func(i int) bool { return page.Messages[i].Time >= least })
	found := page.Messages[i].Seq
	if i == 0 && found > page.First { // there may be more before this page
		found, err = search(ctx, c, page, least)
		if err != nil {
			return nil, err
		}
	}
	return &protocol.Position{Epoch: page.Epoch, Seq: found - 1}, nil
}

// search halves what lies before a page until the first of that time is found.
func search(ctx context.Context, c asker, page protocol.History, least int64) (seq uint64, err error) {
	low, high := page.First, page.Messages[0].Seq
	for low < high {
		middle := low + (high-low)/2
		after := middle - 1
		one, err := c.History(ctx, protocol.HistoryRequest{Room: page.Room, After: &after, Limit: 1})
		if err != nil {
			return 0, err
		}
		if one.Epoch != page.Epoch || len(one.Messages) == 0 {
			return high, nil // another log by now: the join will say so
		}
		if one.Messages[0].Time >= least {
			high = middle
		} else {
			low = max(middle+1, one.Messages[0].Seq+1) // what was let go meanwhile
		}
	}
	return high, nil
}

func kept(ctx context.Context, c asker, s Subscription, tell func(Event)) error {
	h := protocol.HistoryRequest{Room: s.Room, Limit: 1}
	page, err := c.History(ctx, h)
	if err != nil || page.Last == 0 && (s.Since == nil || s.Since.Seq == 0) {
		return err
	}
	epoch, next, last := page.Epoch, uint64(0), page.Last
	switch {
	case s.Since != nil && (s.Since.Epoch != epoch || s.Since.Seq > last):
		next = page.First
		tell(Reset{Reset: protocol.Reset{Room: s.Room, Position: protocol.Position{Epoch: epoch, Seq: next - 1}, Previous: *s.Since}})
	case s.Since != nil:
		next = s.Since.Seq + 1
	case s.Last > 0:
		next = max(page.First, last-min(last, uint64(s.Last))+1)
	default:
		next = page.First
	}
	for next <= last && ctx.Err() == nil {
		after := next - 1
		h = protocol.HistoryRequest{Room: s.Room, After: &after, Limit: protocol.MaxHistory}
		if page, err = c.History(ctx, h); err != nil {
			return err
		}
		if page.Epoch != epoch {
			tell(Reset{Reset: protocol.Reset{Room: s.Room, Position: protocol.Position{Epoch: page.Epoch}, Previous: protocol.Position{Epoch: epoch, Seq: after}}})
			return nil
		}
		if page.First > next {
			tell(Gap{Gap: protocol.Gap{Room: s.Room, Epoch: epoch, From: next, To: page.First - 1, Reason: protocol.GapHistoryLost}})
			next = page.First
		}
		if len(page.Messages) == 0 || page.Messages[0].Seq > last {
			return nil
		}
		for _, m := range page.Messages {
			if m.Seq >= next && m.Seq <= last {
				tell(Message{Message: m})
				next = m.Seq + 1
			}
		}
	}
	return nil
}
