package client

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// joinsRoom plays the gateway up to a room that stands at e1:0.
func joinsRoom(f *fakeConn) {
	f.welcome()
	f.joined(at("e1", 0), protocol.NotAsked)
}

// connect connects to a fake gateway; the client is closed when the test is over.
func connect(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func mustJoin(t *testing.T, c *Client, s Subscription) *Room {
	t.Helper()
	r, err := c.Join(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestARoomGivesItsEventsInOrderAndGoesOnAfterABreak(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, cfg := gateway(t, func(f *fakeConn) {
			joinsRoom(f)
			f.send(message("a", "e1", 1), message("a", "e1", 2),
				protocol.AppendGap(nil, protocol.Gap{Room: "a", Epoch: "e1", From: 3, To: 8, Reason: protocol.GapConflated}),
				message("a", "e1", 9))
			f.untilGone()
		})
		c := connect(t, cfg)
		room := mustJoin(t, c, Subscription{Room: "a"})
		var got []uint64
		for e := range room.Events(t.Context()) {
			switch e := e.(type) {
			case Message:
				got = append(got, e.Seq)
			case Gap:
				got = append(got, e.From, e.To)
			}
			if len(got) == 1 || len(got) == 5 {
				break
			}
		}
		for e := range room.Messages(t.Context()) {
			got = append(got, e.Seq)
			if e.Seq == 9 {
				break
			}
		}
		if !slices.Equal(got, []uint64{1, 2, 9}) {
			t.Errorf("got %v", got)
		}
		if p, ok := room.Position(); !ok || p != at("e1", 9) {
			t.Errorf("the room stands at %v", p)
		}
	})
}

func TestWhoPublishesFromALoopOverEventsDoesNotWaitForItself(t *testing.T) {
	const many = 4 * queueEvents
	bubble(t, func(t *testing.T) {
		_, cfg := gateway(t, func(f *fakeConn) {
			joinsRoom(f)
			for seq := range uint64(many) {
				f.message("a", seq+1)
			}
			r := f.request(protocol.TypePublish) // and its reply stands behind them all
			f.send(protocol.AppendPublished(nil, r.ID, "a", at("e1", many+1), false))
			f.untilGone()
		})
		c := connect(t, cfg)
		room := mustJoin(t, c, Subscription{Room: "a"})
		for e := range room.Messages(t.Context()) {
			if e.Seq == 1 {
				if _, err := room.Publish(t.Context(), []byte("1"), PublishOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if e.Seq == many {
				return
			}
		}
	})
}

func TestARoomThatIsNotReadHoldsTheConnectionUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sent := 0
		g, cfg := gateway(t, func(f *fakeConn) {
			joinsRoom(f)
			for seq := range uint64(2 * queueEvents) {
				f.message("a", seq+1)
				sent++
			}
			f.untilGone()
		})
		c := connect(t, cfg)
		room := mustJoin(t, c, Subscription{Room: "a"})
		synctest.Wait()
		if sent >= 2*queueEvents || sent < queueEvents/2 {
			t.Errorf("%d messages were taken off the connection", sent)
		}
		// Whoever leaves it lets the connection go on.
		if err := room.Leave(t.Context()); err == nil {
			t.Error("the gateway does not answer a leave")
		}
		c.Close()
		g.tasks.Wait()
	})
}

func TestCloseEndsRoomsThatAreNotRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, cfg := gateway(t, func(f *fakeConn) {
			joinsRoom(f)
			for seq := range uint64(2 * queueEvents) {
				f.message("a", seq+1)
			}
			f.untilGone()
		})
		c := connect(t, cfg)
		room := mustJoin(t, c, Subscription{Room: "a"})
		synctest.Wait()
		c.Close()
		n := 0
		for range room.Events(t.Context()) {
			n++
		}
		if n != queueEvents || !errors.Is(room.Err(), context.Canceled) {
			t.Errorf("%d events, then %v", n, room.Err())
		}
		if _, err := c.Join(t.Context(), Subscription{Room: "b"}); !errors.Is(err, context.Canceled) {
			t.Errorf("join after the end: %v", err)
		}
	})
}

