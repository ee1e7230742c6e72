package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// with dials one connection, lets the test use it, and closes it.
func with(t *testing.T, g *fakeGateway, cfg Config, use func(c *Conn, seen *record)) {
	t.Helper()
	var seen record
	cfg.OnEvent = seen.add
	c, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	use(c, &seen)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	g.tasks.Wait() // so that the test may read what its scripts wrote
}

func TestURLsAreTakenInEveryForm(t *testing.T) {
	for raw, want := range map[string]string{
		"http://h":                "ws://h/ws",
		"http://h:8080/":          "ws://h:8080/ws",
		"https://h":               "wss://h/ws",
		"ws://h/ws":               "ws://h/ws",
		"wss://h/x/y?room=a#frag": "wss://h/x/y?room=a",
		"http://[::1]:80?token=t": "ws://[::1]:80/ws?token=t",
	} {
		if u, err := target(raw); err != nil || u.String() != want {
			t.Errorf("%s: %v, %v, want %s", raw, u, err, want)
		}
	}
	for _, raw := range []string{"", "h:80", "/ws", "ftp://h", "http://", "http:// h?token=secret", "http://:80"} {
		if _, err := New(Config{URL: raw}); !errors.Is(err, ErrConfig) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", raw, err)
		}
	}
	if _, err := New(Config{URL: "ws://h", Rooms: []Subscription{{Room: "no room"}}}); !errors.Is(err, ErrConfig) {
		t.Errorf("bad room: %v", err)
	}
}

func TestTheHandshakeBearsTheHeaderAndTheSubprotocol(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var head *http.Request
		g, cfg := gateway(t, func(f *fakeConn) { f.welcome(); head = f.head; f.untilGone() })
		cfg.URL += "?room=a"
		cfg.Header = http.Header{"Origin": {"http://o"}}
		with(t, g, cfg, func(*Conn, *record) {})
		if head.URL.String() != "/ws?room=a" || head.Header.Get("Origin") != "http://o" ||
			head.Header.Get("Sec-WebSocket-Protocol") != protocol.Subprotocol {
			t.Errorf("%s %v", head.URL, head.Header)
		}
	})
}

func TestFramesBehindTheHandshakeAreNotLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, cfg := gateway(t, func(f *fakeConn) {
			behind := text(protocol.AppendWelcome(nil, welcome))
			behind = append(behind, text(protocol.AppendJoined(nil, nil, protocol.Joined{Room: "a", Position: at("e1", 0)}))...)
			behind = append(behind, text(message("a", "e1", 1))...)
			f.upgrade(append(behind, text(message("a", "e1", 2))[:5]...)...)
			f.write(text(message("a", "e1", 2))[5:])
			f.untilGone()
		})
		cfg.URL += "/ws?room=a"
		with(t, g, cfg, func(c *Conn, seen *record) {
			after(0)
			if got := seqs(seen); !slices.Equal(got, []uint64{1, 2}) || c.Welcome() != welcome {
				t.Errorf("messages %v, welcome %+v", got, c.Welcome())
			}
		})
	})
}

