package faulttest

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	honestIn    = 15 * time.Second // readiness is right within
	sampleEvery = 250 * time.Millisecond
	// Bounds of a gateway with a thousand clients. Idle it has some 40 MiB.
	mostMemory      = 400 << 20
	mostGoroutines  = 1000
	mostDescriptors = 4*clientsInAll + 200
	// What may stay behind, above what there was before the fault.
	goroutinesLeft  = 60
	descriptorsLeft = 60 // besides the clients' own
)

// sample is what was seen of a gateway at one time. A value of 0 was not seen.
type sample struct {
	at                                           time.Duration
	ready                                        readiness
	memory, descriptors, goroutines, connections int
}

// monitor samples a gateway.
type monitor struct {
	gateway *gateway
	clock   func() time.Duration
	mu      sync.Mutex
	samples []sample // guarded by mu while the monitor runs
}

// run samples until ctx ends. Metrics are read every fourth time.
func (m *monitor) run(ctx context.Context) {
	ticks := time.NewTicker(sampleEvery)
	defer ticks.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			s := m.take(ctx, i%4 == 0)
			m.mu.Lock()
			m.samples = append(m.samples, s)
			m.mu.Unlock()
		}
	}
}

func (m *monitor) take(ctx context.Context, metrics bool) sample {
	s := sample{at: m.clock(), ready: m.gateway.ready()}
	if !m.gateway.running() {
		return s
	}
	s.memory, s.descriptors = usage(m.gateway.pid())
	if metrics {
		v := m.gateway.metric(ctx, "go_goroutines", "fanfare_connections")
		s.goroutines, s.connections = int(v["go_goroutines"]), int(v["fanfare_connections"])
	}
	return s
}

// last is the newest sample with metrics.
func (m *monitor) last() (s sample) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := len(m.samples) - 1; i >= 0; i-- {
		if m.samples[i].goroutines > 0 {
			return m.samples[i]
		}
	}
	return s
}

// usage is the resident memory and the number of descriptors of a process; 0
// where it cannot be seen.
func usage(pid int) (memory, descriptors int) {
	dir := "/proc/" + strconv.Itoa(pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			memory = kib << 10
		}
	}
	if open, err := os.ReadDir(dir + "/fd"); err == nil {
		descriptors = len(open)
	}
	return memory, descriptors
}

// expectation is what a gateway's readiness must have been.
type expectation struct {
	gateway string
	// broken is while delivery was not proven: unready within honestIn of its
	// begin, and ready again within honestIn of its end. A broken that is shorter
	// than honestIn asks for nothing but readiness after it.
	from, to time.Duration
	// steady: nothing was broken, and readiness must not have changed.
	steady bool
}

// judgeReadiness holds samples against an expectation.
func judgeReadiness(samples []sample, x expectation, end time.Duration) (found []violation) {
	unready, ready := false, time.Duration(-1)
	for _, s := range samples {
		switch {
		case x.steady && s.at > x.from && s.at < x.to && s.ready != isReady:
			found = append(found, violation{notReady, fmt.Sprintf("%s was not ready %s after a fault that is not its own", x.gateway, (s.at - x.from).Round(time.Millisecond))})
			return found
		case x.steady:
		case s.at > x.from+honestIn && s.at < x.to && s.ready == isReady:
			found = append(found, violation{notReady, fmt.Sprintf("%s says that it is ready %s after its delivery broke", x.gateway, (s.at - x.from).Round(time.Millisecond))})
			return found
		case s.at > x.from && s.at <= x.to && s.ready != isReady:
			unready = true
		case s.at > x.to && s.ready == isReady && ready < 0:
			ready = s.at
		}
	}
	if x.steady {
		return found
	}
	if x.to-x.from > honestIn && !unready {
		found = append(found, violation{notReady, x.gateway + " never said that it is not ready"})
	}
	if end > x.to+honestIn && (ready < 0 || ready > x.to+honestIn) {
		found = append(found, violation{notReady, fmt.Sprintf("%s was not ready within %s of the fault's end", x.gateway, honestIn)})
	}
	return found
}

// judgeBounds holds samples against the bounds, and the last of them against what
// there was before the fault.
func judgeBounds(name string, samples []sample, before sample, restarted bool) (found []violation) {
	add := func(format string, args ...any) {
		found = append(found, violation{unbounded, name + " " + fmt.Sprintf(format, args...)})
	}
	var most, last sample
	for _, s := range samples {
		most.memory, most.goroutines, most.descriptors = max(most.memory, s.memory), max(most.goroutines, s.goroutines), max(most.descriptors, s.descriptors)
		if s.goroutines > 0 {
			last = s
		}
	}
	if most.memory > mostMemory {
		add("took %d MiB", most.memory>>20)
	}
	if most.goroutines > mostGoroutines {
		add("had %d goroutines", most.goroutines)
	}
	if most.descriptors > mostDescriptors {
		add("had %d descriptors open", most.descriptors)
	}
	if restarted || before.goroutines == 0 || last.goroutines == 0 {
		return found
	}
	if last.goroutines > before.goroutines+goroutinesLeft {
		add("ended with %d goroutines, and had %d before the fault", last.goroutines, before.goroutines)
	}
	if was, is := before.descriptors-before.connections, last.descriptors-last.connections; is > was+descriptorsLeft {
		add("ended with %d descriptors besides its clients', and had %d before the fault", is, was)
	}
	return found
}

func peakMemory(samples []sample) (most int) {
	for _, s := range samples {
		most = max(most, s.memory)
	}
	return most
}
