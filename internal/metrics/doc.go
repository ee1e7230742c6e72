// Package metrics is the one place that names Prometheus series.
//
// What is counted on an event loop lies in a Loop, one for each loop: only that
// loop's goroutine writes to it, so the hot path touches no shared cache line,
// and a scrape sums over the loops. Every label comes from a closed enum and is
// exported at zero from the start; a room, a user or a connection is never a
// label. The package starts no goroutine and serves no HTTP.
package metrics
