package gateway

import (
	"testing"
	"time"
)

func TestLoadIsThePartOfTheProcessorsTime(t *testing.T) {
	var l load
	begun := time.Now()
	for _, step := range []struct {
		at, cpu time.Duration
		want    float64
	}{
		{0, 5 * time.Second, 0},                                 // what was before is nobody's
		{500 * time.Millisecond, 6 * time.Second, 0},            // too early to tell
		{2 * time.Second, 6 * time.Second, 0.25},                // 1 s of 2 s on each of 2
		{2500 * time.Millisecond, 8 * time.Second, 0.25},        // as before
		{4 * time.Second, 10 * time.Second, 1},                  // all
		{6 * time.Second, 14*time.Second + time.Second, 1},      // more than all: the clocks differ
		{66 * time.Second, 15 * time.Second, 0},                 // nothing
		{67 * time.Second, 15*time.Second + 500e6, 0.25},        // at the least time
		{68*time.Second - 1, 16*time.Second + 500e6, 0.25},      // just before it
		{68 * time.Second, 15*time.Second + 1000e6, 500e-3 / 2}, // and at it
	} {
		if got := l.now(begun.Add(step.at), step.cpu, 2); got != step.want {
			t.Errorf("after %v: %v, want %v", step.at, got, step.want)
		}
	}
}

func TestAGatewayThatWorksSaysSo(t *testing.T) {
	s := run(t)
	s.gw.busy()
	until(t, "a load", func() bool { return s.gw.member().Load > 0 }) // asking is work
}
