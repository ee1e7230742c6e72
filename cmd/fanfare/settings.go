package main

import (
	"log/slog"

	"github.com/fanfare-ws/fanfare/internal/api"
	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/broker/memory"
	"github.com/fanfare-ws/fanfare/internal/config"
	"github.com/fanfare-ws/fanfare/internal/gateway"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// settings is all that a reload replaces, built whole before any of it is put
// into force.
type settings struct {
	config *config.Config
	live   gateway.Live
	keys   *auth.Keys // of backends; nil: none
}

// newSettings builds what c says, in the place of what was before; nil: nothing. An
// error names what is wrong with the files that it names.
func newSettings(c *config.Config, before *settings, set *metrics.Set, log *slog.Logger) (*settings, error) {
	var trusted *auth.Verifier
	if before != nil {
		trusted = before.live.Auth.Verifier
	}
	keys, err := newKeys(c)
	if err != nil {
		return nil, err
	}
	for _, name := range keys.Short() {
		log.Warn("an API key is short: let it have 16 characters or more, such as of openssl rand -base64 32", "name", name)
	}
	certificate, err := newCertificate(c, before, log)
	if err != nil {
		return nil, err
	}
	v, err := newVerifier(c, trusted, set, log)
	if err != nil {
		return nil, err
	}
	if v != nil {
		v.Start()
	}
	s := &settings{config: c, live: gatewayLive(c, roomClasses(c)), keys: keys}
	s.live.Certificate = certificate
	s.live.Auth = gateway.Auth{Verifier: v, Required: c.Auth.TokenNeeded()}
	return s, nil
}

// retire ends what was in force and is not any more.
func (s *settings) retire() {
	if v := s.live.Auth.Verifier; v != nil {
		v.Close()
	}
}

// service is a gateway and what else of the process settings are put into force
// in.
type service struct {
	parts
	broker  broker.Broker
	gateway *gateway.Gateway
	api     *api.API
}

// put puts settings into force. It cannot fail.
func (r *service) put(s *settings) {
	r.classes.Store(&s.live.Classes)
	if b, ok := r.broker.(*memory.Broker); ok {
		b.Rebound() // Redis is told a room's bounds with each message
	}
	r.gateway.Apply(s.live)
	r.api.SetKeys(s.keys)
	r.level.Set(s.config.Log.Level)
}
