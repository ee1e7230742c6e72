package main

import (
	"log/slog"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker/memory"
	"github.com/fanfare-ws/fanfare/internal/certtest"
	"github.com/fanfare-ws/fanfare/internal/config"
	"github.com/fanfare-ws/fanfare/internal/gateway"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/tracing"
)

// A key that is checked, shown and explained must also do something.
func TestEverythingThatIsConfiguredReachesTheGateway(t *testing.T) {
	c := config.Default()
	c.Echo, c.Origins, c.Rooms = true, []string{"*"}, []config.RoomClass{{Match: "*"}}
	c.Events.Enabled = true
	c.AcceptRate, c.Rebalance.Enabled, c.MaxConnectionAge = 1, true, time.Hour
	c.Limits.MembersPerRoom, c.Limits.RoomMessages, c.Limits.MemoryBytes = 1, 1, 1
	c.Limits.User, c.Limits.Address = config.Usage{Rooms: 1}, config.Usage{Rooms: 1}
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, "0123456789abcdef0123456789abcdef")
	c.Auth.Required, c.Auth.HS256SecretFiles = true, []string{secret}
	c.OriginRequired, c.ProxyProtocol, c.TrustedProxies = true, true, []string{"10.0.0.0/8"}
	cert, key, err := certtest.WritePair(t.TempDir(), certtest.NewAuthority().Sign(1, time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	c.TLS = config.TLS{Cert: cert, Key: key}
	p := parts{
		set: metrics.NewSet("", metrics.NewLoops(1)), relay: metrics.NewRelay(),
		id: "id", log: slog.New(slog.DiscardHandler), tracer: new(tracing.Tracer),
	}
	now, err := newSettings(c, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	g := gatewayConfig(now, p, memory.New(memory.Config{}))
	for _, v := range []reflect.Value{reflect.ValueOf(g), reflect.ValueOf(g.Limits), reflect.ValueOf(g.Edge), reflect.ValueOf(g.Auth)} {
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("%s.%s is not set", v.Type(), v.Type().Field(i).Name)
			}
		}
	}
	c.Dev = true
	calls := reflect.ValueOf(apiConfig(c, p, new(gateway.Gateway)))
	for i := range calls.NumField() {
		if calls.Field(i).IsZero() {
			t.Errorf("%s.%s is not set", calls.Type(), calls.Type().Field(i).Name)
		}
	}
	if g.Relay != p.relay {
		t.Error("the gateway counts gaps and resumes where nobody reads them")
	}
}

func TestWhatAClassAllowsReachesTheGateway(t *testing.T) {
	c := config.Default()
	c.Rooms = []config.RoomClass{
		{Match: "a", Access: config.Access{Join: "claim", Publish: "server", History: "member", Members: "anyone"}, Presence: true},
		{Match: "*", Access: config.Access{Join: "whoever"}},
	}
	classes := roomClasses(c)
	if want := (auth.Rules{Join: auth.Claim, Publish: auth.Server, History: auth.Member}); classes[0].Rules != want || !classes[0].Presence {
		t.Errorf("%+v", classes[0])
	}
	if classes[1].Rules.Join != auth.Server || classes[1].Presence {
		t.Errorf("a word that nobody knows opens the room: %+v", classes[1])
	}
}
