package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/gateway"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// historyBytes bounds the data of one answer: the caller asks again for what did
// not fit.
const historyBytes = 256 << 10

// query is the query of a URL, of which the first problem is kept.
type query struct {
	values  url.Values
	problem *problem
}

func (x *exchange) query() *query {
	values, err := url.ParseQuery(x.r.URL.RawQuery)
	q := &query{values: values}
	if err != nil {
		q.problem = invalid("query", "it does not parse")
	}
	return q
}

func (q *query) fail(p *problem) {
	if q.problem == nil {
		q.problem = p
	}
}

// integer reads a parameter; def is its value where it is missing.
func (q *query) integer(name string, low, high, def uint64) (n uint64, given bool) {
	v := q.values[name]
	if len(v) == 0 {
		return def, false
	}
	n, err := strconv.ParseUint(v[0], 10, 64)
	if err != nil || n < low || n > high || len(v) > 1 {
		q.fail(invalid(name, fmt.Sprintf("an integer from %d to %d, once", low, high)))
	}
	return n, true
}

// page reads limit and cursor.
func (q *query) page(most uint64) (cursor string, limit int) {
	n, _ := q.integer("limit", 1, most, protocol.DefaultLimit)
	if v := q.values["cursor"]; len(v) > 0 {
		cursor = v[0]
		if len(v) > 1 || !protocol.ValidCursor([]byte(cursor)) {
			q.fail(invalid("cursor", cursorRule))
		}
	}
	return cursor, int(n)
}

// value answers with a JSON value of ours, which may be long: who does not take it
// must not hold the call for ever.
func (x *exchange) value(v any) *problem {
	text, err := json.Marshal(v)
	if err != nil {
		return x.failed(err)
	}
	x.long()
	x.reply(text)
	return nil
}

// long bounds the time of an answer.
func (x *exchange) long() {
	// Only a writer that is no connection's cannot.
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(answerTime))
}

// wait is the context of what is asked of the broker.
func (x *exchange) wait() (context.Context, context.CancelFunc) {
	return context.WithTimeout(x.r.Context(), callTime)
}

// roomBody is GET /v1/rooms/{room}.
type roomBody struct {
	Room    string     `json:"room"`
	Epoch   string     `json:"epoch"`
	Seq     uint64     `json:"seq"`
	Members int        `json:"members"`
	History keptBody   `json:"history"`
	Policy  policyBody `json:"policy"`
}

// keptBody are the messages that are kept; First is Last+1 where none are.
type keptBody struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// policyBody is the room's class, by the words of the configuration. A bound of 0 is
// none.
type policyBody struct {
	Match   string `json:"match"`
	Join    string `json:"join"`
	Publish string `json:"publish"`
	History struct {
		Access   string `json:"access"`
		Messages int    `json:"messages"`
		Bytes    int64  `json:"bytes"`
		AgeMS    int64  `json:"age_ms"`
	} `json:"history"`
	Members  string `json:"members"`
	Presence bool   `json:"presence"`
	Slow     struct {
		Policy         string `json:"policy"`
		WindowMessages int    `json:"window_messages"`
		WindowBytes    int64  `json:"window_bytes"`
	} `json:"slow"`
}

func policyOf(c *gateway.Class) policyBody {
	p := policyBody{
		Match: c.Match, Join: c.Rules.Join.String(), Publish: c.Rules.Publish.String(), Members: c.Rules.Members.String(),
		Presence: c.Presence,
	}
	p.History.Access = c.Rules.History.String()
	p.History.Messages, p.History.Bytes, p.History.AgeMS = c.History.Messages, c.History.Bytes, c.History.Age.Milliseconds()
	p.Slow.Policy, p.Slow.WindowMessages, p.Slow.WindowBytes = c.Slow.Policy.String(), c.Slow.Messages, c.Slow.Bytes
	return p
}

func (x *exchange) room() *problem {
	ctx, cancel := x.wait()
	defer cancel()
	info, err := x.api.cfg.Gateway.Room(ctx, x.name)
	if err != nil {
		return x.failed(err)
	}
	return x.value(roomBody{
		Room: x.name, Epoch: info.Epoch, Seq: info.Seq, Members: info.Members,
		History: keptBody{First: info.First, Last: info.Seq}, Policy: policyOf(info.Class),
	})
}

