package client

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// expiring makes what a client takes for a token that lives that long.
func expiring(life time.Duration) string {
	claims := fmt.Sprintf(`{"sub":"ada","exp":%d,"jti":%d}`, time.Now().Add(life).Unix(), time.Now().UnixNano())
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".sig"
}

// tokens gives one after another, and the last again and again.
func tokens(list ...string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		next := list[0]
		if len(list) > 1 {
			list = list[1:]
		}
		return next, nil
	}
}

func (f *fakeConn) registered(key string) protocol.Request {
	r := f.request(protocol.TypeRegister)
	f.send(protocol.AppendRegistered(nil, r.ID, protocol.Registered{Username: string(r.Username), Key: key}))
	return r
}

// auth returns the client's next auth; false: it has gone. Pings are answered.
func (f *fakeConn) auth() (protocol.Request, bool) {
	for {
		e := f.frame()
		if e.Kind != frame.Text {
			return protocol.Request{}, false
		}
		var r protocol.Request
		if err := f.decoder.Decode(bytes.Clone(e.Payload), &r); err != nil {
			f.t.Errorf("%s: %v", e.Payload, err)
		}
		switch r.Type {
		case protocol.TypePing:
			f.send(protocol.AppendPong(nil, r.ID, 0))
		case protocol.TypeAuth:
			return r, true
		}
	}
}

func TestTheNameIsRegisteredBeforeTheRoomsAndTakenBackWithItsKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var keys []string
		script := func(f *fakeConn) {
			f.welcome()
			r := f.registered("k1")
			keys = append(keys, string(r.Username)+" "+string(r.UsernameKey))
			f.joined(at("e1", 1), protocol.NotAsked)
			f.close(1001)
		}
		g, cfg := gateway(t, script, script)
		cfg.Username = "Zoe\u0308"
		cfg.Rooms = []Subscription{{Room: "a"}}
		var seen record
		cfg.OnEvent = seen.add
		run(t, g, cfg, func(*Client) { after(5 * time.Second) })
		if !slices.Equal(keys, []string{"Zo\u00eb ", "Zo\u00eb k1"}) {
			t.Errorf("registered as %q", keys)
		}
		if got := of[Registered](&seen); len(got) != 2 || got[0].Username != "Zo\u00eb" {
			t.Errorf("events %+v", got)
		}
	})
}

func TestANameInTheURLIsRegisteredToo(t *testing.T) {
	cfg, target, err := Config{URL: "ws://h?room=a&username=ada&username_key=k1"}.withDefaults()
	if err != nil || target.String() != "ws://h/ws?room=a" || cfg.Username != "ada" || cfg.UsernameKey != "k1" {
		t.Errorf("%v, %s, %q %q", err, target, cfg.Username, cfg.UsernameKey)
	}
	for _, c := range []Config{{URL: "ws://h?username="}, {URL: "ws://h", Username: "a b"}, {URL: "ws://h", Username: "ada", UsernameKey: "a b"}} {
		if _, err := New(c); (c.URL != "ws://h?username=") != errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestWithoutItsNameTheClientIsAGuest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, cfg := gateway(t, func(f *fakeConn) {
			f.welcome()
			f.send(protocol.AppendError(nil, f.request(protocol.TypeRegister).ID, &protocol.Error{Code: protocol.Unavailable}))
			f.send(protocol.AppendError(nil, f.request(protocol.TypeRegister).ID, &protocol.Error{Code: protocol.UsernameTaken}))
			f.joined(at("e1", 1), protocol.NotAsked)
			f.untilGone()
		})
		cfg.Username = "ada"
		cfg.Rooms = []Subscription{{Room: "a"}}
		var seen record
		cfg.OnEvent = seen.add
		run(t, g, cfg, func(*Client) { after(5 * time.Second) })
		refused := of[Refused](&seen)
		if len(refused) != 1 || refused[0].Room != "" || refused[0].Err.Code != protocol.UsernameTaken || len(of[Joined](&seen)) != 1 {
			t.Errorf("events %+v", seen.events)
		}
	})
}

func TestATokenIsRenewedBeforeItRunsOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		begun := time.Now()
		first := expiring(10 * time.Minute)
		second := expiring(11 * time.Minute)
		third := expiring(11*time.Minute + 20*time.Second)
		var bearer string
		var shown []string
		var times []time.Duration
		g, cfg := gateway(t, func(f *fakeConn) {
			f.welcome()
			bearer = f.head.Header.Get("Authorization")
			for r, ok := f.auth(); ok; r, ok = f.auth() {
				shown, times = append(shown, string(r.Token)), append(times, time.Since(begun))
				if len(shown) == 1 {
					f.send(protocol.AppendError(nil, r.ID, &protocol.Error{Code: protocol.Unavailable}))
					continue
				}
				f.send(protocol.AppendAuthenticated(nil, r.ID, protocol.Authenticated{User: "ada"}))
			}
		})
		cfg.Token = tokens(first, second, second, third)
		run(t, g, cfg, func(*Client) { after(12 * time.Minute) })
		if bearer != "Bearer "+first {
			t.Errorf("the handshake bears %q", bearer)
		}
		again := 570*time.Second + 500*time.Millisecond
		want := []time.Duration{570 * time.Second, again, 660*time.Second - (660*time.Second-again)/4}
		if !slices.Equal(shown, []string{second, second, third}) || !slices.Equal(times, want) {
			t.Errorf("shown at %v: %q", times, shown)
		}
	})
}

