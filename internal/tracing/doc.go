// Package tracing records the way of sampled messages as OpenTelemetry spans and
// sends them to a collector by OTLP over HTTP. It is the one place that names
// spans and their attributes:
//
//	publish   from a client's or a backend's request to its answer
//	relay     under publish: from the broker being given the message to its answer
//	receive   under relay, on each gateway with members: from the message's arrival to its place in the room's log
//	fan-out   under receive: from there until the last event loop has written to its members
//
// Spans bear no payload, token, user, address or query, and a room's name only
// where Config.Rooms says so: otherwise the match of its class stands for it.
//
// A message's trace id is drawn when it comes in and decides whether it is
// recorded, by the rule of OpenTelemetry's TraceIDRatioBased. Whoever names a
// parent has decided already. What is not recorded costs drawing the id, and a nil
// *Tracer, which records nothing, not even that.
//
// Spans that have ended wait in a bounded queue, from which one goroutine sends
// them in batches. Nothing ever waits for a collector: what the queue has no room
// for, and what could not be sent, is dropped and counted. All methods but New and
// Close may be called from any goroutine and do not block.
//
// The client speaks OTLP itself instead of using otlptracehttp, whose generated
// service takes gRPC, a hundred packages and 5 MiB into the binary for a POST.
package tracing
