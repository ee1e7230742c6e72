package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// errSameToken ends a client whose next token is the one that was refused.
var errSameToken = errors.New("the gateway does not take this token any more")

// identity is who the client is to the gateway. It outlives connections.
type identity struct {
	source func(context.Context) (string, error) // nil: there are no tokens

	mu      sync.Mutex
	name    string // the username; empty: none
	key     string // with which the gateway gives the name back; empty: not known
	token   string // the one shown last
	refused bool   // and the gateway does not take it any more
}

func newIdentity(c *Config) *identity {
	return &identity{source: c.Token, name: c.Username, key: c.UsernameKey}
}

// next asks for a token; empty: there are none. It is the one shown from now on.
func (i *identity) next(ctx context.Context) (string, error) {
	if i.source == nil {
		return "", nil
	}
	token, err := i.source(ctx)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.refused && token == i.token {
		return "", errSameToken
	}
	i.token, i.refused = token, false
	return token, nil
}

// refuse says that the gateway does not take the token any more; it reports
// whether there may be another.
func (i *identity) refuse() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.refused = true
	return i.source != nil
}

// shown returns the token that was shown last.
func (i *identity) shown() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.token
}

// registered remembers the name that the gateway gave, and its key.
func (i *identity) registered(name, key string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.name, i.key = name, key
}

// username returns the name to register, and its key if that is known.
func (i *identity) username() (name, key string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.name, i.key
}

// expiry reads when a token runs out, which is all that its bearer needs of it;
// zero: it does not say.
func expiry(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	var claims struct {
		Exp float64 `json:"exp"`
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(body, &claims) != nil || claims.Exp <= 0 || claims.Exp > protocol.MaxSeq/1000 {
		return time.Time{}
	}
	return time.UnixMilli(int64(claims.Exp * 1000))
}

// renewAhead is how long before its end a token is renewed; one that lives less
// than four times that, when a quarter of its life is left.
const renewAhead = 30 * time.Second

// renew keeps the connection's token good: before one runs out it shows the
// gateway the next.
func (c *Conn) renew() {
	wait := newBackoff(c.cfg)
	for token := c.who.shown(); ; {
		expires := expiry(token)
		if expires.IsZero() {
			return
		}
		left := time.Until(expires)
		if sleep(c.ctx, left-min(left/4, renewAhead)) != nil {
			return
		}
		for {
			next, err := c.who.next(c.ctx)
			if err == nil && next == token {
				return // it runs out, and the gateway says so
			}
			if err == nil {
				_, err = c.Auth(c.ctx, next)
			}
			if err == nil {
				token = next
				break
			}
			c.log.Debug("token not renewed", "error", err)
			if sleep(c.ctx, wait.next()) != nil {
				return
			}
		}
		wait.reset()
	}
}

// introduce registers the name, if there is one. A name that is not to be had
// leaves the connection a guest's.
func (c *Conn) introduce() {
	wait := newBackoff(c.cfg)
	for {
		name, _ := c.who.username()
		if name == "" {
			return
		}
		_, err := c.Register(c.ctx, name)
		var refused *protocol.Error
		if !errors.As(err, &refused) {
			return // it has the name, or the connection ended
		}
		if !passing(refused) {
			c.emit(Refused{Err: refused})
			return
		}
		if sleep(c.ctx, max(refused.RetryAfter, wait.next())) != nil {
			return
		}
	}
}
