package api

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/gateway"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// Gateway is what the calls ask of the gateway. Names are valid and data is JSON
// when they come to it. An error is a *protocol.Error, wraps one of package broker
// or is the context's.
type Gateway interface {
	// Rules are who may do what in a room.
	Rules(room string) auth.Rules
	// MessageBytes bounds the data of a message; 0 is no bound.
	MessageBytes() int64
	// Publish stores messages in their order and returns a result for each.
	Publish(ctx context.Context, batch []broker.Publication) ([]broker.Result, error)
	History(ctx context.Context, q broker.Query) (broker.Page, error)
	Forget(ctx context.Context, room string) error
	Room(ctx context.Context, room string) (gateway.RoomInfo, error)
	// Rooms is a page of the rooms that have users, and the cursor of the next page.
	Rooms(ctx context.Context, cursor string, limit int) (rooms []broker.ActiveRoom, next string, err error)
	// Members is a page of a room's users, behind the user after.
	Members(ctx context.Context, room, after string, limit int) (broker.Online, error)
	// Disconnect closes a user's connections on every gateway.
	Disconnect(ctx context.Context, user string) error
	Gateways(ctx context.Context) ([]broker.Member, error)
	// Look is every gateway with what it looks like from inside.
	Look(ctx context.Context) []broker.Member
	Revoke(ctx context.Context, r broker.Revocation) error
	Revocations(ctx context.Context) ([]broker.Revocation, error)
}

// Config is what the calls work under.
type Config struct {
	Gateway Gateway
	// Dev allows all to callers on this machine while there are no keys.
	Dev bool
	// Batch bounds the messages of one call, BodyBytes the bytes of one body, and
	// Requests the calls that are answered at once: together with BodyBytes what
	// bodies take.
	Batch     int
	BodyBytes int64
	Requests  int
	Metrics   *metrics.Set
	Log       *slog.Logger
}

// API answers the calls of section 9 of the protocol.
type API struct {
	cfg      Config // immutable
	keys     atomic.Pointer[auth.Keys]
	inFlight atomic.Int64
}

// NewAPI makes an API that has no keys.
func NewAPI(cfg Config) *API { return &API{cfg: cfg} }

// SetKeys puts keys in force in place of those before; nil: there are none.
func (a *API) SetKeys(k *auth.Keys) { a.keys.Store(k) }

const (
	// callTime bounds what a call waits for the broker.
	callTime = 10 * time.Second
	// answerTime bounds how long an answer may be in being taken.
	answerTime = 30 * time.Second
	// countedAnswer is the longest answer whose bytes net/http counts by itself.
	countedAnswer = 2 << 10
	// statusGone counts an answer that nobody waited for.
	statusGone = 499
)

// exchange is one call and its answer.
type exchange struct {
	api    *API
	w      http.ResponseWriter
	r      *http.Request
	call   metrics.HTTPCall
	name   string // of the room or the user in the path
	key    *auth.Key
	status int    // answered; 0: not yet
	id     string // for the answer and the log; empty: none
}

// ServeHTTP answers a call, whatever its path.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchange{api: a, w: w, r: r, call: metrics.HTTPNone, id: requestID(r.Header)}
	defer x.end()
	if p := x.run(); p != nil {
		x.refuse(p)
	}
}

// run does the call, or says why not.
func (x *exchange) run() *problem {
	res, name := find(x.r.URL)
	if res == nil {
		return &problem{status: http.StatusNotFound, code: protocol.InvalidRequest, detail: "there is no such call; /openapi.yaml has them all"}
	}
	c := res.call(x.r.Method)
	if c == nil {
		return &problem{status: http.StatusMethodNotAllowed, code: protocol.InvalidRequest,
			detail: "this path has no such method", header: "Allow", value: res.allow()}
	}
	x.call, x.name = c.is, name
	if p := x.authenticate(); p != nil {
		return p
	}
	if res.name != nil {
		if p := res.name(x); p != nil {
			return p
		}
	}
	if !c.may(x.api, x.key, x.name) {
		return &problem{status: http.StatusForbidden, code: protocol.Forbidden, detail: "this key is not for that"}
	}
	if !x.begin() {
		return unavailable("too many calls are being answered")
	}
	defer x.done()
	return c.answer(x)
}

// begin takes the call in, if there are not too many already. Only who has a key
// comes this far, and only from here on is a body read.
func (x *exchange) begin() bool {
	if x.api.inFlight.Add(1) > int64(x.api.cfg.Requests) {
		x.api.inFlight.Add(-1)
		return false
	}
	x.api.cfg.Metrics.HTTPInFlight.Add(1)
	return true
}

func (x *exchange) done() {
	x.api.inFlight.Add(-1)
	x.api.cfg.Metrics.HTTPInFlight.Add(-1)
}

// end counts the call. One whose handling panics is answered as far as it can be:
// nothing that is sent to a gateway may end it.
func (x *exchange) end() {
	if v := recover(); v != nil {
		x.fault("panic", v, "stack", string(debug.Stack()))
		x.refuse(&problem{status: http.StatusInternalServerError, code: protocol.Internal, detail: internalDetail})
	}
	x.api.cfg.Metrics.HTTPRequest(x.call, x.status)
}

// fault logs what should not have happened.
func (x *exchange) fault(what ...any) {
	if x.id == "" {
		x.id = rand.Text()
	}
	x.api.cfg.Log.Error("call failed", append([]any{"call", x.call.String(), "request_id", x.id}, what...)...)
}

// refuse answers with a problem, unless something was answered before. What is not
// done because the caller has gone is no fault of ours.
func (x *exchange) refuse(p *problem) {
	if x.status != 0 {
		return
	}
	p.write(x.w, x.id)
	x.status = p.status
	if p.status == http.StatusServiceUnavailable && x.r.Context().Err() != nil {
		x.status = statusGone
	}
}

// reply answers with a JSON value, on a line, as terminals like it.
func (x *exchange) reply(value []byte) {
	value = append(value, '\n')
	h := x.w.Header()
	h["Content-Type"] = jsonType
	h["Cache-Control"] = noStore
	if len(value) > countedAnswer {
		h.Set("Content-Length", strconv.Itoa(len(value)))
	}
	x.status = http.StatusOK
	_, _ = x.w.Write(value) // who has gone needs no answer
}

// requestID is what the caller names its call, if that is fit to be logged.
func requestID(h http.Header) string {
	v := h["X-Request-Id"]
	if len(v) != 1 || v[0] == "" || len(v[0]) > protocol.MaxRequestID {
		return ""
	}
	for i := range len(v[0]) {
		if c := v[0][i]; c <= ' ' || c >= 0x7f {
			return ""
		}
	}
	return v[0]
}