func TestEachMessageIsGivenOnceAndAJumpIsReported(t *testing.T) {
	gap := func(epoch string, from, to uint64) []byte {
		return protocol.AppendGap(nil, protocol.Gap{Room: "a", Epoch: epoch, From: from, To: to, Reason: protocol.GapHistoryLost})
	}
	for name, c := range map[string]struct {
		frames [][]byte
		want   []uint64 // messages
		gaps   []uint64 // first and last of each
		faults int
	}{
		"in order":           {[][]byte{message("a", "e1", 5), message("a", "e1", 6)}, []uint64{5, 6}, nil, 0},
		"twice":              {[][]byte{message("a", "e1", 5), message("a", "e1", 5), message("a", "e1", 4)}, []uint64{5}, nil, 0},
		"a jump":             {[][]byte{message("a", "e1", 7), message("a", "e1", 8)}, []uint64{7, 8}, []uint64{5, 6}, 1},
		"another epoch":      {[][]byte{message("a", "e2", 5), message("a", "e2", 6)}, []uint64{5, 6}, nil, 1},
		"a gap":              {[][]byte{gap("e1", 5, 9), message("a", "e1", 10)}, []uint64{10}, []uint64{5, 9}, 0},
		"a gap seen before":  {[][]byte{gap("e1", 1, 4), message("a", "e1", 5)}, []uint64{5}, nil, 0},
		"a gap seen in part": {[][]byte{gap("e1", 2, 6), message("a", "e1", 7)}, []uint64{7}, []uint64{5, 6}, 0},
		"a gap after a jump": {[][]byte{gap("e1", 6, 9), message("a", "e1", 10)}, []uint64{10}, []uint64{5, 5, 6, 9}, 1},
		"message in a gap":   {[][]byte{gap("e1", 5, 9), message("a", "e1", 9)}, nil, []uint64{5, 9}, 0},
		"a room not joined":  {[][]byte{message("b", "e1", 1), gap("e1", 5, 5)}, nil, []uint64{5, 5}, 0},
		"reset from elsewhere": {[][]byte{protocol.AppendReset(nil, protocol.Reset{Room: "a", Position: at("e2", 0), Previous: at("e1", 9)}),
			message("a", "e2", 1)}, []uint64{1}, nil, 1},
		"not a frame": {[][]byte{[]byte("{}"), message("a", "e1", 5)}, []uint64{5}, nil, 1},
		"an error":    {[][]byte{protocol.AppendError(nil, nil, &protocol.Error{Code: protocol.BadJSON}), message("a", "e1", 5)}, []uint64{5}, nil, 1},
		"unknown":     {[][]byte{[]byte(`{"type":"weather","payload":[]}`), message("a", "e1", 5)}, []uint64{5}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g, cfg := gateway(t, func(f *fakeConn) {
					f.welcome()
					f.joined(at("e1", 4), protocol.NotAsked)
					f.send(c.frames...)
					f.untilGone()
				})
				cfg.Rooms = []Subscription{{Room: "a"}}
				with(t, g, cfg, func(_ *Conn, seen *record) {
					after(0)
					var gaps []uint64
					for _, g := range of[Gap](seen) {
						gaps = append(gaps, g.From, g.To)
					}
					if got := seqs(seen); !slices.Equal(got, c.want) || !slices.Equal(gaps, c.gaps) {
						t.Errorf("messages %v gaps %v, want %v and %v", got, gaps, c.want, c.gaps)
					}
					if faults := of[Fault](seen); len(faults) != c.faults {
						t.Errorf("faults %v, want %d", faults, c.faults)
					}
				})
			})
		})
	}
}

func TestJoinAndLeaveOnALiveConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, cfg := gateway(t, func(f *fakeConn) {
			f.welcome()
			f.joined(at("e1", 4), protocol.NotAsked)
			f.message("a", 5)
			// Joined again: the reply, with the newest seq, overtakes 6.
			f.joined(at("e1", 6), protocol.NotAsked)
			f.message("a", 6)
			r := f.request(protocol.TypeLeave)
			f.message("a", 7)
			f.send(protocol.AppendLeft(nil, r.ID, "a"))
			r = f.request(protocol.TypeJoin)
			f.send(protocol.AppendError(nil, r.ID, &protocol.Error{Code: protocol.LimitExceeded}))
			f.joined(at("e1", 9), protocol.NotAsked)
			f.message("a", 10)
			f.untilGone()
		})
		with(t, g, cfg, func(c *Conn, seen *record) {
			for range 2 {
				if j, err := c.Join(t.Context(), Subscription{Room: "a"}); err != nil || j.Room != "a" {
					t.Errorf("join: %+v, %v", j, err)
				}
				after(0)
			}
			if err := c.Leave(t.Context(), "a"); err != nil {
				t.Errorf("leave: %v", err)
			}
			var refused *protocol.Error
			if _, err := c.Join(t.Context(), Subscription{Room: "a"}); !errors.As(err, &refused) || refused.Code != protocol.LimitExceeded {
				t.Errorf("join: %v", err)
			}
			if _, err := c.Join(t.Context(), Subscription{Room: "a"}); err != nil {
				t.Errorf("join: %v", err)
			}
			after(0)
			if got := seqs(seen); !slices.Equal(got, []uint64{5, 6, 10}) || len(of[Fault](seen)) > 0 {
				t.Errorf("messages %v, faults %v", got, of[Fault](seen))
			}
		})
	})
}

func TestRepliesMayOvertakeEachOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, cfg := gateway(t, func(f *fakeConn) {
			f.welcome()
			a, b := f.request(protocol.TypePublish), f.request(protocol.TypePublish)
			for _, r := range []protocol.Request{b, a} {
				f.send(protocol.AppendPublished(nil, r.ID, string(r.Room), at(string(r.Room), 1), false))
			}
			f.untilGone()
		})
		with(t, g, cfg, func(c *Conn, _ *record) {
			result := make(chan error, 2)
			for _, room := range []string{"a", "b"} {
				go func() {
					p, err := c.Publish(t.Context(), room, []byte("1"), PublishOptions{})
					if err == nil && p.Epoch != room {
						err = errors.New("the other's reply")
					}
					result <- err
				}()
			}
			for range 2 {
				if err := <-result; err != nil {
					t.Error(err)
				}
			}
		})
	})
}

func TestASilentGatewayIsPingedAndThenDropped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var pinged []time.Duration
		begun := time.Now()
		g, cfg := gateway(t, func(f *fakeConn) {
			f.welcome()
			r := f.request(protocol.TypePing)
			pinged = append(pinged, time.Since(begun))
			f.send(protocol.AppendPong(nil, r.ID, 1))
			f.request(protocol.TypePing)
			pinged = append(pinged, time.Since(begun))
			f.frame()
		})
		with(t, g, cfg, func(c *Conn, _ *record) {
			<-c.Done()
			if d := time.Since(begun); !errors.Is(c.Err(), ErrSilent) || d != 85*time.Second {
				t.Errorf("ended after %v: %v", d, c.Err())
			}
		})
		if !slices.Equal(pinged, []time.Duration{25 * time.Second, 50 * time.Second}) {
			t.Errorf("pinged after %v", pinged)
		}
	})
}

// stalled is a socket of a process that stood still: it learns of a deadline
// half a minute late.
type stalled struct{ net.Conn }

func (s stalled) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		<-time.After(30 * time.Second)
	}
	return n, err
}

func TestAProcessThatStoodStillReadsBeforeItJudges(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, cfg := gateway(t, func(f *fakeConn) {
			f.welcome()
			<-time.After(70 * time.Second) // the first deadline, late, was at 55 s
			f.message("a", 1)
			f.untilGone()
		})
		dial := cfg.NetDial
		cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			return stalled{c}, err
		}
		with(t, g, cfg, func(c *Conn, _ *record) {
			after(100 * time.Second)
			if err := c.Err(); err != nil {
				t.Errorf("ended: %v", err)
			}
		})
	})
}

func TestPingsAreAnswered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, cfg := gateway(t, func(f *fakeConn) {
			f.welcome()
			f.write(frame.AppendFrame(nil, frame.OpPing, []byte("p1")))
			if e := f.frame(); e.Kind != frame.Pong || string(e.Payload) != "p1" {
				t.Errorf("got kind %d %q", e.Kind, e.Payload)
			}
			f.untilGone()
		})
		with(t, g, cfg, func(*Conn, *record) { after(time.Second) })
	})
}

