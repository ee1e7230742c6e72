package gateway

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Check is one condition of being ready.
type Check struct {
	Name  string    `json:"name"`
	OK    bool      `json:"ok"`
	Error string    `json:"error,omitempty"`
	Since time.Time `json:"since"` // when OK last changed, as far as was looked: see watch
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
	h.checks[1].see(g.brokerReady())
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

// watchEvery is how often the checks are looked at whether or not anybody asks.
const watchEvery = 500 * time.Millisecond

// watch looks at the checks, so that since tells when one changed, and not when
// somebody first asked after that. It logs the changes. What is not ready at the
// start has until the first look.
func (g *Gateway) watch(ctx context.Context) {
	ticks := time.NewTicker(watchEvery)
	defer ticks.Stop()
	failed := make(map[string]bool)
	g.Checks()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		for _, c := range g.Checks() {
			switch {
			case c.OK == !failed[c.Name] || c.Name == "accepting": // drains are logged as such
			case c.OK:
				g.cfg.Log.Info("ready again", "check", c.Name)
			default:
				g.cfg.Log.Warn("not ready", "check", c.Name, "error", c.Error)
			}
			failed[c.Name] = !c.OK
		}
	}
}
