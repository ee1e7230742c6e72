package gateway

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/loop"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// proxied makes the gateway believe the tests about whom they speak for.
func proxied(c *setup) {
	c.Loops = 2
	c.Edge = NewEdge(EdgeConfig{TrustedProxies: []string{"127.0.0.1"}})
}

// from is a connection of an address.
func from(address string) dialing { return dialing{headers: []string{"X-Forwarded-For: " + address}} }

// as is one of a user.
func (d dialing) as(token string) dialing {
	d.headers = append(slices.Clone(d.headers), "Authorization: Bearer "+token)
	return d
}

// wantTooMany is a handshake that is refused for who it is from.
func (s *service) wantTooMany(d dialing, code protocol.Code) (wait int) {
	s.t.Helper()
	c, res := s.handshake(d)
	var body struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(c.raw, &body); err != nil || res.StatusCode != 429 || body.Error.Code != string(code) {
		s.t.Errorf("handshake: %s %s, want 429 %s", res.Status, c.raw, code)
		return 0
	}
	wait, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if err != nil || wait < 1 {
		s.t.Errorf("Retry-After: %q", res.Header.Get("Retry-After"))
	}
	return wait
}

func (s *service) refusals(limit string) float64 {
	s.t.Helper()
	return s.metric(`fanfare_limit_refusals_total{limit="` + limit + `"}`)
}

func TestConnectionsOfAnAddressAreLimited(t *testing.T) {
	s := run(t, proxied, func(c *setup) { c.Limits.Address.Connections = 2 })
	for _, a := range [][3]string{
		{"192.0.2.1", "192.0.2.1", "192.0.2.1"},
		{"2001:db8::1", "2001:db8::2:1", "2001:db8::ffff"}, // a /64
	} {
		first, _ := s.connect(from(a[0])), s.connect(from(a[1]))
		s.wantTooMany(from(a[2]), protocol.LimitExceeded)
		first.conn.Close()
		until(t, "there is room again", func() bool {
			c, res := s.handshake(from(a[2]))
			c.conn.Close()
			return res.StatusCode == 101
		})
	}
	s.connect(from("192.0.2.2"))
	s.connect(from("2001:db8:0:1::1"))
	if n := s.refusals("address_connections"); n < 2 || n != s.metric(`fanfare_handshakes_rejected_total{reason="address_connections"}`) {
		t.Errorf("%v refusals are counted", n)
	}
	s.untilMetric("fanfare_limit_addresses", 4)
}

func TestAnAddressThatConnectsTooOftenWaits(t *testing.T) {
	s := run(t, proxied, func(c *setup) { c.Limits.Address.ConnectsPerSecond = 1 })
	for range 2 {
		s.connect(from("192.0.2.1")).conn.Close()
	}
	wait := s.wantTooMany(from("192.0.2.1"), protocol.RateLimited)
	s.connect(from("192.0.2.2"))
	<-time.After(time.Duration(wait) * time.Second)
	s.connect(from("192.0.2.1"))
	if n := s.refusals("address_connects"); n != 1 {
		t.Errorf("%v refusals are counted", n)
	}
}

// What is refused for another reason holds no place.
func TestARefusedHandshakeIsNoConnection(t *testing.T) {
	i := newIssuer(t)
	s := run(t, proxied, i.trusted, func(c *setup) {
		c.Echo = true
		c.Limits.Address.Connections, c.Limits.User.Connections = 1, 1
	})
	ada := i.of("ada")
	held := s.connect(from("192.0.2.9").as(ada))
	for _, d := range []struct {
		dialing
		status int
	}{
		{dialing{headers: []string{"Origin: http://evil.test"}}, 403},
		{dialing{path: "/ws?room=%20"}, 400},
		{dialing{path: "/ws?token=x"}, 401},
		{dialing{headers: []string{"Sec-WebSocket-Protocol: ,,@"}}, 400},
		{dialing{}.as(ada), 429}, // the user has one
		{dialing{path: PathEcho}, 101},
	} {
		d.headers = append(d.headers, from("192.0.2.1").headers...)
		for range 3 {
			c, res := s.handshake(d.dialing)
			c.conn.Close()
			if res.StatusCode != d.status {
				t.Errorf("%+v: %s", d, res.Status)
			}
		}
	}
	s.connect(from("192.0.2.1"))
	held.sync()
}

