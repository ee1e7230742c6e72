package gateway

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// issuer signs tokens which the gateways take that are made with it.
type issuer struct {
	t        testing.TB
	signer   *auth.Signer
	verifier *auth.Verifier
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("0123456789abcdef0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	signer, err := auth.SecretSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.NewVerifier(auth.Config{SecretFiles: []string{secret}})
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{t: t, signer: signer, verifier: verifier}
}

// trusted lets a gateway take the tokens.
func (i *issuer) trusted(c *setup) { c.Auth.Verifier = i.verifier }

// token is one with these claims, for an hour unless they say when it runs out.
func (i *issuer) token(c auth.Claims) string {
	i.t.Helper()
	if c.Expires.IsZero() {
		c.Expires = time.Now().Add(time.Hour)
	}
	token, err := i.signer.Sign(c)
	if err != nil {
		i.t.Fatal(err)
	}
	return token
}

// of is a user's token that may do what the rooms allow to anyone.
func (i *issuer) of(user string) string { return i.token(auth.Claims{Subject: user}) }

func withToken(token string) dialing { return dialing{path: "/ws?token=" + token} }

func TestTheTokenSaysWhoTheUserIs(t *testing.T) {
	i := newIssuer(t)
	s := run(t, i.trusted, func(c *setup) { c.Auth.Required = true })
	token := i.of("ada")
	for _, d := range []dialing{
		withToken(token),
		{headers: []string{"Authorization: Bearer " + token}},
		{headers: []string{"authorization: bearer  " + token}},
		{headers: []string{"Sec-WebSocket-Protocol: fanfare.v1.json, bearer." + token}},
		{headers: []string{"Authorization: Basic YTpi", "Sec-WebSocket-Protocol: bearer." + token, "Sec-WebSocket-Protocol: fanfare.v1.json"}},
	} {
		c, res := s.handshake(d)
		if p := res.Header.Get("Sec-WebSocket-Protocol"); res.StatusCode != 101 || p != "" && p != protocol.Subprotocol {
			t.Fatalf("%v: %s, subprotocol %q, %s", d.headers, res.Status, p, c.raw)
		}
		if w := c.expect("welcome").Welcome; w.User != "ada" {
			t.Errorf("%v: welcome %+v", d.headers, w)
		}
		c.join("r", "")
		c.publish("r", "1")
		if page, err := s.gw.History(t.Context(), queryAll("r")); err != nil || page.Messages[len(page.Messages)-1].From != "ada" {
			t.Errorf("messages %+v, %v", page.Messages, err)
		}
	}
}

func TestBadTokensAreRefusedInTheHandshake(t *testing.T) {
	i := newIssuer(t)
	good := i.of("ada")
	s := run(t, i.trusted, func(c *setup) { c.Auth.Required, c.Echo = true, true })
	for _, test := range []struct {
		dialing
		status int
		reason string
	}{
		{dialing{}, 401, "token_missing"},
		{dialing{path: "/echo"}, 401, "token_missing"},
		{dialing{headers: []string{"Authorization: Basic YTpi"}}, 401, "token_missing"},
		{withToken(""), 401, "token"},
		{withToken("x"), 401, "token"},
		{withToken(good + "x"), 401, "token"},
		{withToken(i.token(auth.Claims{Subject: "ada", Expires: time.Now().Add(-time.Minute)})), 401, "token"},
		{dialing{headers: []string{"Authorization: Bearer " + good[1:]}}, 401, "token"},
		{dialing{headers: []string{"Sec-WebSocket-Protocol: fanfare.v1.json, bearer.x"}}, 401, "token"},
		{dialing{path: "/ws?token=" + good + "&token=" + good}, 400, "tokens"},
		{dialing{path: "/ws?token=" + good, headers: []string{"Authorization: Bearer " + good}}, 400, "tokens"},
		{dialing{path: "/ws?token=" + good, headers: []string{"Sec-WebSocket-Protocol: bearer." + good}}, 400, "tokens"},
		{dialing{path: "/ws?token=%zz"}, 400, "query"},
	} {
		was := s.metric(`fanfare_handshakes_rejected_total{reason="` + test.reason + `"}`)
		c, res := s.handshake(test.dialing)
		var body struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal(c.raw, &body); err != nil || body.Error.Message == "" {
			t.Errorf("%s %v: body %s", test.path, test.headers, c.raw)
		}
		challenge := res.Header.Get("WWW-Authenticate")
		unauthorized := res.StatusCode == http.StatusUnauthorized
		if res.StatusCode != test.status || unauthorized != (challenge == "Bearer") || unauthorized != (body.Error.Code == "unauthorized") {
			t.Errorf("%s %v: %s, challenge %q, %s", test.path, test.headers, res.Status, challenge, c.raw)
		}
		s.untilMetric(`fanfare_handshakes_rejected_total{reason="`+test.reason+`"}`, was+1)
	}
	if n := s.metric("fanfare_connections_opened_total"); n != 0 {
		t.Errorf("%v were let in", n)
	}
}

// A token that cannot be verified is not passed over in silence: its user would be
// a guest and not know.
func TestWhereNoKeyIsTrustedNoTokenIs(t *testing.T) {
	i := newIssuer(t)
	s := run(t)
	if _, res := s.handshake(withToken(i.of("ada"))); res.StatusCode != 401 {
		t.Errorf("%s", res.Status)
	}
	if c := s.dial(); c.welcome.User != "guest-"+c.welcome.Connection[len("c-"):] {
		t.Errorf("%+v", c.welcome)
	}
}

func (c *client) auth(token string) protocol.Server {
	c.t.Helper()
	c.sendf(`{"type":"auth","request_id":"a","payload":{"token":%q}}`, token)
	return c.reply("a")
}

func TestATokenIsRenewedForTheSameUserOnly(t *testing.T) {
	i := newIssuer(t)
	s := run(t, i.trusted)
	c := s.connect(withToken(i.of("ada")))
	expires := time.Now().Add(2 * time.Hour).Truncate(time.Second)
	m := c.auth(i.token(auth.Claims{Subject: "ada", Expires: expires}))
	if want := (protocol.Authenticated{User: "ada", ExpiresAt: expires.UnixMilli()}); m.Authenticated != want {
		t.Errorf("%s", c.raw)
	}
	c.fails(`{"type":"auth","payload":{"token":"`+i.of("bob")+`"}}`, "forbidden", "token")
	c.fails(`{"type":"auth","payload":{"token":"`+i.of("ada")+`x"}}`, "unauthorized", "token")
	c.sync()
	guest := s.dial()
	if m := guest.auth(i.of("bob")); m.Authenticated.User != "bob" {
		t.Errorf("%s", guest.raw)
	}
	guest.publish("r", "1")
	if page, _ := s.gw.History(t.Context(), queryAll("r")); page.Messages[0].From != "bob" {
		t.Errorf("%+v", page.Messages)
	}
}

// soon is when a token runs out that is to be seen to: a time is whole seconds.
func soon() time.Time { return time.Now().Add(1500 * time.Millisecond) }

func TestATokenThatRunsOutEndsTheConnection(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	s := run(t, i.trusted, func(c *setup) { c.Loops = 2 })
	var ends []*client
	for range 5 {
		ends = append(ends, s.connect(withToken(i.token(auth.Claims{Subject: "ada", Expires: soon()}))))
	}
	stays := []*client{s.dial(), s.connect(withToken(i.of("ada"))), s.connect(withToken(i.token(auth.Claims{Subject: "ada", Expires: soon()})))}
	stays[2].auth(i.of("ada"))
	late := s.dial()
	late.auth(i.token(auth.Claims{Subject: "bob", Expires: soon()}))
	for _, c := range append(ends, late) {
		c.closed(protocol.CloseToken)
	}
	for _, c := range stays {
		c.sync()
	}
	s.untilMetric(`fanfare_connections_closed_total{reason="token_expired",side="gateway"}`, 6)
}

func TestExpiriesAreInOrderWhateverComesAndGoes(t *testing.T) {
	var e expiries
	base := time.Unix(1_800_000_000, 0)
	callers := make([]*caller, 100)
	for i := range callers {
		callers[i] = &caller{expires: base.Add(time.Duration(i*37%100) * time.Second)}
		e.add(callers[i])
	}
	for i := 0; i < 100; i += 3 {
		e.remove(callers[i])
		e.remove(callers[i]) // it is not there any more
	}
	never := new(caller)
	e.add(never)
	e.remove(never)
	last := time.Time{}
	for n := len(e); n > 0; n-- {
		c := e[0]
		if c.expires.Before(last) || len(e) != n || e[c.at] != c {
			t.Fatalf("%v after %v, %d left", c.expires, last, len(e))
		}
		last = c.expires
		e.remove(c)
	}
}
