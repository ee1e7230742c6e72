package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/broker/memory"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

func named(name, more string) dialing {
	return dialing{path: "/ws?username=" + url.QueryEscape(name) + more}
}

// register asks for a name and returns the reply.
func (c *client) register(name, key string) protocol.Server {
	c.t.Helper()
	if key != "" {
		key = fmt.Sprintf(`,"key":%q`, key)
	}
	c.sendf(`{"type":"register","request_id":"n","payload":{"username":%q%s}}`, name, key)
	return c.reply("n")
}

// taken wants an error that tells who did not get the name.
func (c *client) taken(m protocol.Server) {
	c.t.Helper()
	if m.Type != "error" || m.Err.Code != protocol.UsernameTaken || m.Err.Field != "username" {
		c.t.Errorf("want username_taken, got %s", c.raw)
	}
}

// clock is a time that a test sets forward.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func TestANameIsHeldByOne(t *testing.T) {
	clock := new(clock)
	_, one, two := runTwoOn(t, memory.New(memory.Config{Now: clock.now}))
	a := one.connect(named("ada", ""))
	if a.welcome.User != "ada" || a.welcome.UsernameKey == "" {
		t.Fatalf("%+v", a.welcome)
	}
	key := a.welcome.UsernameKey
	for _, s := range []*service{one, two} {
		c := s.connect(named("ada", ""))
		if c.welcome.User != "guest-"+c.welcome.Connection[2:] || c.welcome.UsernameKey != "" {
			t.Errorf("%+v", c.welcome)
		}
		m := c.next()
		if c.taken(m); m.ID != "" {
			t.Errorf("%s", c.raw)
		}
		c.taken(c.register("ada", ""))
		c.taken(c.register("ada", "guessed"))
		c.conn.Close()
	}
	one.untilMetric("fanfare_names_held", 1)

	// It is kept for who knows its key, on any gateway, and then free.
	a.conn.Close()
	one.untilMetric("fanfare_names_held", 0)
	c := two.dial()
	c.taken(c.register("ada", ""))
	clock.pass(nameGrace - time.Second)
	c.taken(c.register("ada", ""))
	back := two.connect(named("ada", "&username_key="+key))
	if back.welcome.User != "ada" || back.welcome.UsernameKey != key {
		t.Errorf("%+v", back.welcome)
	}
	back.conn.Close()
	two.untilMetric("fanfare_names_held", 0)
	until(t, "it is released", func() bool {
		clock.pass(nameGrace)
		return c.register("ada", "").Type == "registered"
	})
	two.untilMetric(`fanfare_name_claims_total{result="claimed"}`, 2)
}

func TestRegisteringChangesWhoTheUserIs(t *testing.T) {
	t.Parallel()
	s := run(t, listed)
	watcher := s.dial()
	watcher.join("r", watching)
	watcher.expect("presence")
	c := s.dial()
	c.join("r", "")
	watcher.presence("r", []string{c.welcome.User}, nil, 2)
	s.cool()
	m := c.register("Zoe\u0308", "") // is compared, and given back, in NFC
	if m.Registered.Username != "Zo\u00eb" || m.Registered.Key == "" {
		t.Fatalf("%s", c.raw)
	}
	watcher.presence("r", []string{"Zo\u00eb"}, []string{c.welcome.User}, 2)
	c.publish("r", "1")
	for m := watcher.next(); m.Type != "message"; m = watcher.next() {
	}
	if watcher.taken(watcher.register("Zo\u00eb", "")); !strings.Contains(string(watcher.raw), "username_taken") {
		t.Errorf("%s", watcher.raw)
	}
	if page, _ := s.gw.History(t.Context(), queryAll("r")); page.Messages[0].From != "Zo\u00eb" {
		t.Errorf("%+v", page.Messages)
	}
	// Once more is the same; another name gives this one back, for who knows its key.
	if again := c.register("Zo\u00eb", "").Registered; again != m.Registered {
		t.Errorf("%+v, then %+v", m.Registered, again)
	}
	s.cool()
	if m := c.register("zoe", ""); m.Registered.Username != "zoe" {
		t.Fatalf("%s", c.raw)
	}
	watcher.presence("r", []string{"zoe"}, []string{"Zo\u00eb"}, 2)
	other := s.dial()
	other.taken(other.register("Zo\u00eb", ""))
	if m := other.register("Zo\u00eb", m.Registered.Key); m.Type != "registered" {
		t.Errorf("%s", other.raw)
	}
	c.taken(c.register("Zo\u00eb", "")) // and who does not get another keeps its own
	if page := s.users("r"); page[1] != "zoe:1" {
		t.Errorf("%v", page)
	}
}