func TestConnectionsOfAUserAreLimitedWhereverTheyAreFrom(t *testing.T) {
	i := newIssuer(t)
	s := run(t, proxied, i.trusted, func(c *setup) { c.Limits.User.Connections, c.Limits.User.ConnectsPerSecond = 2, 3 })
	ada, ben := i.of("ada"), i.of("ben")
	first := s.connect(from("192.0.2.1").as(ada))
	s.connect(from("192.0.2.2").as(ada))
	s.wantTooMany(from("192.0.2.3").as(ada), protocol.LimitExceeded)
	s.connect(from("192.0.2.1").as(ben))
	guest := s.connect(from("192.0.2.1"))
	s.connect(from("192.0.2.1"))
	guest.send(`{"type":"auth","request_id":"a","payload":{"token":"` + ada + `"}}`)
	if m := guest.reply("a"); m.Type != "error" || m.Err.Code != protocol.LimitExceeded {
		t.Errorf("a guest who becomes a user that has all: %s", guest.raw)
	}
	first.conn.Close()
	until(t, "there is room again", func() bool {
		guest.send(`{"type":"auth","request_id":"b","payload":{"token":"` + ada + `"}}`)
		return guest.reply("b").Type == "authenticated"
	})
	guest.send(`{"type":"auth","request_id":"c","payload":{"token":"` + i.of("ada") + `"}}`) // renewed
	guest.reply("c")
	s.wantTooMany(from("192.0.2.4").as(ada), protocol.LimitExceeded)
	for range 20 {
		c, _ := s.handshake(from("192.0.2.4").as(ben))
		c.conn.Close()
	}
	if s.refusals("user_connections") == 0 || s.refusals("user_connects") == 0 {
		t.Errorf("counted: %v connections, %v connects", s.refusals("user_connections"), s.refusals("user_connects"))
	}
}

// One connection has a registered name: that is not one of those that a user may
// have, nor is it that user. What it does is counted all the same.
func TestARegisteredNameIsCountedForItselfAlone(t *testing.T) {
	i := newIssuer(t)
	s := run(t, i.trusted, func(c *setup) { c.Limits.User.Connections, c.Limits.User.MessagesPerSecond = 1, 10 })
	name := s.connect(named("ada", ""))
	if name.welcome.User != "ada" {
		t.Fatalf("it is %s", name.welcome.User)
	}
	user := s.connect(dialing{}.as(i.of("ben")))
	s.wantTooMany(dialing{}.as(i.of("ben")), protocol.LimitExceeded)
	for range 2 {
		other := s.dial()
		other.taken(other.register("ada", ""))
		other.taken(other.register("ben", ""))
	}
	become := func(c *client) protocol.Server {
		c.send(`{"type":"auth","request_id":"a","payload":{"token":"` + i.of("ben") + `"}}`)
		return c.reply("a")
	}
	if m := become(name); m.Err == nil || m.Err.Code != protocol.LimitExceeded {
		t.Errorf("who has the name becomes a user that has all: %s", name.raw)
	}
	refused := 0
	for range 40 {
		name.send(`{"type":"ping","request_id":"p"}`)
		if m := name.reply("p"); m.Type == "error" {
			refused++
		}
	}
	if refused < 10 || s.refusals("user_messages") != float64(refused) {
		t.Errorf("%d of 40 messages were refused at 10 a second and 20 at once, %v counted", refused, s.refusals("user_messages"))
	}
	user.sync()
	before := s.metric("fanfare_connections")
	user.conn.Close()
	s.untilMetric("fanfare_connections", before-1)
	if c := s.connect(named("cleo", "")); become(c).Type != "authenticated" {
		t.Errorf("who has a name becomes a user that has none: %s", c.raw)
	}
	s.wantTooMany(dialing{}.as(i.of("ben")), protocol.LimitExceeded)
}

