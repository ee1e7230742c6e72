package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// problem is an error as HTTP answers it (RFC 9457). Its code is of section 2 of
// the protocol, where there is none for an unknown path and the like: they are
// invalid requests, and the status says of what kind.
type problem struct {
	status     int
	code       protocol.Code
	detail     string
	field      string        // empty: of no one field
	retryAfter time.Duration // 0: not said
	header     string        // with its value, for the answer; empty: none
	value      string
}

// statuses are those of the codes that are answered over HTTP. The others are of
// a connection's conversation alone.
var statuses = map[protocol.Code]int{
	protocol.BadJSON:        http.StatusBadRequest,
	protocol.InvalidRequest: http.StatusBadRequest,
	protocol.Unauthorized:   http.StatusUnauthorized,
	protocol.Forbidden:      http.StatusForbidden,
	protocol.LimitExceeded:  http.StatusRequestEntityTooLarge,
	protocol.RateLimited:    http.StatusTooManyRequests,
	protocol.Unavailable:    http.StatusServiceUnavailable,
}

// retryUnavailable is when to come back to a broker that was away.
const retryUnavailable = time.Second

func invalid(field, rule string) *problem {
	return &problem{status: http.StatusBadRequest, code: protocol.InvalidRequest, detail: field + ": " + rule, field: field}
}

// refused is an error of the protocol.
func refused(e *protocol.Error) *problem {
	status, ok := statuses[e.Code]
	if !ok {
		status = http.StatusInternalServerError
	}
	p := &problem{status: status, code: e.Code, detail: e.Message, field: e.Field, retryAfter: e.RetryAfter}
	if e.Code == protocol.Unavailable && p.retryAfter == 0 {
		p.retryAfter = retryUnavailable
	}
	return p
}

func unavailable(detail string) *problem {
	return refused(&protocol.Error{Code: protocol.Unavailable, Message: detail})
}

const cursorRule = "the cursor of the page before"

const internalDetail = "a fault of the gateway, logged there with the request_id"

// failed is what the gateway could not do; an error that is not expected is
// logged.
func (x *exchange) failed(err error) *problem {
	var e *protocol.Error
	switch {
	case errors.As(err, &e):
		return refused(e)
	case errors.Is(err, broker.ErrCursor):
		return invalid("cursor", cursorRule)
	case errors.Is(err, broker.ErrUnavailable), errors.Is(err, broker.ErrClosed),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		x.api.cfg.Log.Debug("call not answered", "call", x.call.String(), "request_id", x.id, "error", err)
		return unavailable("the broker cannot do it now")
	}
	x.fault("error", err)
	return &problem{status: http.StatusInternalServerError, code: protocol.Internal, detail: internalDetail}
}

// problemBody is a problem on the wire. With no type of its own a problem has the
// status' title (RFC 9457 section 4.2.1); programs look at the code.
type problemBody struct {
	Type         string        `json:"type"`
	Title        string        `json:"title"`
	Status       int           `json:"status"`
	Detail       string        `json:"detail"`
	Code         protocol.Code `json:"code"`
	Field        string        `json:"field,omitempty"`
	RetryAfterMS int64         `json:"retry_after_ms,omitempty"`
	RequestID    string        `json:"request_id,omitempty"`
}

// body is the problem as JSON.
func (p *problem) body(requestID string) json.RawMessage {
	text, err := json.Marshal(problemBody{
		Type: "about:blank", Title: http.StatusText(p.status), Status: p.status, Detail: p.detail, Code: p.code,
		Field: p.field, RetryAfterMS: ceil(p.retryAfter, time.Millisecond), RequestID: requestID,
	})
	if err != nil {
		panic("api: a problem is no JSON: " + err.Error())
	}
	return text
}

// write answers with the problem.
func (p *problem) write(w http.ResponseWriter, requestID string) {
	h := w.Header()
	h["Content-Type"] = problemType
	h["Cache-Control"] = noStore
	if p.header != "" {
		h.Set(p.header, p.value)
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(ceil(p.retryAfter, time.Second), 10))
	}
	w.WriteHeader(p.status)
	_, _ = w.Write(append(p.body(requestID), '\n')) // who has gone needs no answer
}

// ceil rounds up: who comes back at that time must not be early.
func ceil(d, unit time.Duration) int64 { return int64((d + unit - 1) / unit) }

// The values of headers are shared, for net/http only reads them.
var (
	problemType = []string{"application/problem+json"}
	jsonType    = []string{"application/json"}
	noStore     = []string{"no-store"}
)
