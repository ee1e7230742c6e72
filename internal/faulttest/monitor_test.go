package faulttest

import (
	"strings"
	"testing"
	"time"
)

// timeline is a gateway's readiness, one letter for each second from 1 s on: r
// ready, u unready, - no answer.
func timeline(s string) (samples []sample) {
	for i, c := range s {
		samples = append(samples, sample{at: time.Duration(i+1) * time.Second, ready: map[rune]readiness{'r': isReady, 'u': isUnready, '-': noAnswer}[c]})
	}
	return samples
}

func TestReadinessIsJudged(t *testing.T) {
	const end = 70 * time.Second
	long := expectation{gateway: "g", from: 10 * time.Second, to: 40 * time.Second}
	short := expectation{gateway: "g", from: 10 * time.Second, to: 15 * time.Second}
	r := func(n int) string { return strings.Repeat("r", n) }
	u := func(n int) string { return strings.Repeat("u", n) }
	for name, c := range map[string]struct {
		samples string
		x       expectation
		honest  bool
	}{
		"unready at once, ready at once":      {r(10) + u(31) + r(30), long, true},
		"unready within 15 s":                 {r(24) + u(26) + r(20), long, true},
		"dead while it was broken":            {r(10) + strings.Repeat("-", 30) + r(30), long, true},
		"unready too late":                    {r(29) + u(15) + r(30), long, false},
		"never unready":                       {r(70), long, false},
		"ready again in the middle":           {r(10) + u(20) + r(2) + u(10) + r(30), long, false},
		"not ready again":                     {r(10) + u(60), long, false},
		"ready too late":                      {r(10) + u(50) + r(10), long, false},
		"a short fault need not show":         {r(70), short, true},
		"a short fault, and not ready for it": {r(10) + u(60), short, false},
	} {
		t.Run(name, func(t *testing.T) {
			if found := judgeReadiness(timeline(c.samples), c.x, end); (len(found) == 0) != c.honest {
				t.Errorf("found %v", found)
			}
		})
	}
}

func TestBoundsAreJudged(t *testing.T) {
	before := sample{memory: 30 << 20, goroutines: 40, descriptors: 1040, connections: 1000}
	for name, c := range map[string]struct {
		last    sample
		bounded bool
	}{
		"as before":                {before, true},
		"more clients than before": {sample{memory: 50 << 20, goroutines: 40, descriptors: 2040, connections: 2000}, true},
		"memory":                   {sample{memory: mostMemory + 1, goroutines: 40, descriptors: 1040, connections: 1000}, false},
		"goroutines pile up":       {sample{goroutines: mostGoroutines + 1}, false},
		"goroutines stay behind":   {sample{goroutines: 40 + goroutinesLeft + 1, descriptors: 1040, connections: 1000}, false},
		"descriptors pile up":      {sample{goroutines: 40, descriptors: mostDescriptors + 1, connections: mostDescriptors}, false},
		"descriptors stay behind":  {sample{goroutines: 40, descriptors: 1040, connections: 900}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if found := judgeBounds("g", []sample{before, c.last}, before, false); (len(found) == 0) != c.bounded {
				t.Errorf("found %v", found)
			}
		})
	}
}