// Two connections on two loops have together what one alone would have.
func TestMessagesOfAUserAreCountedOverLoops(t *testing.T) {
	i := newIssuer(t)
	for _, limited := range []struct {
		name string
		set  func(*Limits, Usage)
	}{
		{"user", func(l *Limits, u Usage) { l.User = u }},
		{"address", func(l *Limits, u Usage) { l.Address = u }},
	} {
		t.Run(limited.name, func(t *testing.T) {
			s := run(t, proxied, i.trusted, func(c *setup) { limited.set(&c.Limits, Usage{MessagesPerSecond: 10, HistoryPerSecond: 1}) })
			d := from("192.0.2.1").as(i.of("ada"))
			a, b := s.connect(d), s.connect(d)
			other := s.connect(from("192.0.2.2").as(i.of("ben")))
			ask := func(of string, n int) (answered int) {
				for k := range n {
					for _, c := range []*client{a, b} {
						c.sendf(`{"type":"%s","request_id":"%d","payload":{"room":"r"}}`, of, k)
						m := c.reply(fmt.Sprint(k))
						if m.Type != "error" {
							answered++
						} else if m.Err.Code != protocol.RateLimited || m.Err.RetryAfter <= 0 || m.Err.RetryAfter > time.Second {
							t.Fatalf("error %s", c.raw)
						}
					}
				}
				return answered
			}
			if n := ask("history", 4); n < 2 || n > 4 {
				t.Errorf("%d of 8 requests for history were answered at 1 a second and 2 at once", n)
			}
			if n := ask("ping", 20); n < 12 || n > 30 {
				t.Errorf("%d of 40 pings were answered at 10 a second and 20 at once", n)
			}
			other.sync()
			if s.refusals(limited.name+"_history") == 0 || s.refusals(limited.name+"_messages") == 0 || s.metric("fanfare_rate_limited_total") != 0 {
				t.Error("not counted by the limit")
			}
		})
	}
}

func TestBytesOfAUserAreCounted(t *testing.T) {
	i := newIssuer(t)
	s := run(t, i.trusted, func(c *setup) { c.Limits.User.BytesPerSecond = 1000 })
	d := dialing{}.as(i.of("ada"))
	a, b := s.connect(d), s.connect(d)
	a.send(`{"type":"echo","request_id":"1","payload":` + sized(0, 1900) + `}`)
	a.expect("echo")
	b.send(`{"type":"echo","request_id":"2","payload":` + sized(0, 500) + `}`)
	if m := b.expect("error"); m.Err.Code != protocol.RateLimited || m.Err.RetryAfter <= 0 {
		t.Errorf("error %s", b.raw)
	}
	if n := s.refusals("user_bytes"); n != 1 {
		t.Errorf("%v refusals are counted", n)
	}
	<-time.After(b.parsedWait())
	b.send(`{"type":"echo","request_id":"3","payload":` + sized(0, 100) + `}`)
	b.expect("echo")
}

// parsedWait is the retry_after_ms of the error that was read last.
func (c *client) parsedWait() time.Duration {
	c.t.Helper()
	var m struct {
		Payload struct {
			RetryAfter int64 `json:"retry_after_ms"`
		}
	}
	if err := json.Unmarshal(c.raw, &m); err != nil {
		c.t.Fatal(err)
	}
	return time.Duration(m.Payload.RetryAfter) * time.Millisecond
}

func TestRoomsOfAUserAndOfAnAddressAreCounted(t *testing.T) {
	i := newIssuer(t)
	s := run(t, proxied, i.trusted, func(c *setup) { c.Limits.User.Rooms, c.Limits.Address.Rooms = 2, 3 })
	d := from("192.0.2.1").as(i.of("ada"))
	a, b := s.connect(d), s.connect(d)
	a.join("one", "")
	b.join("one", "")
	b.fails(`{"type":"join","payload":{"room":"two"}}`, "limit_exceeded", "room")
	a.join("one", "") // which is joined
	ben := s.connect(from("192.0.2.1").as(i.of("ben")))
	ben.join("one", "")
	ben.fails(`{"type":"join","payload":{"room":"two"}}`, "limit_exceeded", "room")
	a.send(`{"type":"leave","request_id":"l","payload":{"room":"one"}}`)
	a.reply("l")
	b.join("two", "")
	b.conn.Close()
	until(t, "there is room again", func() bool {
		a.send(`{"type":"join","request_id":"j","payload":{"room":"three"}}`)
		return a.reply("j").Type == "joined"
	})
	if s.refusals("user_rooms") == 0 || s.refusals("address_rooms") == 0 {
		t.Errorf("counted: %v of users, %v of addresses", s.refusals("user_rooms"), s.refusals("address_rooms"))
	}
}

