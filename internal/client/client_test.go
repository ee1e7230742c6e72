package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

func at(epoch string, seq uint64) protocol.Position { return protocol.Position{Epoch: epoch, Seq: seq} }

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestAttemptsBackOffToTheCapAndJitterIsFull(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, cfg := gateway(t)
		var ceilings []time.Duration
		cfg.Jitter = func(ceiling time.Duration) time.Duration {
			ceilings = append(ceilings, ceiling)
			return ceiling / 2
		}
		run(t, g, cfg, func(*Client) { after(60 * time.Second) })
		const s = time.Second
		want := []time.Duration{s / 2, s, 2 * s, 4 * s, 8 * s, 16 * s, 20 * s, 20 * s}
		if !slices.Equal(ceilings[:len(want)], want) {
			t.Errorf("ceilings %v, want %v", ceilings, want)
		}
		for i, w := range g.waits() {
			if w != ceilings[i]/2 {
				t.Errorf("wait %d is %v, jitter said %v", i, w, ceilings[i]/2)
			}
		}
	})
}

func TestDefaultJitterStaysWithinItsBounds(t *testing.T) {
	cfg, _, err := Config{URL: "ws://h"}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	low, high := false, false
	for range 1000 {
		d := cfg.Jitter(time.Second)
		if d < 0 || d > time.Second {
			t.Fatalf("%v", d)
		}
		low, high = low || d < 100*time.Millisecond, high || d > 900*time.Millisecond
	}
	if !low || !high {
		t.Error("the jitter does not use its whole range")
	}
}

func TestBackoffNeverOverflows(t *testing.T) {
	b := backoff{base: time.Hour, cap: 20 * time.Hour, jitter: func(d time.Duration) time.Duration { return d }}
	for i := range 200 {
		if d := b.next(); d < time.Hour || d > 20*time.Hour {
			t.Fatalf("attempt %d: %v", i, d)
		}
	}
}

func TestBackoffBeginsAnewAfterAConnectionThatLasted(t *testing.T) {
	lived := func(d time.Duration) func(*fakeConn) {
		return func(f *fakeConn) { f.welcome(); <-time.After(d); f.close(1001) }
	}
	bubble(t, func(t *testing.T) {
		g, cfg := gateway(t, lived(time.Second), lived(time.Second), lived(10*time.Second), lived(0))
		run(t, g, cfg, func(*Client) { after(30 * time.Second) })
		const s = time.Second
		want := []time.Duration{s + s/2, s + s, 10*s + s/2, s}
		if got := g.waits(); !slices.Equal(got[:4], want) {
			t.Errorf("attempts after %v, want %v", got, want)
		}
	})
}

func TestOverloadKeepsBackingOff(t *testing.T) {
	overloaded := func(f *fakeConn) { f.welcome(); <-time.After(20 * time.Second); f.close(1013) }
	bubble(t, func(t *testing.T) {
		g, cfg := gateway(t, overloaded, overloaded)
		cfg.BackoffBase = 4 * time.Second
		run(t, g, cfg, func(*Client) { after(3 * time.Minute) })
		if got := g.waits(); got[0] != 24*time.Second || got[1] != 28*time.Second {
			t.Errorf("attempts after %v", got)
		}
	})
}

func TestReconnectHintIsHeeded(t *testing.T) {
	hint := func(f *fakeConn) {
		f.welcome()
		f.send(protocol.AppendReconnect(nil, 7*time.Second, "drain"))
		f.close(1012)
	}
	bubble(t, func(t *testing.T) {
		g, cfg := gateway(t, hint, hint, hint)
		cfg.BackoffBase = 8 * time.Second
		run(t, g, cfg, func(*Client) { after(time.Minute) })
		// The second short connection in a row backs off as well: a gateway
		// that says "at once" for ever must not be dialed in a loop.
		if got := g.waits(); got[0] != 7*time.Second || got[1] != 16*time.Second {
			t.Errorf("attempts after %v", got)
		}
	})
}