// A connection may have its own name back, also before others could.
func TestANameThatWasGivenBackIsHeldOnceItIsTakenAgain(t *testing.T) {
	s := run(t)
	c, other := s.dial(), s.dial()
	for range 20 {
		if m := c.register("a", ""); m.Type != "registered" {
			t.Fatalf("%s", c.raw)
		}
		if m := c.register("b", ""); m.Type != "registered" {
			t.Fatalf("%s", c.raw)
		}
	}
	other.taken(other.register("b", ""))
	s.untilMetric("fanfare_names_held", 1)
}

func TestNamesThatAreNone(t *testing.T) {
	i := newIssuer(t)
	s := run(t, i.trusted)
	c := s.dial()
	for _, name := range []string{"", "a b", strings.Repeat("x", 65), "a/b", "\u0000"} {
		c.sendf(`{"type":"register","payload":{"username":%q}}`, strings.ReplaceAll(name, "\u0000", "#"))
		if m := c.expect("error"); m.Err.Code != protocol.InvalidRequest || m.Err.Field != "username" {
			t.Errorf("%q: %s", name, c.raw)
		}
		if _, res := s.handshake(named(name, "")); res.StatusCode != 400 {
			t.Errorf("%q in the URL: %s", name, res.Status)
		}
	}
	for _, query := range []string{"username=a&username=b", "username=a&username_key=", "username=a&username_key=a%20b", "username=a&username_key=k&username_key=k"} {
		if _, res := s.handshake(dialing{path: "/ws?" + query}); res.StatusCode != 400 {
			t.Errorf("%s: %s", query, res.Status)
		}
	}
	s.untilMetric(`fanfare_handshakes_rejected_total{reason="query"}`, 9)
	c.taken(c.register(s.dial().welcome.User, ""))
	c.taken(c.register("guest-of-honour", ""))

	u := s.connect(withToken(i.of("ada")))
	u.fails(`{"type":"register","payload":{"username":"bob"}}`, "forbidden", "username")
	u = s.connect(dialing{path: "/ws?username=bob&token=" + i.of("ada")})
	if m := u.expect("error"); u.welcome.User != "ada" || m.Err.Code != protocol.Forbidden || m.Err.Field != "username" || m.ID != "" {
		t.Errorf("%+v %s", u.welcome, u.raw)
	}
}

// claims lets claims wait until they are let go.
type claims struct {
	waiting chan broker.NameClaim
	free    chan error
}