func TestHistoryOfAConnectionIsLimited(t *testing.T) {
	s := run(t, func(c *setup) { c.Limits.HistoryPerSecond = 2 })
	a, b := s.dial(), s.dial()
	answered := 0
	for k := range 10 {
		a.sendf(`{"type":"history","request_id":"%d","payload":{"room":"r"}}`, k)
		if m := a.reply(fmt.Sprint(k)); m.Type == "history" {
			answered++
		} else if m.Err.Code != protocol.RateLimited || m.Err.RetryAfter <= 0 {
			t.Fatalf("error %s", a.raw)
		}
	}
	if answered < 4 || answered > 6 {
		t.Errorf("%d of 10 answered at 2 a second and 4 at once", answered)
	}
	s.historyOf(b, "r", "")
	a.sync()
	if n := s.refusals("connection_history"); n != float64(10-answered) {
		t.Errorf("%v refusals are counted", n)
	}
}

// A join that asks for messages of before reads them, and a page of members is read
// too; a plain join is free, and so is one that changes nothing but presence.
func TestJoinsThatReadAndPagesOfMembersCountAsHistory(t *testing.T) {
	s := run(t, listed, func(c *setup) { c.Limits.HistoryPerSecond = 1 })
	for name, payload := range map[string]string{
		"last":    `{"type":"join","request_id":"q","payload":{"room":"last%d","last":5}}`,
		"since":   `{"type":"join","request_id":"q","payload":{"room":"since%d","since":{"epoch":"e","seq":0}}}`,
		"members": `{"type":"members","request_id":"q","payload":{"room":"members%d"}}`,
	} {
		c, refused := s.dial(), 0
		for k := range 6 {
			c.sendf(payload, k)
			if m := c.reply("q"); m.Type == "error" {
				if refused++; m.Err.Code != protocol.RateLimited || m.Err.RetryAfter <= 0 {
					t.Fatalf("%s: %s", name, c.raw)
				}
			}
		}
		if refused == 0 || refused > 4 {
			t.Errorf("%s: %d of 6 were refused at 1 a second and 2 at once", name, refused)
		}
		before := s.refusals("connection_history")
		for k := range 6 {
			c.sendf(`{"type":"join","request_id":"q","payload":{"room":"plain%d"}}`, k)
			if m := c.reply("q"); m.Type != "joined" {
				t.Fatalf("%s: a plain join: %s", name, c.raw)
			}
			c.sendf(`{"type":"join","request_id":"q","payload":{"room":"plain%d","last":5,"presence":true}}`, k)
			if m := c.reply("q"); m.Type != "joined" {
				t.Fatalf("%s: a join again: %s", name, c.raw)
			}
		}
		if n := s.refusals("connection_history"); n != before || int(n) < refused {
			t.Errorf("%s: %v refusals are counted, %v before", name, n, before)
		}
	}
}

// Whoever publishes to a room, from within or from without, joined or not: all
// together have its rate, and another room has its own.
func TestMessagesOfARoomAreLimited(t *testing.T) {
	for _, joined := range []bool{true, false} {
		t.Run(fmt.Sprint("joined ", joined), func(t *testing.T) {
			s := run(t, func(c *setup) {
				c.Loops = 2
				c.Limits.RoomMessages = 1000
				c.Classes = append(Classes{c.Classes[0]}, c.Classes...)
				c.Classes[0].Match, c.Classes[0].PublishRate = "slow*", 5
			})
			a, b := s.dial(), s.dial()
			if joined {
				a.joinInto("slow")
			}
			stored, refused := 0, 0
			for k := range 10 {
				for _, c := range []*client{a, b} {
					c.sendf(`{"type":"publish","request_id":"%d","payload":{"room":"slow","data":1}}`, k)
					switch m := c.reply(fmt.Sprint(k)); {
					case m.Type == "published":
						stored++
					case m.Err.Code == protocol.RateLimited && m.Err.Field == "room" && m.Err.RetryAfter > 0:
						refused++
					default:
						t.Fatalf("reply %s", c.raw)
					}
				}
			}
			results, err := s.gw.Publish(t.Context(), append(publications("slow", 4), publications("fast", 4)...))
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				e, ok := r.Err.(*protocol.Error)
				switch {
				case r.Err == nil && r.Room == "slow":
					stored++
				case ok && e.Code == protocol.RateLimited && e.RetryAfter > 0 && r.Room == "slow":
					refused++
				case r.Err != nil:
					t.Errorf("%+v", r)
				}
			}
			if stored < 10 || stored > 16 || s.tail("slow").Seq != uint64(stored) {
				t.Errorf("%d of 24 stored at 5 a second and 10 at once, the log is at %d", stored, s.tail("slow").Seq)
			}
			if n := s.refusals("room_messages"); n != float64(refused) {
				t.Errorf("%v refusals are counted of %d", n, refused)
			}
		})
	}
}

