package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/broker/memory"
	"github.com/fanfare-ws/fanfare/internal/broker/redis"
	"github.com/fanfare-ws/fanfare/internal/config"
	"github.com/fanfare-ws/fanfare/internal/gateway"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/tracing"
)

// parts is what a broker and a gateway are made of besides the configuration.
type parts struct {
	classes *atomic.Pointer[gateway.Classes] // those in force
	set     *metrics.Set
	relay   *metrics.Relay
	id      string
	log     *slog.Logger
	tracer  *tracing.Tracer // nil: nothing is traced
	level   *slog.LevelVar  // of log
}

// newBroker makes the broker that c names: Redis, or the embedded one.
func newBroker(c *config.Config, p parts) (broker.Broker, error) {
	bounds := func(name string) broker.Bounds { return broker.Bounds(p.classes.Load().Of(name).History) }
	if !c.Redis.Shared() {
		return memory.New(memory.Config{
			Bounds: bounds, DedupWindow: dedupWindow(c), Bytes: c.Memory.Bytes, Events: c.Events.Kept(),
			Depth: &p.set.BrokerQueue, Refused: &p.set.BrokerRefused,
		}), nil
	}
	authorities, err := certificates(c.Redis.CAFile)
	if err != nil {
		return nil, err
	}
	r := &c.Redis
	return redis.New(redis.Config{
		URL: r.URL, Mode: redis.Mode(r.Mode), Addresses: r.Addresses,
		SentinelMaster: r.SentinelMaster, SentinelUsername: r.SentinelUsername, SentinelPassword: r.SentinelPassword,
		TLS: authorities, Prefix: r.Prefix, Partitions: r.Partitions, Name: "fanfare-" + p.id,
		Bounds: bounds, DedupWindow: dedupWindow(c), Events: c.Events.Kept(),
		Log: p.log, Metrics: p.relay, Depth: &p.set.BrokerQueue, Refused: &p.set.BrokerRefused,
	})
}

// dedupWindow gives the broker its word for none.
func dedupWindow(c *config.Config) time.Duration {
	if c.Dedup.Window == 0 {
		return -1
	}
	return c.Dedup.Window
}

// certificates reads who may sign the servers' certificates; nil is the system's.
func certificates(file string) (*tls.Config, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("redis.ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("redis.ca_file: no certificate in it")
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}
