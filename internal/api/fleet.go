package api

import (
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// gateways is GET /v1/gateways.
func (x *exchange) gateways() *problem {
	ctx, cancel := x.wait()
	defer cancel()
	members, err := x.api.cfg.Gateway.Gateways(ctx)
	if err != nil {
		return x.failed(err)
	}
	if members == nil {
		members = []broker.Member{}
	}
	return x.value(map[string]any{"gateways": members})
}

// fleet is GET /v1/fleet.
func (x *exchange) fleet() *problem {
	ctx, cancel := x.wait()
	defer cancel()
	return x.value(map[string]any{"gateways": x.api.cfg.Gateway.Look(ctx)})
}

// disconnect is DELETE /v1/users/{user}/connections.
func (x *exchange) disconnect() *problem {
	ctx, cancel := x.wait()
	defer cancel()
	if err := x.api.cfg.Gateway.Disconnect(ctx, x.name); err != nil {
		return x.failed(err)
	}
	x.empty()
	return nil
}

const (
	maxTokenID = 256 // bytes
	// forGood is how long a revocation is kept that says nothing: longer than tokens
	// are good for.
	forGood = 10 * 365 * 24 * time.Hour
)

// revocationBody is a revocation on the wire; times are of RFC 3339.
type revocationBody struct {
	TokenID string    `json:"jti,omitzero"`
	User    string    `json:"user,omitzero"`
	Before  time.Time `json:"before,omitzero"` // with User
	Until   time.Time `json:"until"`
}

// revoke is POST /v1/revocations.
func (x *exchange) revoke() *problem {
	s := scratches.Get().(*scratch)
	defer s.release()
	body, p := x.read(s)
	if p != nil {
		return p
	}
	r, p := parseRevocation(body, time.Now())
	if p != nil {
		return p
	}
	ctx, cancel := x.wait()
	defer cancel()
	if err := x.api.cfg.Gateway.Revoke(ctx, broker.Revocation(r)); err != nil {
		return x.failed(err)
	}
	return x.value(r)
}

// parseRevocation reads {jti | user, before?, until?}. Where a user's tokens are
// revoked and nothing is said of before, it is those issued until now.
func parseRevocation(body []byte, now time.Time) (r revocationBody, p *problem) {
	var given struct {
		TokenID *string    `json:"jti"`
		User    *string    `json:"user"`
		Before  *time.Time `json:"before"`
		Until   *time.Time `json:"until"`
	}
	if p := readObject(body, &given); p != nil {
		return r, p
	}
	switch {
	case given.TokenID == nil && given.User == nil:
		return r, invalid("jti", "the id of a token, or user, is required")
	case given.TokenID != nil && given.User != nil:
		return r, invalid("jti", "not together with user")
	case given.TokenID != nil:
		if r.TokenID = *given.TokenID; r.TokenID == "" || len(r.TokenID) > maxTokenID {
			return r, invalid("jti", "1 to 256 bytes")
		}
		if given.Before != nil {
			return r, invalid("before", "only together with user")
		}
	default:
		var ok bool
		if r.User, ok = protocol.NormalizeUser(*given.User); !ok {
			return r, invalid("user", "1 to 64 letters, digits and _ - . @")
		}
		if r.Before = now; given.Before != nil {
			r.Before = *given.Before
		}
	}
	r.Until = now.Add(forGood)
	if given.Until != nil {
		r.Until = *given.Until
	}
	if !r.Until.After(now) || r.Until.After(now.Add(10*forGood)) {
		return r, invalid("until", "a time to come, within a hundred years")
	}
	if !r.Before.IsZero() && (r.Before.Year() < 1970 || r.Before.After(now.Add(10*forGood))) {
		return r, invalid("before", "a time from 1970 on, within a hundred years")
	}
	r.Before, r.Until = wholeMillis(r.Before), wholeMillis(r.Until)
	return r, nil
}

// wholeMillis rounds a time up to the milliseconds that brokers keep.
func wholeMillis(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(time.Millisecond - time.Nanosecond).Truncate(time.Millisecond).UTC()
}

// revocations is GET /v1/revocations.
func (x *exchange) revocations() *problem {
	ctx, cancel := x.wait()
	defer cancel()
	all, err := x.api.cfg.Gateway.Revocations(ctx)
	if err != nil {
		return x.failed(err)
	}
	body := struct {
		Revocations []revocationBody `json:"revocations"`
	}{make([]revocationBody, len(all))}
	for i, r := range all {
		body.Revocations[i] = revocationBody(r)
	}
	return x.value(body)
}