// Who may not publish takes nothing from those who may.
func TestAForbiddenPublishTakesNothingOfTheRoom(t *testing.T) {
	s := run(t, func(c *setup) {
		c.Limits.RoomMessages = 1
		c.Classes[0].Rules.Publish = auth.Server
	})
	c := s.dial()
	for range 10 {
		c.fails(`{"type":"publish","payload":{"room":"r","data":1}}`, "forbidden", "room")
	}
	c.send(`{"type":"join","payload":{"room":"q"}}`)
	c.send(`{"type":"publish","payload":{"room":"q","data":1}}`) // which waits for the join
	c.expect("joined")
	if m := c.expect("error"); m.Err.Code != protocol.Forbidden {
		t.Errorf("error %s", c.raw)
	}
	results, err := s.gw.Publish(t.Context(), []broker.Publication{{Room: "r", Data: []byte("1")}, {Room: "q", Data: []byte("1")}})
	if err != nil || results[0].Err != nil || results[1].Err != nil {
		t.Errorf("%+v, %v", results, err)
	}
}

// Who was connected when a limit is set is counted from its next frame.
func TestALimitThatIsSetLaterCountsWhoIsThere(t *testing.T) {
	i := newIssuer(t)
	s := run(t, proxied, i.trusted)
	d := from("192.0.2.1").as(i.of("ada"))
	a, b := s.connect(d), s.connect(d)
	a.join("one", "")
	a.join("two", "")
	limit := Usage{Connections: 2, Rooms: 2}
	s.apply(func(live *Live) { live.Limits.User, live.Limits.Address = limit, limit })
	a.sync()
	_ = b.write(frame.OpPong, nil) // what answers a heartbeat counts too
	b.sync()
	s.wantTooMany(d, protocol.LimitExceeded)
	b.fails(`{"type":"join","payload":{"room":"one"}}`, "limit_exceeded", "room")
	s.apply(func(live *Live) { live.Limits.User, live.Limits.Address = Usage{}, Usage{} })
	s.connect(d).join("three", "")
	b.join("one", "")
	s.apply(func(live *Live) { live.Limits.User = Usage{Connections: 4, Rooms: 4} })
	c := s.connect(d)
	c.join("four", "")
	c.fails(`{"type":"join","payload":{"room":"five"}}`, "limit_exceeded", "room")
}

// Whatever is done in whatever order, also while limits change: nothing is counted
// for anyone when all have gone, which the gateway's stop sees to.
func TestNothingIsCountedWhenAllHaveLeft(t *testing.T) {
	i := newIssuer(t)
	usage := Usage{Connections: 3, Rooms: 6, MessagesPerSecond: 500, HistoryPerSecond: 50}
	s := run(t, proxied, i.trusted, func(c *setup) { c.Limits.User, c.Limits.Address = usage, usage })
	tokens := []string{i.of("ada"), i.of("ben"), i.of("eve")}
	addresses := []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"}
	var all sync.WaitGroup
	for seed := range uint64(6) {
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, 3))
			for range 15 {
				d := from(addresses[random.IntN(len(addresses))])
				if random.IntN(2) == 0 {
					d = d.as(tokens[random.IntN(len(tokens))])
				}
				c, err := s.quiet(d)
				if err != nil {
					t.Error(err)
					return
				}
				if res, err := c.answer(); err != nil || res.StatusCode != 101 {
					c.conn.Close()
					continue
				}
				for range random.IntN(20) {
					room := fmt.Sprint("r", random.IntN(5))
					_ = c.write(frame.OpText, []byte([]string{
						`{"type":"join","payload":{"room":"` + room + `"}}`, `{"type":"leave","payload":{"room":"` + room + `"}}`,
						`{"type":"publish","payload":{"room":"` + room + `","data":1}}`, `{"type":"history","payload":{"room":"` + room + `"}}`,
						`{"type":"auth","payload":{"token":"` + tokens[random.IntN(len(tokens))] + `"}}`,
					}[random.IntN(5)]))
				}
				if random.IntN(3) > 0 {
					_ = c.write(frame.OpClose, nil)
				}
				if random.IntN(2) == 0 {
					_, _ = c.poll(10 * time.Millisecond)
				}
				c.conn.Close()
			}
		})
	}
	for k := range 20 {
		s.apply(func(live *Live) {
			live.Limits.User, live.Limits.Address = usage, usage
			if k%3 == 0 {
				live.Limits.User = Usage{}
			}
			if k%4 == 0 {
				live.Limits.Address = Usage{}
			}
		})
		<-time.After(5 * time.Millisecond)
	}
	all.Wait()
	s.untilMetric("fanfare_connections", 0)
	s.untilMetric("fanfare_limit_users", 0)
	s.untilMetric("fanfare_limit_addresses", 0)
}