// activeBody is one room of GET /v1/rooms.
type activeBody struct {
	Room    string `json:"room"`
	Epoch   string `json:"epoch"`
	Seq     uint64 `json:"seq"`
	Members int    `json:"members"`
}

func (x *exchange) rooms() *problem {
	q := x.query()
	cursor, limit := q.page(protocol.MaxMembers)
	if q.problem != nil {
		return q.problem
	}
	ctx, cancel := x.wait()
	defer cancel()
	active, next, err := x.api.cfg.Gateway.Rooms(ctx, cursor, limit)
	if err != nil {
		return x.failed(err)
	}
	body := struct {
		Rooms  []activeBody `json:"rooms"`
		Cursor string       `json:"cursor,omitempty"`
	}{make([]activeBody, len(active)), next}
	for i, r := range active {
		body.Rooms[i] = activeBody{Room: r.Room, Epoch: r.Epoch, Seq: r.Seq, Members: r.Users}
	}
	return x.value(body)
}

// history is GET /v1/rooms/{room}/messages. Without after it is the newest of what
// is asked for, as for a client.
func (x *exchange) history() *problem {
	q := x.query()
	ask := broker.Query{Room: x.name, Bytes: historyBytes}
	after, given := q.integer("after", 0, protocol.MaxSeq, 0)
	ask.After, ask.Newest = after, !given
	if before, given := q.integer("before", 0, protocol.MaxSeq, 0); given {
		ask.Before = max(before, 1) // nothing is before 0, which would be no bound
	}
	limit, _ := q.integer("limit", 1, protocol.MaxHistory, protocol.DefaultLimit)
	ask.Limit = int(limit)
	if q.problem != nil {
		return q.problem
	}
	ctx, cancel := x.wait()
	defer cancel()
	page, err := x.api.cfg.Gateway.History(ctx, ask)
	if err != nil {
		return x.failed(err)
	}
	h := protocol.History{Room: x.name, Epoch: page.Epoch, First: page.First, Last: page.Last}
	h.Messages = make([]protocol.Message, len(page.Messages))
	for i := range page.Messages {
		m := &page.Messages[i]
		h.Messages[i] = protocol.Message{
			Room: m.Room, Epoch: m.Epoch, Seq: m.Seq, Time: m.Time, From: m.From, Event: m.Event, Data: m.Data,
		}
	}
	x.long()
	x.reply(protocol.AppendHistoryPayload(nil, &h)) // not encoding/json, which would write data anew
	return nil
}

// forget is DELETE /v1/rooms/{room}/messages.
func (x *exchange) forget() *problem {
	ctx, cancel := x.wait()
	defer cancel()
	if err := x.api.cfg.Gateway.Forget(ctx, x.name); err != nil {
		return x.failed(err)
	}
	x.empty()
	return nil
}

// empty answers that it is done and there is nothing to say.
func (x *exchange) empty() {
	x.status = http.StatusNoContent
	x.w.WriteHeader(http.StatusNoContent)
}

// onlineBody is one user of GET /v1/rooms/{room}/members.
type onlineBody struct {
	User        string `json:"user"`
	Connections int    `json:"connections"`
}

func (x *exchange) members() *problem {
	q := x.query()
	after, limit := q.page(protocol.MaxMembers)
	if q.problem != nil {
		return q.problem
	}
	ctx, cancel := x.wait()
	defer cancel()
	online, err := x.api.cfg.Gateway.Members(ctx, x.name, after, limit)
	if err != nil {
		return x.failed(err)
	}
	body := struct {
		Room   string       `json:"room"`
		Count  int          `json:"count"`
		Users  []onlineBody `json:"users"`
		Cursor string       `json:"cursor,omitempty"`
	}{Room: x.name, Count: online.Count, Users: make([]onlineBody, len(online.Users))}
	for i, u := range online.Users {
		body.Users[i] = onlineBody(u)
	}
	if online.More && len(online.Users) > 0 {
		body.Cursor = online.Users[len(online.Users)-1].User
	}
	return x.value(body)
}
