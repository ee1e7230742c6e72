package api

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/gateway"
)

// fake is a gateway whose rooms are slices.
type fake struct {
	mu           sync.Mutex
	err          error                   // of whatever is asked; nil: none
	refuse       func(room string) error // of one message; nil: none is refused
	hold         chan struct{}           // not nil: Publish waits for it
	panics       bool
	messageBytes int64
	class        gateway.Class
	epoch        string
	logs         map[string][]broker.Message
	ids          map[string]broker.Position
	online       map[string][]broker.UserConnections
	revoked      []broker.Revocation
	disconnected []string
}

func newFake() *fake {
	return &fake{epoch: "e1", logs: make(map[string][]broker.Message), ids: make(map[string]broker.Position),
		online: make(map[string][]broker.UserConnections), class: gateway.Class{Presence: true}}
}

var errFault = errors.New("a fault")

// usable is what every question is answered with first.
func (f *fake) usable() error {
	if f.panics {
		panic("a fault")
	}
	return f.err
}

func (f *fake) Rules(string) auth.Rules { return f.class.Rules }
func (f *fake) MessageBytes() int64     { return f.messageBytes }

func (f *fake) Publish(ctx context.Context, batch []broker.Publication) ([]broker.Result, error) {
	if f.hold != nil {
		select {
		case <-f.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return nil, err
	}
	results := make([]broker.Result, len(batch))
	for i, p := range batch {
		results[i] = f.store(p)
	}
	return results, nil
}

func (f *fake) store(p broker.Publication) broker.Result {
	r := broker.Result{Room: p.Room}
	if f.refuse != nil {
		if r.Err = f.refuse(p.Room); r.Err != nil {
			return r
		}
	}
	key := p.Room + "\x00" + p.ID
	if at, ok := f.ids[key]; ok && p.ID != "" {
		r.Position, r.Duplicate = at, true
		return r
	}
	log := f.logs[p.Room]
	r.Position = broker.Position{Epoch: f.epoch, Seq: uint64(len(log) + 1)}
	f.ids[key] = r.Position
	f.logs[p.Room] = append(log, broker.Message{Room: p.Room, Position: r.Position, Time: 1767322800123, From: p.From, Event: p.Event, Data: p.Data})
	return r
}

func (f *fake) History(_ context.Context, q broker.Query) (broker.Page, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	log := f.logs[q.Room]
	page := broker.Page{Epoch: f.epoch, First: 1, Last: uint64(len(log))}
	for _, m := range log {
		if m.Seq > q.After && (q.Before == 0 || m.Seq < q.Before) {
			page.Messages = append(page.Messages, m)
		}
	}
	if over := len(page.Messages) - q.Limit; over > 0 {
		if q.Newest {
			page.Messages = page.Messages[over:]
		} else {
			page.Messages = page.Messages[:q.Limit]
		}
	}
	return page, f.usable()
}

func (f *fake) Forget(_ context.Context, room string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return err
	}
	delete(f.logs, room)
	f.epoch += "x"
	return nil
}

func (f *fake) Room(_ context.Context, room string) (gateway.RoomInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return gateway.RoomInfo{
		Room: room, Position: broker.Position{Epoch: f.epoch, Seq: uint64(len(f.logs[room]))}, First: 1,
		Members: len(f.online[room]), Class: &f.class,
	}, f.usable()
}

func (f *fake) Rooms(_ context.Context, cursor string, limit int) (active []broker.ActiveRoom, next string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(f.online)) {
		if name > cursor {
			active = append(active, broker.ActiveRoom{Room: name, Users: len(f.online[name]), Position: broker.Position{Epoch: f.epoch}})
		}
	}
	if len(active) > limit {
		active = active[:limit]
		next = active[limit-1].Room
	}
	return active, next, f.usable()
}

func (f *fake) Members(_ context.Context, room, after string, limit int) (broker.Online, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	users := slices.Clone(f.online[room])
	slices.SortFunc(users, func(a, b broker.UserConnections) int { return cmp.Compare(a.User, b.User) })
	count := len(users)
	users = slices.DeleteFunc(users, func(u broker.UserConnections) bool { return u.User <= after })
	more := len(users) > limit
	return broker.Online{Count: count, Users: users[:min(limit, len(users))], More: more}, f.usable()
}

func (f *fake) Disconnect(_ context.Context, user string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.disconnected = append(f.disconnected, user)
	return f.usable()
}

func (f *fake) Gateways(context.Context) ([]broker.Member, error) {
	return []broker.Member{{ID: "gw1", Version: "v1", Connections: 3, Rooms: 2, Load: 0.25}}, f.usable()
}

func (f *fake) Look(context.Context) []broker.Member {
	if f.panics {
		panic("a fault")
	}
	slow := broker.SlowSurvey{Connection: "c-1", User: "ada", Rooms: 1, Frames: 4, Bytes: 4000, Dropped: 7, BlockedMS: 1500}
	return []broker.Member{
		{ID: "gw1", Version: "v1", Connections: 3, Rooms: 2, Load: 0.25, Survey: &broker.Survey{
			Rooms: []broker.RoomSurvey{{Room: "<b>lobby</b>", Connections: 3, Epoch: "e1", Seq: 9}}, Slow: []broker.SlowSurvey{slow},
			Blocked: 1, Heartbeats: broker.Timing{Count: 2, Seconds: 0.5}, Relay: &broker.Relay{ProbeMS: 40},
		}},
		{ID: "gw2", Version: "v1", Connections: 2, Rooms: 1, Draining: true},
	}
}

func (f *fake) Revoke(_ context.Context, r broker.Revocation) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revoked = append(f.revoked, r)
	return f.usable()
}

func (f *fake) Revocations(context.Context) ([]broker.Revocation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.revoked), f.usable()
}

func (f *fake) Checks() []gateway.Check {
	return []gateway.Check{{Name: "broker", OK: f.err == nil, Since: time.Unix(1767322800, 0)}}
}
