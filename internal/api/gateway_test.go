package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/broker/memory"
	"github.com/fanfare-ws/fanfare/internal/gateway"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/room"
)

// serveReal starts an admin port before a gateway with the embedded broker.
func serveReal(t *testing.T) (*service, *gateway.Gateway) {
	t.Helper()
	set := metrics.NewSet("test", metrics.NewLoops(1))
	history := room.History{Messages: 100, Bytes: 1 << 20, Age: time.Hour}
	g, err := gateway.New(gateway.Config{
		ID: "gw", Version: "v0", Listen: "127.0.0.1:0", Loops: 1, HeartbeatInterval: time.Minute, HeartbeatTimeout: 2 * time.Minute,
		Live: gateway.Live{
			Classes: gateway.Classes{{Presence: true, Class: room.Class{Match: "*", History: history, Slow: room.Window{Messages: 100}}}},
			Limits:  gateway.Limits{MessageBytes: 1 << 10},
		},
		Broker:  memory.New(memory.Config{Bounds: func(string) broker.Bounds { return broker.Bounds(history) }}),
		Public:  http.NotFoundHandler(),
		Metrics: set,
		Log:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	g.Start()
	t.Cleanup(func() { g.Stop(context.Background()) })
	return serveGateway(t, g, set), g
}

func TestAGatewayStoresWhatIsPublished(t *testing.T) {
	s, _ := serveReal(t)
	var first struct{ Epoch string }
	s.ask("POST", "/v1/rooms/a/b/messages", `{"data": [1, {"b":"<\u00e9>" }],"id":"i","event":"e"}`).into(t, &first)
	if a := s.ask("POST", "/v1/rooms/a%2Fb/messages", `{"data":2,"id":"i"}`); a.body != `{"room":"a/b","epoch":"`+first.Epoch+`","seq":1,"duplicate":true}` {
		t.Errorf("again: %s", a.body)
	}
	a := s.ask("GET", "/v1/rooms/a/b/messages", "")
	if !strings.Contains(a.body, `"from":"shop","event":"e","data":[1, {"b":"<\u00e9>" }]}],"first":1,"last":1}`) {
		t.Errorf("history: %s", a.body)
	}
	if a := s.ask("DELETE", "/v1/rooms/a/b/messages", ""); a.status != 204 {
		t.Errorf("forget: %d %s", a.status, a.body)
	}
	var info roomBody
	s.until("another epoch", func() bool {
		s.ask("GET", "/v1/rooms/a/b", "").into(t, &info)
		return info.Epoch != first.Epoch && info.Seq == 0 && info.History == keptBody{First: 1}
	})
	if info.Policy.History.Messages != 100 || info.Policy.History.AgeMS != 3600000 || info.Policy.Slow.Policy != "drop" {
		t.Errorf("policy: %+v", info.Policy)
	}
	if a := s.ask("GET", "/v1/gateways", ""); !strings.HasPrefix(a.body, `{"gateways":[{"id":"gw","version":"v0","connections":0,`) {
		t.Errorf("gateways: %s", a.body)
	}
	if a := s.ask("DELETE", "/v1/users/ada/connections", ""); a.status != 204 {
		t.Errorf("disconnect: %d", a.status)
	}
	var kept revocationBody
	s.ask("POST", "/v1/revocations", `{"user":"ada"}`).into(t, &kept)
	if a := s.ask("GET", "/v1/revocations", ""); !strings.HasPrefix(a.body, `{"revocations":[{"user":"ada","before":"`) {
		t.Errorf("revocations: %s", a.body)
	}
}

// However many publish at once: each has its own result, and what one caller
// publishes after the other's answer is behind it.
func TestConcurrentPublishersHaveTheirOwnResults(t *testing.T) {
	s, _ := serveReal(t)
	var callers sync.WaitGroup
	for c := range 8 {
		callers.Go(func() {
			last := make(map[string]uint64)
			for i := range 20 {
				body := fmt.Sprintf(`[{"room":"a","data":"%d-%d"},{"room":"b","data":0},{"room":"a","data":"%d-%d+"},{"room":"a","data":"`+strings.Repeat("x", 1<<10)+`"}]`, c, i, c, i)
				var results []struct {
					Room  string
					Seq   uint64
					Error *problemBody
				}
				s.ask("POST", "/v1/messages", body).into(t, &results)
				if len(results) != 4 || results[0].Room != "a" || results[1].Room != "b" || results[2].Room != "a" || results[3].Error == nil {
					t.Errorf("%+v", results)
					return
				}
				for _, r := range results[:3] {
					if r.Seq <= last[r.Room] {
						t.Errorf("%s: %d after %d", r.Room, r.Seq, last[r.Room])
					}
					last[r.Room] = r.Seq
				}
			}
		})
	}
	callers.Wait()
	var info roomBody
	if s.ask("GET", "/v1/rooms/a", "").into(t, &info); info.Seq != 8*20*2 {
		t.Errorf("%d are stored", info.Seq)
	}
}

func TestAGatewayThatHasStoppedAnswersUnavailable(t *testing.T) {
	s, g := serveReal(t)
	s.ask("POST", "/v1/rooms/a/messages", `{"data":1}`)
	g.Stop(context.Background())
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/v1/rooms/a/messages", `{"data":1}`}, {"GET", "/v1/rooms/a/messages", ""}, {"GET", "/v1/rooms/a", ""},
		{"DELETE", "/v1/rooms/a/messages", ""}, {"GET", "/v1/rooms/a/members", ""}, {"GET", "/v1/rooms", ""}, {"POST", "/v1/revocations", `{"jti":"x"}`},
	} {
		if a := s.ask(c.method, c.path, c.body); a.status != 503 || a.problem(t).Code != "unavailable" {
			t.Errorf("%s %s: %d %s", c.method, c.path, a.status, a.body)
		}
	}
}
