package gateway

import (
	"errors"
	"sync"
	"time"
)

// Check is one condition of being ready.
type Check struct {
	Name  string    `json:"name"`
	OK    bool      `json:"ok"`
	Error string    `json:"error,omitempty"`
	Since time.Time `json:"since"` // when OK last changed, as far as was looked
}

// health remembers since when each check is as it is.
type health struct {
	mu     sync.Mutex
	checks []Check
}

var errDraining = errors.New("the gateway is draining")

// Checks says whether the gateway takes traffic: it does if all are OK.
func (g *Gateway) Checks() []Check {
	var draining error
	if g.draining.Load() {
		draining = errDraining
	}
	h := &g.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.checks == nil {
		now := time.Now()
		h.checks = []Check{{Name: "accepting", OK: true, Since: now}, {Name: "broker", OK: true, Since: now}}
	}
	h.checks[0].see(draining)
	h.checks[1].see(g.cfg.Broker.Ready())
	return append([]Check(nil), h.checks...)
}

func (c *Check) see(err error) {
	if ok := err == nil; ok != c.OK {
		c.OK, c.Since = ok, time.Now()
	}
	c.Error = ""
	if err != nil {
		c.Error = err.Error()
	}
}
