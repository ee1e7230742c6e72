package client

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

var (
	// ErrConfig is wrapped by errors about a Config.
	ErrConfig = errors.New("client configuration")
	// ErrPermanent is wrapped by what Run returns when coming back makes no
	// sense; the *CloseError or *RefusedError behind it says why.
	ErrPermanent = errors.New("not connecting again")
	// ErrClosed is the end of a connection that Close ended.
	ErrClosed = errors.New("connection closed")
	// ErrSilent is the end of a connection on which nothing arrived for the
	// heartbeat's timeout.
	ErrSilent = errors.New("heartbeat timeout")
	// ErrTooBig refuses a request longer than the gateway's limit.
	ErrTooBig = errors.New("longer than the gateway takes")
)

// CloseError is the end of a connection by a close frame.
type CloseError struct {
	Code   uint16 // 1005: the frame had none
	Reason string
	Local  bool // this side found fault with what the gateway sent
}

// Error returns code and reason.
func (e *CloseError) Error() string {
	side := "gateway"
	if e.Local {
		side = "client"
	}
	return fmt.Sprintf("closed by the %s: %d %s", side, e.Code, e.Reason)
}

// RefusedError is an HTTP answer to the handshake that is not 101.
type RefusedError struct {
	Status     int
	Code       string // of the JSON error body; empty: there was none
	Message    string
	RetryAfter time.Duration // 0: not said
}

// Error returns status, code and message.
func (e *RefusedError) Error() string {
	text := fmt.Sprintf("handshake refused: %d %s", e.Status, http.StatusText(e.Status))
	if e.Code != "" {
		text += ": " + e.Code
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// verdict says whether to come back after a connection, or an attempt at one,
// ended with err. Whatever is neither a close frame nor an HTTP answer is the
// network's fault, and passes.
func verdict(err error) protocol.Verdict {
	var refused *RefusedError
	var closed *CloseError
	switch {
	case errors.As(err, &refused):
		switch {
		case refused.Status >= 500, refused.Status == http.StatusTooManyRequests, refused.Status == http.StatusRequestTimeout:
			return protocol.ComeBackLater
		case refused.Status == http.StatusUnauthorized:
			return protocol.NewToken
		default:
			return protocol.Stop
		}
	case errors.As(err, &closed):
		if closed.Local {
			return protocol.ComeBackLater
		}
		return protocol.Retry(closed.Code)
	case errors.Is(err, ErrConfig), errors.Is(err, errSameToken):
		return protocol.Stop
	default:
		return protocol.ComeBack
	}
}
