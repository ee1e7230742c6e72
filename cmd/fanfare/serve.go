package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfare-ws/fanfare/internal/api"
	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/config"
	"github.com/fanfare-ws/fanfare/internal/gateway"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/room"
)

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a gateway",
		Long: "Runs a gateway until SIGINT or SIGTERM, which drains it: its connections are sent away over drain.period\n" +
			"and it exits with 0. A second signal ends it at once. SIGHUP, and a change of the --config file, put what\n" +
			"the configuration says now into force, as far as that needs no restart. Every flag is also a variable (--a-b is FANFARE_A_B)\n" +
			"and a key of the --config file; `fanfare config defaults` lists them with their reasons.",
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(func() (*config.Config, error) { return config.Load(cmd.Flags(), os.Environ()) })
		},
	}
	config.Flags(cmd.Flags())
	return cmd
}

// gcPercent is how far the heap may grow before it is collected, where GOGC does
// not say. What a gateway holds lives long and a delivery makes no garbage, so
// collecting is rare anyway; at Go's 100 an idle connection cost 890 bytes of
// resident memory when at 50 it cost about 700. What a burst leaves, tidy gives
// back.
const gcPercent = 50

// serve runs a gateway until it is told to end. load reads its configuration, at
// the start and whenever that may have changed.
func serve(load func() (*config.Config, error)) error {
	c, err := load()
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	signals, hangups := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	signal.Notify(hangups, syscall.SIGHUP)
	level := new(slog.LevelVar) // which a reload may change
	level.Set(c.Log.Level)
	log := newLogger(c, level)
	files := printsOf(c.Files()) // before what they hold is put to use: a change after this is seen
	set := metrics.NewSet(readBuild().Version, metrics.NewLoops(c.LoopCount()))
	s, err := newSettings(c, nil, set, log)
	if err != nil {
		return usageError(err)
	}
	r, err := newGateway(s, set, log, level)
	if err != nil {
		return usageError(err)
	}
	g := r.gateway
	admin, err := api.ListenAdmin(c.Admin.Listen)
	if err != nil {
		return usageError(fmt.Errorf("admin.listen: %w", err))
	}
	adminServer := api.NewAdminServer(api.Admin{Gateway: g, Calls: r.api, Metrics: r.set.Handler(), Pprof: c.Admin.Pprof}.Handler(), log)
	failed := make(chan error, 1)
	go func() { failed <- adminServer.Serve(admin) }()
	g.Start()
	log.Info("serving", "version", readBuild().Version, "listen", g.Addr().String(), "admin", admin.Addr().String(), "loops", c.LoopCount())
	beside, end := context.WithCancel(context.Background())
	var besides sync.WaitGroup
	besides.Go(func() {
		if waitReady(g, beside.Done()) {
			fmt.Printf("Fanfare is ready: open %s in two windows and chat. Metrics: http://%s/metrics\n", browserURL(g.Addr(), s.live.Certificate != nil), admin.Addr())
		}
	})
	besides.Go(func() { newReloader(r, s, files, load, hangups).run(beside) })
	besides.Go(func() { tidy(beside) })

	select {
	case err = <-g.Failed():
	case err = <-failed:
	case s := <-signals:
		log.Info("stopping", "signal", s.String())
	}
	end()
	besides.Wait()
	stop(r, err != nil, signals, log)
	_ = adminServer.Close()
	log.Info("stopped")
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// stop drains the gateway, unless it is broken. One more signal ends the process at
// once.
func stop(r *service, broken bool, signals <-chan os.Signal, log *slog.Logger) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if broken {
		cancel()
	}
	go func() {
		s := <-signals
		log.Warn("ended at once", "signal", s.String())
		os.Exit(1)
	}()
	r.gateway.Stop(ctx)
	r.endTraces()
}