func TestWhatIsNoTokenWithAnEndIsNotRenewed(t *testing.T) {
	for _, claims := range []string{`{"sub":"ada"}`, `{"exp":"soon"}`, `{"exp":-1}`, `{"exp":1e300}`, `[]`, `{`} {
		token := "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".sig"
		if at := expiry(token); !at.IsZero() {
			t.Errorf("%s runs out at %v", claims, at)
		}
	}
	for _, token := range []string{"", "opaque", "a.b", "e30.!.sig", "a.b.c.d"} {
		if at := expiry(token); !at.IsZero() {
			t.Errorf("%q runs out at %v", token, at)
		}
	}
	if at := expiry("e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":1790000000.5}`)) + ".sig"); at.UnixMilli() != 1790000000500 {
		t.Errorf("it runs out at %v", at)
	}
}

func TestATokenThatIsNotTakenIsFollowedByAnotherOrByTheEnd(t *testing.T) {
	const unauthorized = "HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n"
	bubble(t, func(t *testing.T) {
		var bearers []string
		g, cfg := gateway(t, func(f *fakeConn) { f.refuse(unauthorized) }, func(f *fakeConn) {
			f.welcome()
			bearers = append(bearers, f.head.Header.Get("Authorization"))
			f.close(protocol.CloseToken)
		}, func(f *fakeConn) {
			f.welcome()
			bearers = append(bearers, f.head.Header.Get("Authorization"))
			f.close(protocol.CloseToken)
		})
		cfg.Token = tokens("t1", "t2", "t3")
		err := run(t, g, cfg, func(*Client) { after(time.Minute) })
		if !errors.Is(err, ErrPermanent) || !errors.Is(err, errSameToken) || len(g.waits()) != 2 {
			t.Errorf("after %v: %v", g.waits(), err)
		}
		if !slices.Equal(bearers, []string{"Bearer t2", "Bearer t3"}) {
			t.Errorf("bearers %q", bearers)
		}
	})
}

func TestATokenThatIsNotToBeHadIsAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		asked := 0
		g, cfg := gateway(t, func(f *fakeConn) { f.welcome(); f.untilGone() })
		cfg.Token = func(context.Context) (string, error) {
			if asked++; asked < 3 {
				return "", errors.New("issuer away")
			}
			return "t", nil
		}
		var seen record
		cfg.OnEvent = seen.add
		run(t, g, cfg, func(*Client) { after(10 * time.Second) })
		if states := of[State](&seen); len(states) != 7 || states[5].Status != Connected {
			t.Errorf("states %+v", states)
		}
	})
}

func TestPresenceIsAskedForAgainAndMembersArePaged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		came := protocol.Presence{Room: "a", Joined: []string{"ada"}, Left: []string{"bob"}, Count: 7}
		asked := 0
		script := func(f *fakeConn) {
			f.welcome()
			if f.joined(at("e1", 1), protocol.NotAsked).Presence {
				asked++
			}
			other := came
			other.Room = "not joined"
			f.send(protocol.AppendPresence(nil, came), protocol.AppendPresence(nil, other))
			r := f.request(protocol.TypeMembers)
			f.send(protocol.AppendMembers(nil, r.ID, protocol.Members{Room: string(r.Room), Count: r.Limit, Cursor: string(r.Cursor) + "+"}))
			f.close(1001)
		}
		g, cfg := gateway(t, script, script)
		cfg.Rooms = []Subscription{{Room: "a", Presence: true}}
		var seen record
		cfg.OnEvent = seen.add
		run(t, g, cfg, func(c *Client) {
			for range 2 {
				m, err := c.Members(t.Context(), protocol.MembersRequest{Room: "a", Limit: 7, Cursor: "c"})
				if err != nil || m.Room != "a" || m.Count != 7 || m.Cursor != "c+" {
					t.Errorf("%+v, %v", m, err)
				}
				after(5 * time.Second)
			}
		})
		events := of[Presence](&seen)
		if asked != 2 || len(events) != 2 || !slices.Equal(events[0].Joined, came.Joined) || events[0].Count != 7 {
			t.Errorf("asked %d times, events %+v", asked, events)
		}
	})
}