func TestCloseCodesDecideWhetherToComeBack(t *testing.T) {
	for code, back := range map[uint16]bool{
		1000: false, 1001: true, 1002: false, 1003: false, 1007: false, 1008: false, 1009: false, 1011: true,
		1012: true, 1013: true, 4001: false, 4002: true, 4003: true, 4004: true, 4005: false,
	} {
		bubble(t, func(t *testing.T) {
			g, cfg := gateway(t, func(f *fakeConn) { f.welcome(); f.close(code) })
			var seen record
			cfg.OnEvent = seen.add
			err := run(t, g, cfg, func(*Client) { after(time.Minute) })
			var closed *CloseError
			if back != (len(g.waits()) > 0) || back == errors.Is(err, ErrPermanent) {
				t.Errorf("%d: came back %d times, Run: %v", code, len(g.waits()), err)
			}
			if !back && (!errors.As(err, &closed) || closed.Code != code || closed.Reason != "test") {
				t.Errorf("%d: Run: %v", code, err)
			}
			states := of[State](&seen)
			if last := states[len(states)-1]; last.Status != Disconnected || !last.Final {
				t.Errorf("%d: the last state is %+v", code, last)
			}
		})
	}
}

func TestHandshakeRefusalsDecideWhetherToComeBack(t *testing.T) {
	const body = `{"error":{"code":"forbidden","message":"origin"}}`
	for _, c := range []struct {
		status int
		header string
		wait   time.Duration // 0: permanent
	}{
		{400, "", 0}, {401, "", 0}, {403, "", 0}, {404, "", 0}, {426, "", 0}, {200, "", 0}, {302, "", 0},
		{408, "", time.Second / 2}, {429, "Retry-After: 9\r\n", 9 * time.Second},
		{500, "", time.Second / 2}, {502, "", time.Second / 2}, {503, "Retry-After: 30\r\n", 30 * time.Second},
		{503, "Retry-After: Sat, 01 Jan 2000 00:00:20 GMT\r\n", 20 * time.Second}, // the bubble's clock begins there
	} {
		answer := fmt.Sprintf("HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n%s", c.status, c.header, len(body), body)
		bubble(t, func(t *testing.T) {
			g, cfg := gateway(t, func(f *fakeConn) { f.refuse(answer) })
			err := run(t, g, cfg, func(*Client) { after(time.Minute) })
			waits := g.waits()
			if c.wait > 0 {
				if errors.Is(err, ErrPermanent) || len(waits) == 0 || waits[0] != c.wait {
					t.Errorf("%d: waits %v, %v, want %v", c.status, waits, err, c.wait)
				}
				return
			}
			var refused *RefusedError
			if len(waits) > 0 || !errors.Is(err, ErrPermanent) || !errors.As(err, &refused) {
				t.Fatalf("%d: waits %v, %v", c.status, waits, err)
			}
			if refused.Status != c.status || refused.Code != "forbidden" || refused.Message != "origin" {
				t.Errorf("%d: %+v", c.status, refused)
			}
		})
	}
}

