package main

import (
	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/broker/memory"
	"github.com/fanfare-ws/fanfare/internal/config"
	"github.com/fanfare-ws/fanfare/internal/gateway"
)

// settings is all that a reload replaces, built whole before any of it is put
// into force.
type settings struct {
	config *config.Config
	live   gateway.Live
}

// newSettings builds what c says. An error names what is wrong with the files that
// it names.
func newSettings(c *config.Config) (*settings, error) {
	return &settings{config: c, live: gatewayLive(c, roomClasses(c))}, nil
}

// service is a gateway and what else of the process settings are put into force
// in.
type service struct {
	parts
	broker  broker.Broker
	gateway *gateway.Gateway
}

// put puts settings into force. It cannot fail.
func (r *service) put(s *settings) {
	r.classes.Store(&s.live.Classes)
	if b, ok := r.broker.(*memory.Broker); ok {
		b.Rebound() // Redis is told a room's bounds with each message
	}
	r.gateway.Apply(s.live)
	r.level.Set(s.config.Log.Level)
}