// One who is far over its limits, from many connections that come again when they
// are closed, does not show in what another waits for.
func TestWhoIsOverItsLimitsCostsOthersNothing(t *testing.T) {
	s := run(t, proxied, func(c *setup) {
		c.Limits.Address = Usage{Connections: 4, ConnectsPerSecond: 50, MessagesPerSecond: 100}
	})
	other := s.connect(from("192.0.2.2"))
	median := func() time.Duration {
		took := make([]time.Duration, 3000)
		for k := range took {
			begun := time.Now()
			other.sync()
			took[k] = time.Since(begun)
		}
		slices.Sort(took)
		return took[len(took)/2]
	}
	s.apply(func(live *Live) { live.Limits.Address.MessagesPerSecond = 100_000 })
	quiet := median()
	stop := make(chan struct{})
	var hostile sync.WaitGroup
	for range 4 {
		hostile.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := s.quiet(from("192.0.2.1"))
				if err != nil {
					return
				}
				for range 200 {
					if c.write(frame.OpText, []byte(`{"type":"ping"}`)) != nil {
						break
					}
				}
				c.conn.Close()
			}
		})
	}
	s.apply(func(live *Live) { live.Limits.Address.MessagesPerSecond = 1000 })
	until(t, "the hostile one is over its limits", func() bool { return s.refusals("address_connects") > 0 })
	busy := median()
	close(stop)
	hostile.Wait()
	t.Logf("a round trip takes %v, and %v beside a flood", quiet, busy)
	if busy > 20*quiet+20*time.Millisecond {
		t.Errorf("a round trip takes %v, and %v beside a flood", quiet, busy)
	}
}

// still is a shard more, whose loop stands still.
func (s *service) still() *shard {
	s.t.Helper()
	sh := newShard(s.gw, 0, metrics.NewLoop())
	sh.hub = s.gw.hub
	l, err := loop.New(loop.Config{}, sh, sh.m)
	if err != nil {
		s.t.Fatal(err)
	}
	sh.loop = l
	s.t.Cleanup(func() {
		l.Stop()
		_ = l.Run()
	})
	return sh
}

func TestCountingAMessageAllocatesNothing(t *testing.T) {
	s := run(t)
	sh := s.still()
	off := &session{shard: sh}
	on := &session{shard: sh, caller: new(caller), quota: &quota{user: new(budget[string])}}
	count := func(ses *session) func() {
		return func() {
			ses.spend(1)
			if sh.wait != 0 || ses.overspent(100) != 0 {
				t.Fatal("refused")
			}
		}
	}
	if n := testing.AllocsPerRun(100, count(off)); n != 0 || off.quota != nil {
		t.Errorf("%v allocations without limits, and the quota %v", n, off.quota)
	}
	s.apply(func(live *Live) { live.Limits.User = Usage{MessagesPerSecond: 1 << 30, BytesPerSecond: 1 << 40} })
	if n := testing.AllocsPerRun(100, count(on)); n != 0 {
		t.Errorf("%v allocations with limits", n)
	}
}

func BenchmarkCountingAMessage(b *testing.B) {
	for name, usage := range map[string]Usage{"off": {}, "on": {MessagesPerSecond: 1 << 30, BytesPerSecond: 1 << 40}} {
		b.Run(name, func(b *testing.B) {
			s := run(b, func(c *setup) { c.Limits.User = usage })
			ses := &session{shard: s.still(), caller: new(caller), quota: &quota{user: new(budget[string])}}
			b.ReportAllocs()
			for b.Loop() {
				ses.spend(1)
				ses.overspent(100)
			}
		})
	}
}