func TestRoomsAreResumedWhereTheClientStood(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var resumed, plain, first protocol.Request
		g, cfg := gateway(t, func(f *fakeConn) {
			f.welcome()
			first = f.joined(at("e1", 4), protocol.NotAsked)
			plain = f.joined(at("e1", 7), protocol.NotAsked)
			f.send(message("a", "e1", 5), message("b", "e1", 8),
				protocol.AppendGap(nil, protocol.Gap{Room: "a", Epoch: "e1", From: 6, To: 9, Reason: protocol.GapSlowConsumer}))
		}, func(f *fakeConn) {
			f.welcome()
			resumed = f.joined(at("e1", 9), protocol.Recovered)
			f.joined(at("e2", 0), protocol.NotRecovered)
			f.send(message("a", "e1", 10), message("b", "e2", 1), // then the log of b begins anew
				protocol.AppendReset(nil, protocol.Reset{Room: "b", Position: at("e3", 2), Previous: at("e2", 1)}),
				message("b", "e3", 3))
		}, func(f *fakeConn) {
			f.welcome()
			if r := f.joined(at("e1", 10), protocol.Recovered); r.SinceSeq != 10 || string(r.SinceEpoch) != "e1" {
				t.Errorf("a is resumed from %s:%d", r.SinceEpoch, r.SinceSeq)
			}
			if r := f.joined(at("e3", 3), protocol.Recovered); r.SinceSeq != 3 || string(r.SinceEpoch) != "e3" {
				t.Errorf("b is resumed from %s:%d", r.SinceEpoch, r.SinceSeq)
			}
			f.untilGone()
		})
		since := at("e1", 7)
		cfg.Rooms = []Subscription{{Room: "b", Since: &since}, {Room: "a", Last: 3}}
		var seen record
		cfg.OnEvent = seen.add
		run(t, g, cfg, func(*Client) { after(10 * time.Second) })

		if first.Last != 3 || first.HasSince || plain.SinceSeq != 7 {
			t.Errorf("first joins: %+v, %+v", first, plain)
		}
		if string(resumed.Room) != "a" || resumed.SinceSeq != 9 || resumed.Last != -1 {
			t.Errorf("resumed with %+v", resumed)
		}
		if got := seqs(&seen); !slices.Equal(got, []uint64{5, 8, 10, 1, 3}) {
			t.Errorf("messages %v", got)
		}
		if faults := of[Fault](&seen); len(faults) > 0 {
			t.Errorf("faults: %v", faults)
		}
		joins := of[Joined](&seen)
		if len(joins) != 6 || joins[3].Since == nil || *joins[3].Since != at("e1", 8) || joins[3].Position != at("e2", 0) {
			t.Errorf("joined: %+v", joins)
		}
		if len(of[Gap](&seen)) != 1 || len(of[Reset](&seen)) != 2 {
			t.Errorf("events: %+v", seen.events)
		}
	})
}

func TestARefusedRoomIsNotAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, cfg := gateway(t, func(f *fakeConn) {
			f.welcome()
			r := f.request(protocol.TypeJoin)
			f.send(protocol.AppendError(nil, r.ID, &protocol.Error{Code: protocol.Forbidden, Message: "no"}))
			r = f.request(protocol.TypeJoin)
			f.send(protocol.AppendError(nil, r.ID, &protocol.Error{Code: protocol.RateLimited, RetryAfter: 3 * time.Second}))
			begun := time.Now()
			f.joined(at("e1", 1), protocol.NotAsked)
			if d := time.Since(begun); d != 3*time.Second {
				t.Errorf("asked again after %v", d)
			}
			f.close(1001)
		}, func(f *fakeConn) {
			f.welcome()
			if r := f.joined(at("e1", 1), protocol.Recovered); string(r.Room) != "b" {
				t.Errorf("joins %s", r.Room)
			}
			f.untilGone()
		})
		cfg.Rooms = []Subscription{{Room: "a"}, {Room: "b"}}
		var seen record
		cfg.OnEvent = seen.add
		run(t, g, cfg, func(*Client) { after(10 * time.Second) })
		if refused := of[Refused](&seen); len(refused) != 1 || refused[0].Room != "a" || refused[0].Err.Code != protocol.Forbidden {
			t.Errorf("refused: %+v", refused)
		}
		if joined := of[Joined](&seen); len(joined) != 2 {
			t.Errorf("joined: %+v", joined)
		}
	})
}

