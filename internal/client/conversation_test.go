package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// conversation is one of the table's.
type conversation struct {
	Name    string    `json:"name"`
	Why     string    `json:"why"`
	Random  []float64 `json:"random"`
	Backoff struct {
		Base int `json:"base_ms"`
		Cap  int `json:"cap_ms"`
	} `json:"backoff"`
	ConnectTimeout int               `json:"connect_timeout_ms"`
	Tokens         []string          `json:"tokens"`
	Lives          map[string]int    `json:"lives_ms"`
	Steps          []json.RawMessage `json:"steps"`
}

// step has one field of each row below, and what goes with it.
type step struct {
	Join *struct {
		Room     string             `json:"room"`
		Since    *protocol.Position `json:"since"`
		Last     int                `json:"last"`
		Presence bool               `json:"presence"`
		Fill     bool               `json:"fill"`
	} `json:"join"`
	Leave *struct {
		Room string `json:"room"`
	} `json:"leave"`
	Publish *struct {
		Room    string          `json:"room"`
		Data    json.RawMessage `json:"data"`
		Event   string          `json:"event"`
		ID      string          `json:"id"`
		Timeout int             `json:"timeout_ms"`
	} `json:"publish"`
	History *struct {
		Room   string  `json:"room"`
		After  *uint64 `json:"after"`
		Before *uint64 `json:"before"`
		Limit  int     `json:"limit"`
	} `json:"history"`
	As          string `json:"as"`
	CloseClient bool   `json:"close_client"`

	Event   map[string]any `json:"event"`
	Settled string         `json:"settled"`
	OK      map[string]any `json:"ok"`
	Error   *struct {
		Code string `json:"code"`
	} `json:"error"`
	State string `json:"state"`

	Dial *struct {
		After  int    `json:"after_ms"`
		Within int    `json:"within_ms"`
		Token  string `json:"token"`
	} `json:"dial"`
	Refuse    *struct{}       `json:"refuse"`
	Welcome   *map[string]any `json:"welcome"`
	Send      map[string]any  `json:"send"`
	Recv      map[string]any  `json:"recv"`
	NotBefore int             `json:"not_before_ms"`
	Within    int             `json:"within_ms"`
	Close     *struct {
		Code   uint16 `json:"code"`
		Reason string `json:"reason"`
	} `json:"close"`
	Cut  bool `json:"cut"`
	Ends *struct {
		Code   uint16 `json:"code"`
		Within int    `json:"within_ms"`
	} `json:"ends"`
	Wait  int `json:"wait_ms"`
	Quiet int `json:"quiet_ms"`
}

// talk is a conversation under way. Between two steps every goroutine of the
// bubble stands still, so that what they wrote is there to be read.
type talk struct {
	t      *testing.T
	client *Client
	end    context.CancelFunc
	wire   *wire
	bound  map[string]string // what stands for each $name

	mu      sync.Mutex
	events  []any
	settled map[string]outcome
	rooms   map[string]*Room
}

type outcome struct {
	ok   any
	code string // empty: it went well
}

func converse(t *testing.T, c conversation) {
	k := &talk{t: t, wire: newWire(t), bound: map[string]string{}, settled: map[string]outcome{}, rooms: map[string]*Room{}}
	cfg := Config{
		URL: "ws://gateway.test", NetDial: k.wire.dial, DialTimeout: ms(c.ConnectTimeout),
		BackoffBase: ms(c.Backoff.Base), BackoffCap: ms(c.Backoff.Cap), Jitter: jitterOf(c.Random),
	}
	for name, lives := range c.Lives {
		k.bound[name] = tokenUntil(name, time.Now().Add(ms(lives)))
	}
	if c.Tokens != nil {
		cfg.Token = tokensOf(k.filled(c.Tokens).([]string))
	}
	client, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	k.client, k.end = client, cancel
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = client.Run(ctx)
	}()
	for i, text := range c.Steps {
		var s step
		err := strictly(text, &s)
		if err == nil {
			synctest.Wait()
			err = k.take(s)
		}
		if err != nil {
			t.Errorf("step %d, %s: %v", i+1, text, err)
			break
		}
	}
	synctest.Wait()
	if err := k.quiet(); err != nil && !t.Failed() {
		t.Errorf("after the last step: %v", err)
	}
	cancel()
	<-over
	k.wire.close()
}

func jitterOf(random []float64) func(time.Duration) time.Duration {
	if random == nil {
		random = []float64{1}
	}
	turn := turns(random)
	return func(ceiling time.Duration) time.Duration { return share(ceiling, turn()) }
}

func tokensOf(tokens []string) func(context.Context) (string, error) {
	turn := turns(tokens)
	return func(context.Context) (string, error) { return turn(), nil }
}

// tokenUntil is a JWT as far as its bearer reads it.
func tokenUntil(name string, end time.Time) string {
	claims := fmt.Sprintf(`{"sub":"~~~~???~~~~???%s","exp":%d}`, name, end.Unix())
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".e30"
}

// turns gives a list's values one after another, and the last for ever.
func turns[V any](list []V) func() V {
	var mu sync.Mutex
	return func() V {
		mu.Lock()
		defer mu.Unlock()
		v := list[0]
		if len(list) > 1 {
			list = list[1:]
		}
		return v
	}
}

