package main

import (
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/gateway"
)

// checks is a gateway that is ready from the third time on that it is asked, if
// ever.
type checks struct {
	asked int
	never bool
}

func (c *checks) Checks() []gateway.Check {
	c.asked++
	return []gateway.Check{{Name: "accepting", OK: true}, {Name: "broker", OK: c.asked >= 3 && !c.never}}
}

func TestReadyIsSaidNotBeforeItIsSo(t *testing.T) {
	c := new(checks)
	if !waitReady(c, nil) || c.asked != 3 {
		t.Errorf("asked %d times", c.asked)
	}
	ended := make(chan struct{})
	time.AfterFunc(100*time.Millisecond, func() { close(ended) })
	if waitReady(&checks{never: true}, ended) {
		t.Error("ready, and never was")
	}
}
