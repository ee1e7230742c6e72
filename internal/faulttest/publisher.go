package faulttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

const (
	outstandingMax = 2000
	// An answer that does not come in time is asked for again, with the same id.
	answerWait = 3 * time.Second
	retryAfter = 150 * time.Millisecond // doubled with each attempt
	retryMost  = 1500 * time.Millisecond
	retryUntil = 60 * time.Second // within the de-duplication window
)

// publisher publishes numbered messages over one connection, and again what was
// not acknowledged.
type publisher struct {
	press   *press
	index   int
	home    string // its gateway's address
	rooms   []string
	every   time.Duration
	padding string
	random  *rand.Rand
	quiet   atomic.Bool // it publishes nothing new

	mu sync.Mutex
	// Guarded by mu.
	socket *socket
	conn   int
	order  int
	all    []*publication
	open   map[uint64]*publication // not acknowledged
	due    map[uint64]time.Time    // when an open one is sent again
}

// connectLoop keeps the publisher connected and reads its answers.
func (x *publisher) connectLoop(ctx context.Context) {
	pause := backoff{random: x.random}
	for addr := x.home; ctx.Err() == nil; {
		began := time.Now()
		err := x.session(ctx, addr)
		if addr = x.home; pause.attempt%2 == 0 {
			addr = x.press.gateways[x.random.IntN(len(x.press.gateways))] // every other time elsewhere
		}
		var closed errClosed
		if errors.As(err, &closed) && protocol.Retry(closed.code) == protocol.Stop {
			x.press.fleet.report(sentAway, fmt.Sprintf("publisher %d was %v", x.index, closed))
		}
		if !wait(ctx, pause.next(time.Since(began), protocol.ComeBack, 0)) {
			return
		}
	}
}

func (x *publisher) session(ctx context.Context, addr string) error {
	s, err := connect(ctx, addr, "", 0)
	if err != nil {
		return err
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	conn := int(x.press.conns.Add(1))
	x.mu.Lock()
	x.socket, x.conn, x.order = s, conn, 0
	x.again()
	x.mu.Unlock()
	for {
		var msg []byte
		if msg, err = s.next(); err == nil {
			err = x.take(s, conn, msg)
		}
		if err != nil {
			break
		}
	}
	x.mu.Lock()
	x.socket = nil
	x.mu.Unlock()
	return err
}

// again has everything that is open sent again: the connection is new. With mu.
func (x *publisher) again() {
	for n := range x.open {
		x.due[n] = time.Time{}
	}
}

// take is one answer of the gateway.
func (x *publisher) take(s *socket, conn int, msg []byte) error {
	m, err := protocol.DecodeServer(msg)
	if err != nil {
		return err
	}
	switch m.Type {
	case protocol.ServerWelcome:
		s.silence = m.Welcome.HeartbeatTimeout
	case protocol.ServerPublished, protocol.ServerError:
		x.answered(conn, &m)
	}
	return nil
}

// answered notes an answer. Request ids are NUMBER.ATTEMPT.
func (x *publisher) answered(conn int, m *protocol.Server) {
	now := x.press.fleet.clock()
	x.mu.Lock()
	defer x.mu.Unlock()
	p, a := x.find(m.ID)
	if a == nil || a.conn != conn || a.answered != 0 {
		x.press.stray(fmt.Sprintf("publisher %d: an answer to %q that nobody waits for, or a second one", x.index, m.ID))
		return
	}
	a.answered = now
	x.press.took(now - a.sent)
	if m.Err != nil {
		a.refusal = m.Err.Code
		if _, open := x.open[p.number]; open {
			x.due[p.number] = time.Now().Add(max(min(retryAfter<<min(len(p.attempts), 8), retryMost), m.Err.RetryAfter))
		}
		return
	}
	p.acks = append(p.acks, ack{at: now, position: m.Published.Position, duplicate: m.Published.Duplicate})
	delete(x.open, p.number)
	delete(x.due, p.number)
	if m.Published.Room != p.room {
		x.press.stray(fmt.Sprintf("message %d of %s was acknowledged in %s", p.number, p.room, m.Published.Room))
	}
	x.press.stored(p, a.sent, m.Published.Position, m.Published.Duplicate)
}

func (x *publisher) find(id string) (*publication, *attempt) {
	number, n, ok := strings.Cut(id, ".")
	i, err := strconv.ParseUint(number, 10, 64)
	k, err2 := strconv.Atoi(n)
	if !ok || err != nil || err2 != nil {
		return nil, nil
	}
	// Numbers of one publisher rise, so that the list is sorted.
	lo, hi := 0, len(x.all)
	for lo < hi {
		if mid := (lo + hi) / 2; x.all[mid].number < i {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(x.all) || x.all[lo].number != i || k >= len(x.all[lo].attempts) {
		return nil, nil
	}
	return x.all[lo], &x.all[lo].attempts[k]
}

// publishLoop publishes at the publisher's pace.
func (x *publisher) publishLoop(ctx context.Context) {
	ticks := time.NewTicker(x.every)
	defer ticks.Stop()
	retries := time.NewTicker(50 * time.Millisecond)
	defer retries.Stop()
	for i := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-retries.C:
			x.retry()
		case <-ticks.C:
			if x.quiet.Load() || x.press.quiet.Load() {
				continue
			}
			if x.publish(x.rooms[i%len(x.rooms)]) {
				i++
			}
		}
	}
}

// publish sends a new message, if the publisher is connected and not too much is
// open.
func (x *publisher) publish(room string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.socket == nil || len(x.open) >= outstandingMax {
		return false
	}
	p := &publication{number: x.press.numbers.Add(1), room: room}
	x.all = append(x.all, p)
	x.open[p.number] = p
	x.send(p)
	return true
}

// retry sends again what is due.
func (x *publisher) retry() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.socket == nil {
		return
	}
	now := time.Now()
	for n, at := range x.due {
		if at.After(now) {
			continue
		}
		p := x.open[n]
		if x.press.fleet.clock()-p.attempts[0].sent > retryUntil {
			delete(x.open, n)
			delete(x.due, n)
			continue
		}
		x.send(p)
	}
}

// send sends p over the connection. With mu.
func (x *publisher) send(p *publication) {
	x.order++
	id := strconv.FormatUint(p.number, 10)
	p.attempts = append(p.attempts, attempt{sent: x.press.fleet.clock(), conn: x.conn, order: x.order})
	x.due[p.number] = time.Now().Add(answerWait)
	data := id
	if x.padding != "" {
		data = `["` + id + `","` + x.padding + `"]`
	}
	msg := protocol.AppendPublish(nil, id+"."+strconv.Itoa(len(p.attempts)-1), protocol.Publish{Room: p.room, Data: []byte(data), ID: "m" + id})
	if err := x.socket.send(frame.OpText, msg); err != nil {
		x.socket.Close()
	}
}

// sever ends the publisher's connection with an RST.
func (x *publisher) sever() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.socket != nil {
		x.socket.sever()
	}
}
