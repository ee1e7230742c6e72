package result

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/fanfare-ws/fanfare/loadtest/internal/plan"
)

// Format is the version of the JSON. A reader refuses another.
const Format = 1

// Result is everything that a run found.
type Result struct {
	Format  int        `json:"format"`
	Run     string     `json:"run"`
	Started time.Time  `json:"started"` // when measuring began
	Machine Machine    `json:"machine"`
	Plan    *plan.Plan `json:"plan"`
	Verdict Verdict    `json:"verdict"`
	Part
	Servers []Server `json:"servers,omitempty"`
	// ClockError bounds how wrong the agents' clocks may be, and so every latency.
	ClockError time.Duration `json:"clock_error_ns,omitempty"`
}

// Machine is where the run was led from.
type Machine struct {
	System     string `json:"system"`
	Processors int    `json:"processors"`
	Model      string `json:"model,omitempty"`
	Kernel     string `json:"kernel,omitempty"`
	Go         string `json:"go"`
	Revision   string `json:"revision,omitempty"`
}

// Server is one gateway's process.
type Server struct {
	Name   string `json:"name"`
	PID    int    `json:"pid,omitempty"`
	Before Usage  `json:"before"` // before the first connection
	From   Usage  `json:"from"`   // when measuring began
	Until  Usage  `json:"until"`  // when it was over
	After  Usage  `json:"after"`  // when everyone had caught up

	Samples []Usage            `json:"samples,omitempty"`
	Metrics map[string]float64 `json:"metrics,omitempty"` // what its counters grew by while it was measured; gauges as they were when it was over
}

// Usage is what a process has used up to a moment.
type Usage struct {
	At          time.Duration `json:"at_ns"` // from when measuring began
	User        float64       `json:"user_seconds"`
	System      float64       `json:"system_seconds"`
	Memory      int64         `json:"memory_bytes"` // resident
	Descriptors int           `json:"descriptors"`
}

// CPU is the processor time in seconds.
func (u Usage) CPU() float64 { return u.User + u.System }

// Read reads a result.
func Read(text []byte) (*Result, error) {
	r := new(Result)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("not a result: %w", err)
	}
	if r.Format != Format || r.Plan == nil {
		return nil, fmt.Errorf("not a result of this version: format %d, want %d", r.Format, Format)
	}
	return r, nil
}