func TestPublishIsSentAgainWithTheSameID(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ids []string
		var times []time.Time
		next := func(f *fakeConn) protocol.Request {
			r := f.request(protocol.TypePublish)
			ids, times = append(ids, string(r.PublishID)), append(times, time.Now())
			return r
		}
		g, cfg := gateway(t, func(f *fakeConn) {
			f.welcome()
			f.send(protocol.AppendError(nil, next(f).ID, &protocol.Error{Code: protocol.Unavailable}))
			f.send(protocol.AppendError(nil, next(f).ID, &protocol.Error{Code: protocol.RateLimited, RetryAfter: 5 * time.Second}))
			next(f) // and the connection is lost before the reply
		}, func(f *fakeConn) {
			f.welcome()
			r := next(f)
			f.send(protocol.AppendPublished(nil, r.ID, string(r.Room), at("e1", 9), true))
			f.untilGone()
		})
		run(t, g, cfg, func(c *Client) {
			got, err := c.Publish(t.Context(), "a", []byte(`{"x":1}`), PublishOptions{})
			if err != nil || got.Position != at("e1", 9) || !got.Duplicate {
				t.Errorf("%v, %v", got, err)
			}
		})
		if len(ids) != 4 || ids[0] == "" || len(slices.Compact(ids)) != 1 {
			t.Errorf("ids %q", ids)
		}
		if times[1].Sub(times[0]) != 500*time.Millisecond || times[2].Sub(times[1]) != 5*time.Second {
			t.Errorf("sent at %v", times)
		}
	})
}

func TestPublishEndsWithItsContextAndWithTheClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, cfg := gateway(t, func(f *fakeConn) {
			f.welcome()
			f.send(protocol.AppendError(nil, f.request(protocol.TypePublish).ID, &protocol.Error{Code: protocol.Forbidden}))
			for range 2 { // one is given up unanswered
				f.request(protocol.TypePublish)
			}
			f.close(1008)
		})
		run(t, g, cfg, func(c *Client) {
			var refused *protocol.Error
			if _, err := c.Publish(t.Context(), "a", []byte("1"), PublishOptions{}); !errors.As(err, &refused) || refused.Code != protocol.Forbidden {
				t.Errorf("forbidden: %v", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			if _, err := c.Publish(ctx, "a", []byte("1"), PublishOptions{}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("unanswered: %v", err)
			}
			if _, err := c.Publish(t.Context(), "a", []byte("1"), PublishOptions{}); !errors.Is(err, ErrPermanent) {
				t.Errorf("after the end: %v", err)
			}
		})
	})
}

func TestWhatTheGatewayCouldNotReadIsNotSent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, cfg := gateway(t, func(f *fakeConn) { f.welcome(); f.untilGone() })
		run(t, g, cfg, func(c *Client) {
			for data, code := range map[string]protocol.Code{"": protocol.BadJSON, `{"a":1,"a":2}`: protocol.BadJSON, "1}": protocol.BadJSON} {
				var refused *protocol.Error
				if _, err := c.Publish(t.Context(), "a", []byte(data), PublishOptions{}); !errors.As(err, &refused) || refused.Code != code {
					t.Errorf("%q: %v", data, err)
				}
			}
			if _, err := c.Publish(t.Context(), "no room", []byte("1"), PublishOptions{}); err == nil {
				t.Error("a bad room was accepted")
			}
			long := append(append([]byte{'"'}, make([]byte, 0, 2000)...), []byte(fmt.Sprintf("%01000d", 1)+`"`)...)
			if _, err := c.Publish(t.Context(), "a", long, PublishOptions{}); !errors.Is(err, ErrTooBig) {
				t.Errorf("too long: %v", err)
			}
		})
	})
}

func TestTheEndOfRunSaysGoodbye(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var last frame.Event
		g, cfg := gateway(t, func(f *fakeConn) { f.welcome(); last = f.untilGone() })
		if err := run(t, g, cfg, func(*Client) {}); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
		if last.Kind != frame.Close || last.Code != protocol.CloseNormal {
			t.Errorf("the last frame is of kind %d, code %d", last.Kind, last.Code)
		}
	})
}