func TestWhatIsNoGatewayIsNotTalkedTo(t *testing.T) {
	for name, c := range map[string]struct {
		first []byte
		code  uint16
	}{
		"another first frame": {text([]byte(`{"type":"pong"}`)), 1002},
		"no JSON":             {text([]byte(`hello`)), 1002},
		"a masked frame":      {frame.AppendMasked(nil, frame.OpText, []byte("{}"), [4]byte{1}), 1002},
		"a binary message":    {frame.AppendFrame(nil, frame.OpBinary, []byte("{}")), 1003},
		"invalid UTF-8":       {text([]byte("\xff")), 1007},
		"too long":            {text(make([]byte, 2000)), 1009},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				_, cfg := gateway(t, func(f *fakeConn) {
					f.upgrade(c.first...)
					if e := f.frame(); e.Kind != frame.Close || e.Code != c.code {
						t.Errorf("answered with kind %d code %d", e.Kind, e.Code)
					}
				})
				cfg.MessageBytes = 1000
				_, err := Dial(t.Context(), cfg)
				var closed *CloseError
				if !errors.As(err, &closed) || !closed.Local || closed.Code != c.code || verdict(err) != protocol.ComeBackLater {
					t.Errorf("%v, verdict %v", err, verdict(err))
				}
			})
		})
	}
}

func TestDialingIsBoundedInTime(t *testing.T) {
	silent := func(f *fakeConn) { _, _ = io.Copy(io.Discard, f) }
	for name, script := range map[string]func(*fakeConn){
		"no answer":  silent,
		"no welcome": func(f *fakeConn) { f.upgrade(); silent(f) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				begun := time.Now()
				_, cfg := gateway(t, script, script)
				if _, err := Dial(t.Context(), cfg); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 10*time.Second {
					t.Errorf("after %v: %v", time.Since(begun), err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := Dial(ctx, cfg); err == nil || time.Since(begun) != 11*time.Second {
					t.Errorf("after %v: %v", time.Since(begun), err)
				}
			})
		})
	}
}

func TestAConnectionThatIsLostFailsItsRequests(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, cfg := gateway(t, func(f *fakeConn) { f.welcome(); f.request(protocol.TypePublish) })
		with(t, g, cfg, func(c *Conn, _ *record) {
			if c.Err() != nil {
				t.Errorf("alive, but Err is %v", c.Err())
			}
			for range 2 { // the second finds it ended
				if _, err := c.Publish(t.Context(), "a", []byte("1"), PublishOptions{}); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("publish: %v", err)
				}
			}
			if verdict(c.Err()) != protocol.ComeBack {
				t.Errorf("verdict on %v", c.Err())
			}
		})
	})
}

func TestTheCloseCodeCountsAlsoWhenAWriteFailsFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, cfg := gateway(t, func(f *fakeConn) {
			f.upgrade(text(protocol.AppendWelcome(nil, welcome))...)
			behind := text(protocol.AppendError(nil, nil, &protocol.Error{Code: protocol.Internal}))
			f.write(append(behind, frame.AppendClose(nil, protocol.ClosePolicy, "")...))
		})
		busy := make(chan struct{})
		cfg.OnEvent = func(e Event) {
			if _, ok := e.(Fault); ok {
				<-busy
			}
		}
		c, err := Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		g.tasks.Wait() // the gateway has gone; the reader is busy before its close frame
		if _, err := c.Publish(t.Context(), "a", []byte("1"), PublishOptions{}); err == nil {
			t.Error("published")
		}
		close(busy)
		<-c.Done()
		var closed *CloseError
		if !errors.As(c.Err(), &closed) || closed.Code != protocol.ClosePolicy {
			t.Errorf("ended with %v", c.Err())
		}
		c.Close()
	})
}

func TestCloseDoesNotWaitForAGatewayThatIsStuck(t *testing.T) {
	for name, stuck := range map[string]func(f *fakeConn){
		"not answering": func(f *fakeConn) {
			if e := f.frame(); e.Kind != frame.Close || e.Code != protocol.CloseNormal {
				t.Errorf("got kind %d code %d", e.Kind, e.Code)
			}
		},
		"not reading": func(*fakeConn) {},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				_, cfg := gateway(t, func(f *fakeConn) { f.welcome(); stuck(f); <-time.After(time.Minute) })
				c, err := Dial(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				if name == "not reading" {
					go c.Publish(t.Context(), "a", []byte("1"), PublishOptions{})
					after(0) // it holds the right to write
				}
				begun := time.Now()
				c.Close()
				if d := time.Since(begun); d != closeTimeout {
					t.Errorf("closed after %v", d)
				}
			})
		})
	}
}