// waitReady waits until the gateway takes traffic, which may be long where Redis is
// away, and returns false if it ended first.
func waitReady(g api.Checker, ended <-chan struct{}) bool {
	for {
		if !slices.ContainsFunc(g.Checks(), func(c gateway.Check) bool { return !c.OK }) {
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// newLogger makes the log.
func newLogger(c *config.Config, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}

// newGateway makes the gateway that s describes.
func newGateway(s *settings, set *metrics.Set, log *slog.Logger, level *slog.LevelVar) (*service, error) {
	c := s.config
	p := parts{
		classes: new(atomic.Pointer[gateway.Classes]),
		set:     set,
		relay:   metrics.NewRelay(),
		id:      gatewayID(),
		log:     log,
		level:   level,
	}
	p.classes.Store(&s.live.Classes)
	p.set.AddRelay(p.relay)
	var err error
	if p.tracer, err = newTracer(c, p); err != nil {
		return nil, err
	}
	b, err := newBroker(c, p)
	if err != nil {
		return nil, err
	}
	g, err := gateway.New(gatewayConfig(s, p, b))
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	calls := api.NewAPI(apiConfig(c, p, g))
	calls.SetKeys(s.keys)
	return &service{parts: p, broker: b, gateway: g, api: calls}, nil
}

func apiConfig(c *config.Config, p parts, g api.Gateway) api.Config {
	return api.Config{
		Gateway: g, Dev: c.Dev, Batch: c.API.BatchMessages, BodyBytes: c.API.BodyBytes, Requests: c.API.Requests,
		Metrics: p.set, Log: p.log,
	}
}

func gatewayConfig(s *settings, p parts, b broker.Broker) gateway.Config {
	c := s.config
	return gateway.Config{
		ID:                p.id,
		Version:           readBuild().Version,
		Listen:            c.Listen,
		Loops:             c.LoopCount(),
		Live:              s.live,
		Echo:              c.Echo,
		Deflate:           c.Compression.Enabled,
		ProxyProtocol:     c.ProxyProtocol,
		HeartbeatInterval: c.Heartbeat.Interval,
		HeartbeatTimeout:  c.Heartbeat.Timeout,
		Rebalance:         c.Rebalance.Enabled,
		MaxConnectionAge:  c.MaxConnectionAge,
		DrainPeriod:       c.Drain.Period,
		Events:            c.Events.Enabled,
		Broker:            b,
		Public:            api.Public(c.Echo),
		Metrics:           p.set,
		Relay:             p.relay,
		Log:               p.log,
		Tracer:            p.tracer,
	}
}

// gatewayLive is the part of a gateway's configuration that may change while it
// runs.
func gatewayLive(c *config.Config, classes gateway.Classes) gateway.Live {
	l := &c.Limits
	return gateway.Live{
		Classes: classes,
		Edge: gateway.NewEdge(gateway.EdgeConfig{
			Origins: c.Origins, OriginRequired: c.OriginRequired, TrustedProxies: c.TrustedProxies,
		}),
		Limits: gateway.Limits{
			Connections: l.Connections, RoomsPerConn: l.RoomsPerConnection, MembersPerRoom: l.MembersPerRoom,
			QueuedBytes: l.QueuedBytes, MessagesPerSecond: l.MessagesPerSecond, BytesPerSecond: l.BytesPerSecond,
			HistoryPerSecond: l.HistoryPerSecond, User: gateway.Usage(l.User), Address: gateway.Usage(l.Address),
			RoomMessages: l.RoomMessages, MemoryBytes: l.MemoryBytes,
			MessageBytes: l.MessageBytes, MessageFragments: l.MessageFragments, ReplyBytes: int(l.ReplyBytes),
			Handshakes: l.Handshakes, HandshakesPerAddress: l.HandshakesPerAddress, HandshakeTimeout: l.HandshakeTimeout,
			HandshakeBytes: int(l.HandshakeBytes), HandshakeHeaders: l.HandshakeHeaders,
		},
		AcceptRate: c.AcceptRate,
	}
}

func roomClasses(c *config.Config) gateway.Classes {
	policies := map[string]room.Policy{"drop": room.Drop, "conflate": room.Conflate, "disconnect": room.Disconnect}
	classes := make(gateway.Classes, len(c.Rooms))
	for i, r := range c.Rooms {
		classes[i].Rules, classes[i].Presence, classes[i].PublishRate = roomRules(&r), r.Presence, r.PublishRate
		classes[i].Class = room.Class{
			Match:   r.Match,
			History: room.History(r.History),
			Slow:    room.Window{Policy: policies[r.Slow.Policy], Messages: r.Slow.WindowMessages, Bytes: r.Slow.WindowBytes},
		}
	}
	return classes
}

// gatewayID names this process among gateways.
func gatewayID() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// browserURL is where a browser on this machine finds the gateway.
func browserURL(addr net.Addr, secure bool) string {
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return scheme + addr.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme + net.JoinHostPort(host, port)
}
