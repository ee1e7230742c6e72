// Package server watches what gateways use while they are loaded: processor time,
// memory and descriptors from their processes in /proc, the same from /metrics
// where they run elsewhere, and what their counters grew by. It also starts
// gateways for a run, and pins processes to processors.
//
// A [Watch] has one goroutine, which its Stop ends and waits for.
package server