func heldClaims(c *setup) *claims {
	h := &claims{make(chan broker.NameClaim, 16), make(chan error)}
	c.tap.claiming = func(ctx context.Context, n broker.NameClaim) error {
		h.waiting <- n
		select {
		case err := <-h.free:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return h
}

// The welcome has the name, so it waits for it, and all else for the welcome.
func TestTheWelcomeIsTheFirstFrame(t *testing.T) {
	var h *claims
	s := run(t, func(c *setup) { h = heldClaims(c) })
	c, res := s.handshake(named("ada", "&room=r"))
	if res.StatusCode != 101 {
		t.Fatal(res.Status)
	}
	c.send(`{"type":"ping","request_id":"1"}`)
	c.send(`{"type":"publish","request_id":"2","payload":{"room":"r","data":1}}`)
	receive(t, h.waiting)
	if m, err := c.poll(50 * time.Millisecond); !errors.Is(err, errQuiet) {
		t.Errorf("before the welcome: %s %v %v", c.raw, m, err)
	}
	h.free <- nil
	if w := c.expect("welcome").Welcome; w.User != "ada" {
		t.Errorf("%+v", w)
	}
	got := map[string]bool{}
	for len(got) < 4 {
		m := c.next()
		if got[m.Type] = true; m.Type == "message" && m.Message.From != "ada" {
			t.Errorf("%s", c.raw)
		}
	}
	if !got["joined"] || !got["pong"] || !got["published"] || !got["message"] {
		t.Errorf("%v", got)
	}
}

func TestWhoDoesNotWaitForTheWelcomeIsBounded(t *testing.T) {
	var h *claims
	s := run(t, func(c *setup) { h = heldClaims(c) })
	for n, send := range []func(*client){
		func(c *client) {
			for range earlyMost + 1 {
				_ = c.write(1, []byte(`{"type":"ping"}`))
			}
		},
		func(c *client) { _ = c.write(1, []byte(sized(1, earlyBytesMost+1))) },
	} {
		c, _ := s.handshake(named(fmt.Sprint("user", n), ""))
		claim := receive(t, h.waiting)
		send(c)
		c.closed(protocol.CloseRate)
		c.conn.Close()
		s.untilMetric("fanfare_connections", 0)
		h.free <- nil
		// It was taken for nobody, and is free at once.
		until(t, "it is free", func() bool {
			ok, err := s.tap.People.ClaimName(t.Context(), broker.NameClaim{Name: claim.Name, Key: "k", Connection: "other"})
			return ok && err == nil
		})
	}
	s.untilMetric("fanfare_names_held", 0)
}

// A broker that does not answer holds nobody up.
func TestANameThatIsNotAnsweredIsGivenUp(t *testing.T) {
	s := run(t, func(c *setup) {
		c.nameWait = 200 * time.Millisecond
		heldClaims(c)
	})
	c, _ := s.handshake(named("ada", ""))
	if w := c.expect("welcome").Welcome; w.User != "guest-"+w.Connection[2:] {
		t.Errorf("%+v", w)
	}
	if m := c.expect("error"); m.Err.Code != protocol.Unavailable || m.ID != "" {
		t.Errorf("%s", c.raw)
	}
	s.untilMetric(`fanfare_name_claims_total{result="unavailable"}`, 1)
}

func TestOneNameIsAskedForAtATime(t *testing.T) {
	var h *claims
	s := run(t, func(c *setup) {
		c.nameWait = time.Hour
		h = heldClaims(c)
	})
	c := s.dial()
	c.send(`{"type":"register","request_id":"n","payload":{"username":"bob"}}`)
	receive(t, h.waiting)
	c.fails(`{"type":"register","payload":{"username":"cleo"}}`, "unavailable", "")
	h.free <- nil
	if m := c.reply("n"); m.Registered.Username != "bob" {
		t.Errorf("%s", c.raw)
	}
	c.send(`{"type":"register","request_id":"n","payload":{"username":"dan"}}`)
	receive(t, h.waiting)
	h.free <- broker.ErrUnavailable
	if m := c.reply("n"); m.Type != "error" || m.Err.Code != protocol.Unavailable {
		t.Errorf("%s", c.raw)
	}
	s.untilMetric(`fanfare_name_claims_total{result="unavailable"}`, 1)
}

// A name that is asked for while the connection gets a token is not its any more.
func TestATokenTakesThePlaceOfAName(t *testing.T) {
	i := newIssuer(t)
	var h *claims
	s := run(t, i.trusted, func(c *setup) { h = heldClaims(c) })
	c := s.dial()
	c.send(`{"type":"register","request_id":"n","payload":{"username":"bob"}}`)
	receive(t, h.waiting)
	c.auth(i.of("ada"))
	h.free <- nil
	if m := c.reply("n"); m.Type != "error" || m.Err.Code != protocol.Forbidden {
		t.Errorf("%s", c.raw)
	}
	d := s.dial()
	d.send(`{"type":"register","request_id":"n","payload":{"username":"bob"}}`)
	receive(t, h.waiting)
	h.free <- nil
	if m := d.reply("n"); m.Type != "registered" {
		t.Errorf("%s", d.raw)
	}
	d.auth(i.token(auth.Claims{Subject: "bob2"}))
	s.untilMetric("fanfare_names_held", 0)
}

func TestTooManyClaimsAtOnceAreRefused(t *testing.T) {
	q := nameQueue{wake: make(chan struct{}, 1)}
	for range namesMost {
		if !q.add(nameTask{naming: new(naming)}) {
			t.Fatal("refused too early")
		}
	}
	if q.add(nameTask{naming: new(naming)}) || !q.add(nameTask{claim: new(broker.NameClaim)}) {
		t.Error("one too many was taken, or a release was not")
	}
	for range namesMost + 1 {
		if _, ok := q.take(); !ok {
			t.Fatal("it is empty")
		}
	}
	if _, ok := q.take(); ok || q.claims != 0 || q.tasks != nil {
		t.Error("it is not empty")
	}
}

func TestNamesAreClaimedAgainWhereTheBrokerForgotThem(t *testing.T) {
	kept := newForgetful()
	s := run(t, listed, func(c *setup) {
		c.tap.Broker, c.tap.People = memory.New(memory.Config{}), kept
		c.Broker = c.tap
	})
	a, b := s.connect(named("ada", "")), s.connect(named("bob", ""))
	b.join("r", "")
	kept.forget()
	other := broker.NameClaim{Name: "bob", Key: "k", Connection: "elsewhere", Gateway: "other"}
	if ok, err := kept.ClaimName(t.Context(), other); !ok || err != nil {
		t.Fatal(ok, err)
	}
	s.gw.people.again()
	if m := b.expect("error"); m.Err.Code != protocol.UsernameTaken || m.ID != "" {
		t.Errorf("%s", b.raw)
	}
	b.publish("r", "1")
	if page, _ := s.gw.History(t.Context(), queryAll("r")); page.Messages[0].From != b.welcome.Connection[:0]+"guest-"+b.welcome.Connection[2:] {
		t.Errorf("%+v", page.Messages)
	}
	s.untilUsers("r", "guest-"+b.welcome.Connection[2:]+":1")
	s.untilMetric("fanfare_names_lost_total", 1)
	s.untilMetric("fanfare_names_held", 1)
	other.Name = "ada"
	if ok, err := kept.ClaimName(t.Context(), other); ok || err != nil {
		t.Errorf("ada was not claimed again: %v", err)
	}
	a.sync()
}

// Who has a name by a token shares it with no guest, on whatever gateway that asks,
// and for as long as anybody is there by it.
func TestANameByATokenIsNoGuests(t *testing.T) {
	i := newIssuer(t)
	_, one, two := runTwo(t, i.trusted)
	tabs := []*client{one.connect(withToken(i.of("zed"))), one.connect(withToken(i.of("zed"))), two.connect(withToken(i.of("zed")))}
	claimed := func(s *service) bool { return !s.registerable("zed") }
	for _, s := range []*service{one, two} {
		until(t, "the name is taken on "+s.gw.cfg.ID, func() bool { return claimed(s) })
		c := s.connect(named("zed", ""))
		if c.taken(c.next()); !strings.HasPrefix(c.welcome.User, "guest-") {
			t.Errorf("%+v", c.welcome)
		}
		if m := c.register("zoe"+s.gw.cfg.ID, ""); m.Type != "registered" {
			t.Errorf("another name: %s", c.raw)
		}
	}
	tabs[0].conn.Close()
	tabs[2].conn.Close()
	two.untilMetric("fanfare_connections", 1)
	for range 20 {
		if one.registerable("zed") || two.registerable("zed") {
			t.Fatal("a guest got the name, of whom one tab is left")
		}
	}
	tabs[1].conn.Close()
	until(t, "the name is free", func() bool { return two.registerable("zed") })
}

// registerable says whether a guest who asks gets a name, and gives it back.
func (s *service) registerable(name string) bool {
	s.t.Helper()
	c := s.dial()
	m := c.register(name, "")
	if m.Type == "registered" {
		s.gw.people.release(broker.NameClaim{Name: name, Connection: c.welcome.Connection, Gateway: s.gw.cfg.ID}, 0)
	}
	c.conn.Close()
	return m.Type == "registered"
}

// A guest who has the name of somebody who comes with a token loses it, wherever
// that is.
func TestAGuestYieldsItsNameToATokens(t *testing.T) {
	i := newIssuer(t)
	_, one, two := runTwo(t, i.trusted)
	until(t, "both are known", func() bool {
		known, err := one.gw.Gateways(t.Context())
		return err == nil && len(known) == 2
	})
	for _, at := range []*service{one, two} {
		name := "user" + at.gw.cfg.ID
		guest := one.connect(named(name, ""))
		if guest.welcome.User != name {
			t.Fatalf("%+v", guest.welcome)
		}
		c := at.connect(withToken(i.of(name)))
		m := guest.next()
		if guest.taken(m); m.ID != "" {
			t.Errorf("%s", guest.raw)
		}
		guest.join("r", "")
		guest.send(`{"type":"publish","payload":{"room":"r","data":1}}`)
		if from := guest.expect("message").Message.From; !strings.HasPrefix(from, "guest-") {
			t.Errorf("a message from %s", from)
		}
		guest.send(`{"type":"leave","request_id":"l","payload":{"room":"r"}}`)
		guest.reply("l")
		c.auth(i.of(name)) // the same user: nothing changes
		guest.taken(guest.register(name, ""))
	}
}

// Where guests come to be let in, those who were here by a token keep their names.
func TestNamesByTokensHoldOnceGuestsAreLetIn(t *testing.T) {
	i := newIssuer(t)
	_, one, two := runTwo(t, i.trusted, func(c *setup) { c.Auth.Required = true })
	one.connect(withToken(i.of("zed")))
	for _, s := range []*service{one, two} {
		s.apply(func(live *Live) { live.Auth.Required = false })
	}
	until(t, "the name is taken", func() bool { return !two.registerable("zed") })
}
