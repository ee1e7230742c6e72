package faulttest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// bearerPause is between two attempts of a bearer, give or take a half.
const bearerPause = 300 * time.Millisecond

// bearer comes to one gateway with one token, again and again whatever it is
// answered.
type bearer struct {
	// Immutable.
	kind    string // of the revocation that is to end it
	token   string
	gateway *gateway
	people  *people

	random *rand.Rand

	mu sync.Mutex
	// Guarded by mu.
	visits  []visit
	refused []time.Duration // answers of 401
	denied  bool            // the last answer was one
}

// visit is one connection of a bearer.
type visit struct {
	from, to time.Duration // to 0: it lasts
	code     uint16        // of the close frame; 0: none came
}

func (b *bearer) run(ctx context.Context) {
	for {
		b.visit(ctx)
		if !wait(ctx, bearerPause/2+time.Duration(b.random.Int64N(int64(bearerPause)))) {
			return
		}
	}
}

func (b *bearer) visit(ctx context.Context) {
	s, err := connect(ctx, b.gateway.addr, url.Values{"token": {b.token}}.Encode(), 0)
	if err != nil && ctx.Err() != nil {
		return
	}
	var refusal errRefused
	b.mu.Lock()
	b.denied = errors.As(err, &refusal) && refusal.status == http.StatusUnauthorized
	if b.denied {
		b.refused = append(b.refused, b.people.clock())
	}
	if err == nil {
		b.visits = append(b.visits, visit{from: b.people.clock()})
	}
	b.mu.Unlock()
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	s.silence = heartbeatTimeout
	for err == nil {
		_, err = s.next()
	}
	s.Close()
	var closed errClosed
	errors.As(err, &closed)
	b.mu.Lock()
	defer b.mu.Unlock()
	last := &b.visits[len(b.visits)-1]
	last.to, last.code = b.people.clock(), closed.code
	if ctx.Err() != nil {
		last.to = 0 // it is the bearer who ended it
	}
}

// isOut says whether the bearer was sent away when it last came.
func (b *bearer) isOut() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.denied
}

// isIn says whether it is connected.
func (b *bearer) isIn() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.visits)
	return n > 0 && b.visits[n-1].to == 0
}