func TestARoomIsJoinedOnceAtATime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, cfg := gateway(t, func(f *fakeConn) {
			joinsRoom(f)
			r := f.request(protocol.TypeLeave)
			f.send(protocol.AppendLeft(nil, r.ID, "a"))
			f.joined(at("e1", 7), protocol.NotAsked)
			f.untilGone()
		})
		c := connect(t, cfg)
		room := mustJoin(t, c, Subscription{Room: "a"})
		if _, err := c.Join(t.Context(), Subscription{Room: "a"}); !errors.Is(err, ErrJoined) {
			t.Errorf("the second join: %v", err)
		}
		if err := room.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		for range room.Events(t.Context()) { // the Joined, and then the end
		}
		if room.Err() != nil {
			t.Errorf("a room that was left ended with %v", room.Err())
		}
		if p, _ := mustJoin(t, c, Subscription{Room: "a"}).Position(); p != at("e1", 7) {
			t.Errorf("joined anew at %v", p)
		}
	})
}

func TestAJoinThatNobodyWaitsForIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, cfg := gateway(t, func(f *fakeConn) {
			f.welcome()
			f.request(protocol.TypeJoin)
			r := f.request(protocol.TypeLeave)
			f.send(protocol.AppendLeft(nil, r.ID, "a"))
			f.untilGone()
		})
		cfg.RequestTimeout = 3 * time.Second
		c := connect(t, cfg)
		begun := time.Now()
		_, err := c.Join(t.Context(), Subscription{Room: "a"})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 3*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		synctest.Wait()
	})
}

func TestConnectTellsWhyThereIsNoConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, cfg := gateway(t, func(f *fakeConn) { f.refuse("HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n") })
		var refused *RefusedError
		if _, err := Connect(t.Context(), cfg); !errors.Is(err, ErrPermanent) || !errors.As(err, &refused) {
			t.Errorf("refused: %v", err)
		}
		_, cfg = gateway(t)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := Connect(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errNoScript) {
			t.Errorf("nothing listens: %v", err)
		}
	})
}

func TestStatesAreToldUntilTheLast(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, cfg := gateway(t, func(f *fakeConn) { f.welcome(); <-time.After(time.Second); f.close(1001) },
			func(f *fakeConn) { f.welcome(); <-time.After(time.Second); f.close(4005) })
		c := connect(t, cfg)
		var got []Status
		for s := range c.States(t.Context()) {
			got = append(got, s.Status)
		}
		// The first connection is told as the state that there is.
		want := []Status{Connected, Disconnected, Connecting, Connected, Disconnected}
		if got = slices.Compact(got); !slices.Equal(got, want) && !slices.Equal(got, append(want[:2:2], want[3:]...)) {
			t.Errorf("states %v", got)
		}
		if s := c.newest(); !s.Final {
			t.Errorf("the last is %+v", s)
		}
	})
}

func TestWhatIsHeldBackBehindAGapIsBounded(t *testing.T) {
	const many = heldMessages + 10
	bubble(t, func(t *testing.T) {
		_, cfg := gateway(t, func(f *fakeConn) {
			joinsRoom(f)
			f.send(protocol.AppendGap(nil, protocol.Gap{Room: "a", Epoch: "e1", From: 1, To: 9, Reason: protocol.GapSlowConsumer}))
			r := f.request(protocol.TypeHistory) // whose reply is long in coming
			for seq := range uint64(many) {
				f.message("a", seq+10)
			}
			f.send(protocol.AppendHistory(nil, r.ID, protocol.History{Room: "a", Epoch: "e1", First: 1, Last: many + 9,
				Messages: []protocol.Message{{Room: "a", Epoch: "e1", Seq: 1, Data: []byte("1")}}}))
			f.message("a", many+10)
			f.untilGone()
		})
		c := connect(t, cfg)
		room := mustJoin(t, c, Subscription{Room: "a", Fill: true})
		gaps, next := 0, uint64(1)
		for e := range room.Events(t.Context()) {
			switch e := e.(type) {
			case Gap:
				gaps++
				next = e.To + 1
			case Message:
				if e.Seq != next {
					t.Fatalf("%d came where %d was to", e.Seq, next)
				}
				if next++; next > many+10 {
					if gaps != 1 {
						t.Errorf("%d gaps", gaps)
					}
					return
				}
			}
		}
	})
}
