package team

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/loadtest/internal/account"
)

// Agent plays parts of runs for whoever leads them over HTTP, one run at a time.
// It is an http.Handler:
//
//	GET  /healthz            204, without a key
//	GET  /v1/clock           {"now_ns": Unix nanoseconds}
//	POST /v1/prepare  Job    {} when all are connected
//	POST /v1/measure  {"at"} Tops when all is published and answered
//	POST /v1/settle   Tops   Part when everyone has caught up
//	GET  /v1/progress        Progress
//	POST /v1/close           {}
//
// Errors are {"error": words} with 400, 401, 409 (it plays already, or does not
// play) or 500. A run whose leader is not heard of for a while is ended.
type Agent struct {
	key    string // empty: anyone may ask
	mux    *http.ServeMux
	played chan struct{} // closed when the first run is over
	first  sync.Once

	mu     sync.Mutex
	player *Local      // nil: it does not play
	lease  *time.Timer // ends the run; it does not run while a call is answered
	calls  int         // being answered
}

// NewAgent makes an agent. Who asks must have the key, as Authorization: Bearer;
// empty: anyone may.
func NewAgent(key string) *Agent {
	a := &Agent{key: key, mux: http.NewServeMux(), played: make(chan struct{})}
	a.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	a.mux.HandleFunc("GET /v1/clock", a.guarded(a.clock))
	a.mux.HandleFunc("POST /v1/prepare", a.guarded(a.prepare))
	a.mux.HandleFunc("POST /v1/measure", a.guarded(a.measure))
	a.mux.HandleFunc("POST /v1/settle", a.guarded(a.settle))
	a.mux.HandleFunc("GET /v1/progress", a.guarded(a.tellProgress))
	a.mux.HandleFunc("POST /v1/close", a.guarded(a.end))
	return a
}

// ServeHTTP answers a leader.
func (a *Agent) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

const (
	// leaseTime is how long a run goes on without a word from its leader. A call that
	// is being answered is one, and ends with the leader's connection.
	leaseTime = 30 * time.Second
	// mostBody bounds a request or an answer: the logs of a million rooms fit.
	mostBody = 256 << 20
)

// wrong is an error with its status.
type wrong struct {
	status int
	err    error
}

func (e *wrong) Error() string { return e.err.Error() }

var (
	errBusy = &wrong{http.StatusConflict, errors.New("it plays another run already")}
	errIdle = &wrong{http.StatusConflict, errors.New("it plays no run: prepare one first; or its leader was not heard of for too long")}
	errKey  = &wrong{http.StatusUnauthorized, errors.New("the key is missing or wrong: see --key-file")}
)

// guarded asks for the key, and turns what a call returns into an answer.
func (a *Agent) guarded(call func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !a.knows(r) {
			answer(w, nil, errKey)
			return
		}
		a.heard(1)
		defer a.heard(-1)
		r.Body = http.MaxBytesReader(w, r.Body, mostBody)
		got, err := call(r)
		answer(w, got, err)
	}
}

// heard notes that a call of a leader begins or ends.
func (a *Agent) heard(calls int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls += calls
	switch {
	case a.lease == nil:
	case a.calls > 0:
		a.lease.Stop()
	default:
		a.lease.Reset(leaseTime)
	}
}

func (a *Agent) knows(r *http.Request) bool {
	if a.key == "" {
		return true
	}
	got, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	// Hashed, so that not even the length shows in the time.
	x, y := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(a.key))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func answer(w http.ResponseWriter, got any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		status := http.StatusInternalServerError
		var known *wrong
		if errors.As(err, &known) {
			status = known.status
		}
		w.WriteHeader(status)
		got = map[string]string{"error": err.Error()}
	}
	// Where the leader has gone there is nobody to tell.
	_ = json.NewEncoder(w).Encode(got)
}

func read(r *http.Request, into any) error {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		return &wrong{http.StatusBadRequest, fmt.Errorf("body: %w", err)}
	}
	return nil
}

type clockAnswer struct {
	Now int64 `json:"now_ns"`
}

func (a *Agent) clock(*http.Request) (any, error) { return clockAnswer{time.Now().UnixNano()}, nil }

func (a *Agent) prepare(r *http.Request) (any, error) {
	var job Job
	if err := read(r, &job); err != nil {
		return nil, err
	}
	if job.Plan == nil || job.Agents < 1 || job.Agent < 0 || job.Agent >= job.Agents {
		return nil, &wrong{http.StatusBadRequest, errors.New("no plan, or no place in the team")}
	}
	if err := job.Plan.Check(); err != nil {
		return nil, &wrong{http.StatusBadRequest, err}
	}
	a.mu.Lock()
	if a.player != nil {
		a.mu.Unlock()
		return nil, errBusy
	}
	player := NewLocal()
	a.player = player
	a.lease = time.AfterFunc(leaseTime, func() { a.drop(player) })
	a.lease.Stop() // until this call is over
	a.mu.Unlock()
	if err := player.Prepare(r.Context(), job); err != nil {
		a.drop(player)
		return nil, err
	}
	return struct{}{}, nil
}

// playing is the run at hand.
func (a *Agent) playing() (*Local, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.player == nil {
		return nil, errIdle
	}
	return a.player, nil
}

// drop ends a run, if it is still the one at hand.
func (a *Agent) drop(player *Local) {
	a.mu.Lock()
	mine := a.player == player && player != nil
	if mine {
		a.lease.Stop()
		a.player, a.lease = nil, nil
	}
	a.mu.Unlock()
	if mine {
		_ = player.Close()
		a.first.Do(func() { close(a.played) })
	}
}

// Played is closed when a run is over, whatever its end was.
func (a *Agent) Played() <-chan struct{} { return a.played }

// play makes a call of the run at hand, which ends with a leader that goes away.
func (a *Agent) play(r *http.Request, call func(ctx context.Context, l *Local) (any, error)) (any, error) {
	player, err := a.playing()
	if err != nil {
		return nil, err
	}
	got, err := call(r.Context(), player)
	if err != nil {
		a.drop(player)
	}
	return got, err
}

type measureRequest struct {
	At time.Time `json:"at"`
}

func (a *Agent) measure(r *http.Request) (any, error) {
	var q measureRequest
	if err := read(r, &q); err != nil {
		return nil, err
	}
	return a.play(r, func(ctx context.Context, l *Local) (any, error) { return l.Measure(ctx, q.At) })
}

func (a *Agent) settle(r *http.Request) (any, error) {
	var tops account.Tops
	if err := read(r, &tops); err != nil {
		return nil, err
	}
	return a.play(r, func(ctx context.Context, l *Local) (any, error) { return l.Settle(ctx, tops) })
}

func (a *Agent) tellProgress(*http.Request) (any, error) {
	player, err := a.playing()
	if err != nil {
		return nil, err
	}
	return player.Progress(), nil
}

func (a *Agent) end(*http.Request) (any, error) {
	if player, err := a.playing(); err == nil {
		a.drop(player)
	}
	return struct{}{}, nil
}

// Close ends the run at hand.
func (a *Agent) Close() { _, _ = a.end(nil) }
