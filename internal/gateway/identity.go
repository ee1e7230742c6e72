package gateway

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// Auth is whose tokens are believed, and whether one is needed.
type Auth struct {
	Verifier *auth.Verifier // nil: no token verifies; Gateway.Stop closes it
	Required bool           // refuse who has no token
}

// caller is who a session is, where it is more than a guest. An idle guest costs
// no memory for being one.
type caller struct {
	session  *session
	user     string
	identity *auth.Identity // nil: the name was registered
	key      string         // of a registered name; empty: there is a token
	expires  time.Time      // with the leeway; zero: never
	counted  bool           // as one who is here by a token
	at       int            // in the loop's expiries
}

// user is the name by which others know the session.
func (ses *session) user() string {
	if ses.caller != nil {
		return ses.caller.user
	}
	// Who joins many rooms, or publishes much, has one name for all of it.
	if g := &ses.shard.guest; g.session != ses {
		*g = guestName{ses, ses.name(guestPrefix)}
	}
	return ses.shard.guest.name
}

// guestName is the name of the guest who was asked for last.
type guestName struct {
	session *session
	name    string
}

func (ses *session) identity() *auth.Identity {
	if ses.caller == nil {
		return nil
	}
	return ses.caller.identity
}

// bearer begins the subprotocol that is a token.
const bearer = "bearer."

// tokensOf returns the tokens of a request, from wherever they stand.
func tokensOf(query url.Values, authorization, subprotocols []string) []string {
	tokens := query["token"]
	for _, value := range authorization {
		scheme, token, ok := strings.Cut(value, " ")
		if ok && strings.EqualFold(scheme, "Bearer") {
			tokens = append(tokens, strings.TrimLeft(token, " "))
		}
	}
	for _, name := range subprotocols {
		if token, ok := strings.CutPrefix(name, bearer); ok {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

// Identify says who sends a request: by its query, the values of its Authorization
// header and the WebSocket subprotocols that it offers. Without a token, where none
// is needed, that is nil. Nothing of the request is kept.
func (g *Gateway) Identify(query url.Values, authorization, subprotocols []string) (*auth.Identity, *frame.Refusal) {
	tokens := tokensOf(query, authorization, subprotocols)
	switch {
	case len(tokens) > 1:
		return nil, frame.BadRequest(frame.ReasonTokens, "there is more than one token")
	case len(tokens) == 0 && g.live().Auth.Required:
		return nil, unauthorized(frame.ReasonTokenMissing, "a token is required")
	case len(tokens) == 0:
		return nil, nil
	}
	id, err := g.verify(tokens[0])
	if err != nil {
		return nil, unauthorized(frame.ReasonToken, err.Error())
	}
	return id, nil
}

func unauthorized(reason, message string) *frame.Refusal {
	return &frame.Refusal{
		Status: http.StatusUnauthorized, Reason: reason, Code: string(protocol.Unauthorized), Message: message,
		Header: [][2]string{{"WWW-Authenticate", "Bearer"}},
	}
}

// verify returns whom a token is of. Its errors are auth.ErrToken.
func (g *Gateway) verify(token string) (*auth.Identity, error) {
	v := g.live().Auth.Verifier
	if v == nil {
		return nil, auth.ErrToken
	}
	id, err := v.Verify(token)
	if err != nil {
		return nil, err
	}
	if g.revocations.Revoked(id) {
		g.cfg.Metrics.TokenRefused(metrics.TokenRevoked)
		return nil, auth.Refused(metrics.TokenRevoked)
	}
	return id, nil
}

// newCaller makes the caller of a verified identity. It counts for nothing before
// session.enter.
func (g *Gateway) newCaller(ses *session, id *auth.Identity) *caller {
	c := &caller{session: ses, user: id.User, identity: id}
	if v := g.live().Auth.Verifier; v != nil && !id.Expires.IsZero() {
		c.expires = id.Expires.Add(v.Leeway())
	}
	return c
}

var (
	errUnauthorized = &protocol.Error{Code: protocol.Unauthorized, Message: auth.ErrToken.Error(), Field: "token"}
	errOtherUser    = &protocol.Error{Code: protocol.Forbidden, Message: "the token is of another user", Field: "token"}
)

// authenticate takes another token of the same user, or a guest's first one. What
// the rooms joined allowed before is judged anew.
func (ses *session) authenticate(r *protocol.Request) {
	s := ses.shard
	id, err := s.gw.verify(string(r.Token))
	if err != nil {
		ses.fail(r.ID, errUnauthorized)
		return
	}
	if was := ses.identity(); was != nil && was.User != id.User {
		ses.fail(r.ID, errOtherUser)
		return
	}
	if problem := ses.mayBecome(id.User); problem != nil {
		ses.fail(r.ID, problem)
		return
	}
	ses.become(s.gw.newCaller(ses, id))
	reply := protocol.Authenticated{User: id.User}
	if !id.Expires.IsZero() {
		reply.ExpiresAt = id.Expires.UnixMilli()
	}
	s.payload = protocol.AppendAuthenticated(s.payload[:0], r.ID, reply)
	s.send(ses.conn, s.payload)
	ses.judge()
}

// become makes the session another caller; nil is a guest. In the rooms that it is
// in, one user leaves and another comes.
func (ses *session) become(c *caller) {
	s, was, user := ses.shard, ses.caller, ses.user()
	if was != nil {
		s.expiries.remove(was)
	}
	if was != nil && was.key != "" {
		s.gw.people.letGo(ses, was.user)
	}
	ses.caller = c
	if c != nil {
		s.expiries.add(c)
		s.gw.people.arrived(c)
	}
	if was != nil {
		s.gw.people.departed(was)
	}
	ses.recount()
	if ses.user() == user {
		return
	}
	for _, m := range ses.rooms {
		if m.room.listed {
			r := m.room.shared
			s.gw.people.queue(r, r.roster.rename(user, ses.user(), was == nil, c == nil))
		}
	}
}
