package metrics

// TraceDrop is why a span was not sent.
type TraceDrop uint8

const (
	TraceQueue TraceDrop = iota // tracing.queue was full
	TraceSend                   // the collector did not take its batch
	traceDrops
)

var traceDropNames = [traceDrops]string{"queue", "send"}

// Traces is what is counted of traces. Any goroutine may.
type Traces struct {
	Waiting Gauge // spans that have ended and are not sent
	Sent    Counter
	dropped [traceDrops]Counter
}

// Dropped counts spans that are not sent.
func (t *Traces) Dropped(why TraceDrop, spans int) { t.dropped[why].Add(spans) }

// Drops is how many spans were not sent for that.
func (t *Traces) Drops(why TraceDrop) uint64 { return t.dropped[why].Value() }