func (k *talk) take(s step) error {
	switch {
	case s.Join != nil:
		k.join(Subscription{Room: s.Join.Room, Since: s.Join.Since, Last: s.Join.Last, Presence: s.Join.Presence, Fill: s.Join.Fill})
	case s.Leave != nil:
		go k.rooms[s.Leave.Room].Leave(k.t.Context())
	case s.Publish != nil:
		k.begin(s.As, ms(s.Publish.Timeout), func(ctx context.Context) (any, error) {
			at, err := k.client.Publish(ctx, s.Publish.Room, s.Publish.Data, PublishOptions{Event: s.Publish.Event, ID: s.Publish.ID})
			return map[string]any{"room": at.Room, "epoch": at.Epoch, "seq": at.Seq, "duplicate": at.Duplicate}, err
		})
	case s.History != nil:
		k.begin(s.As, 0, func(ctx context.Context) (any, error) {
			h := s.History
			page, err := k.client.History(ctx, protocol.HistoryRequest{Room: h.Room, After: h.After, Before: h.Before, Limit: h.Limit})
			return historyOf(page), err
		})
	case s.CloseClient:
		k.end()
	case s.Event != nil:
		return k.event(s.Event)
	case s.Settled != "":
		return k.outcome(s)
	case s.State != "":
		return k.state(s.State)
	case s.Wait > 0:
		after(ms(s.Wait))
	case s.Quiet > 0:
		if err := k.quiet(); err != nil {
			return err
		}
		after(ms(s.Quiet))
		return k.quiet()
	default:
		return k.gateway(s)
	}
	return nil
}

func (k *talk) join(s Subscription) {
	go func() {
		room, err := k.client.Join(k.t.Context(), s)
		var refused *protocol.Error
		if errors.As(err, &refused) {
			k.add(map[string]any{"type": "refused", "room": s.Room, "code": string(refused.Code)})
		}
		if err != nil {
			return
		}
		k.mu.Lock()
		k.rooms[s.Room] = room
		k.mu.Unlock()
		for e := range room.Events(k.t.Context()) {
			if told := tellOf(e); told != nil {
				k.add(told)
			}
		}
	}()
}

func (k *talk) add(event any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.events = append(k.events, event)
}

// begin begins what settles under a name.
func (k *talk) begin(name string, timeout time.Duration, request func(context.Context) (any, error)) {
	go func() {
		ctx := k.t.Context()
		if timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		ok, err := request(ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.settled[name] = outcome{ok: ok, code: codeOf(err)}
	}()
}

// codeOf is an error as the table names it; empty: there is none.
func codeOf(err error) string {
	var refused *protocol.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &refused):
		return string(refused.Code)
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, ErrTooBig):
		return "too_large"
	case errors.Is(err, ErrPermanent):
		return "closed"
	default:
		return err.Error()
	}
}

func (k *talk) event(want map[string]any) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.events) == 0 {
		return errors.New("there is no event")
	}
	got := k.events[0]
	k.events = k.events[1:]
	return k.match(want, got)
}

func (k *talk) outcome(s step) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	got, ok := k.settled[s.Settled]
	switch {
	case !ok:
		return fmt.Errorf("%s has not ended", s.Settled)
	case s.Error != nil && got.code != s.Error.Code, s.Error == nil && got.code != "":
		return fmt.Errorf("%s ended with error %q", s.Settled, got.code)
	case s.Error != nil:
		return nil
	}
	return k.match(s.OK, got.ok)
}

func (k *talk) state(want string) error {
	s := k.client.newest()
	got := s.Status.String()
	switch {
	case s.Status == Connected:
		got = "open"
	case s.Final:
		got = "closed"
	case s.Status == Disconnected:
		got = "waiting"
	}
	if got != want {
		return fmt.Errorf("the state is %s", got)
	}
	return nil
}

// quiet tells what no step asked for.
func (k *talk) quiet() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.events) > 0 {
		return fmt.Errorf("event %v", k.events[0])
	}
	return k.wire.quiet()
}

// tellOf is an event as the table names it; nil: it knows none such.
func tellOf(e Event) any {
	place := func(p protocol.Position) map[string]any { return map[string]any{"epoch": p.Epoch, "seq": p.Seq} }
	switch e := e.(type) {
	case Message:
		return messageOf("message", e.Message)
	case Gap:
		return map[string]any{"type": "gap", "room": e.Room, "epoch": e.Epoch, "from": e.From, "to": e.To, "reason": string(e.Reason)}
	case Reset:
		return map[string]any{"type": "reset", "room": e.Room, "epoch": e.Epoch, "seq": e.Seq, "previous": place(e.Previous)}
	case Joined:
		told := map[string]any{"type": "joined", "room": e.Room, "epoch": e.Epoch, "seq": e.Seq}
		if e.Recovery != protocol.NotAsked {
			told["recovered"] = e.Recovery == protocol.Recovered
		}
		return told
	case Presence:
		return map[string]any{"type": "presence", "room": e.Room, "joined": append([]string{}, e.Joined...), "left": append([]string{}, e.Left...), "count": e.Count}
	}
	return nil
}

func messageOf(kind string, m protocol.Message) map[string]any {
	told := map[string]any{"type": kind, "room": m.Room, "epoch": m.Epoch, "seq": m.Seq, "from": m.From, "data": json.RawMessage(m.Data)}
	if m.Event != "" {
		told["event"] = m.Event
	}
	return told
}

func historyOf(h protocol.History) map[string]any {
	messages := []any{}
	for _, m := range h.Messages {
		messages = append(messages, messageOf("", m))
	}
	return map[string]any{"room": h.Room, "epoch": h.Epoch, "first": h.First, "last": h.Last, "messages": messages}
}
