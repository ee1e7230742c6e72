package tracing

import (
	"context"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Via is how a message came in.
type Via string

// The ways.
const (
	ViaWebSocket Via = "websocket"
	ViaPost      Via = "post" // to the public port, by who cannot use a WebSocket
	ViaAPI       Via = "api"
)

// Outcome is what became of a publication.
type Outcome string

// The outcomes.
const (
	Stored      Outcome = "stored"
	Duplicate   Outcome = "duplicate"
	Unavailable Outcome = "unavailable"
	Forbidden   Outcome = "forbidden"
	RateLimited Outcome = "rate_limited"
)

// Message is what spans may say of a message.
type Message struct {
	Room  string
	Class string // the match of the room's class
	Bytes int    // of its data
}

// Position is a message's place in its room.
type Position struct {
	Epoch string
	Seq   uint64
}

func (p Position) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{
		semconv.MessagingMessageID(p.Epoch + ":" + strconv.FormatUint(p.Seq, 10)),
		attribute.Int64("fanfare.message.seq", int64(p.Seq)),
	}
}

// Place is where in a trace what comes next belongs.
type Place struct {
	Trace [16]byte
	Span  [8]byte
}

func placeOf(s trace.Span) Place {
	sc := s.SpanContext()
	return Place{Trace: sc.TraceID(), Span: sc.SpanID()}
}

// begin begins a span of a message.
func (t *Tracer) begin(ctx context.Context, name string, kind trace.SpanKind, m *Message, at time.Time, more ...attribute.KeyValue) (context.Context, trace.Span) {
	attributes := make([]attribute.KeyValue, 0, 12)
	attributes = append(append(attributes, t.common...),
		semconv.MessagingOperationName(name),
		semconv.MessagingDestinationTemplate(m.Class),
		semconv.MessagingMessageBodySize(m.Bytes),
	)
	if t.rooms {
		attributes = append(attributes, semconv.MessagingDestinationName(m.Room))
	}
	return t.tracer.Start(ctx, name+" "+m.Class, trace.WithSpanKind(kind), trace.WithTimestamp(at),
		trace.WithAttributes(append(attributes, more...)...))
}

// Publication is a message on its way to the broker. It passes from hand to hand;
// a nil one is not recorded.
type Publication struct {
	tracer  *Tracer
	message Message
	ctx     context.Context // of publish
	publish trace.Span
	relay   trace.Span // nil: not given to the broker yet
}

// Publish begins the span of a request to publish, which came now, and returns nil
// where it is not recorded. The parent in ctx, if there is one, decides that. of
// tells what of the message is to be said.
func (t *Tracer) Publish(ctx context.Context, via Via, of func() Message) *Publication {
	if t == nil {
		return nil
	}
	if parent := trace.SpanContextFromContext(ctx); parent.IsValid() {
		if !parent.IsSampled() {
			return nil
		}
	} else {
		id := newTraceID()
		if !sampled(id, t.bound) {
			return nil
		}
		ctx = context.WithValue(ctx, idKey{}, id)
	}
	p := &Publication{tracer: t, message: of()}
	p.ctx, p.publish = t.begin(ctx, "publish", trace.SpanKindServer, &p.message, time.Now(),
		semconv.MessagingOperationTypeSend, attribute.String("fanfare.via", string(via)))
	return p
}

// Relay begins the span of what the broker does. Where the message goes on from
// there is for its way to other gateways.
func (p *Publication) Relay() Place {
	_, p.relay = p.tracer.begin(p.ctx, "relay", trace.SpanKindProducer, &p.message, time.Now(), semconv.MessagingOperationTypeSend)
	return placeOf(p.relay)
}

// Relayed says what the broker has answered.
func (p *Publication) Relayed(o Outcome, at Position) {
	if p != nil && p.relay != nil {
		conclude(p.relay, o, at)
	}
}

// End says what was answered to who published. at is of what has a place.
func (p *Publication) End(o Outcome, at Position) {
	if p != nil {
		conclude(p.publish, o, at)
	}
}

func conclude(s trace.Span, o Outcome, at Position) {
	s.SetAttributes(attribute.String("fanfare.outcome", string(o)))
	switch o {
	case Stored, Duplicate:
		s.SetAttributes(at.attributes()...)
	case Unavailable: // what a client did wrong is no error of a server's span
		s.SetStatus(codes.Error, string(o))
		fallthrough
	default:
		s.SetAttributes(semconv.ErrorTypeKey.String(string(o)))
	}
	s.End()
}

// Arrival is a message that the broker has brought.
type Arrival struct {
	Message
	Position
	Place
	Published time.Time // by the broker's clock
	Arrived   time.Time
}

// Receipt is a message that has its place in the room's log and goes to the
// members.
type Receipt struct {
	tracer  *Tracer
	arrival Arrival
	ctx     context.Context // of receive
	at      time.Time
}

// Receive records the way of a message from its arrival into the log, which it has
// just reached.
func (t *Tracer) Receive(a Arrival) *Receipt {
	parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: a.Trace, SpanID: a.Span, TraceFlags: trace.FlagsSampled, Remote: true})
	r := &Receipt{tracer: t, arrival: a, at: time.Now()}
	ctx, span := t.begin(trace.ContextWithRemoteSpanContext(context.Background(), parent), "receive", trace.SpanKindConsumer, &a.Message, a.Arrived,
		append(a.attributes(), semconv.MessagingOperationTypeReceive,
			// By two machines' clocks, and to the millisecond.
			attribute.Float64("fanfare.relay.lag_ms", float64(a.Arrived.Sub(a.Published).Microseconds())/1e3))...)
	span.End(trace.WithTimestamp(r.at))
	r.ctx = ctx
	return r
}

// Delivery is what a fan-out has done. It counts what was written while the message
// was being written, others of its room that went in the same writes included.
type Delivery struct {
	Members int   // that were written to
	Behind  int   // times that a member's socket took nothing, or not all
	Dropped int64 // frames that members who are too slow will not get
	Bytes   int64 // written
	Loops   int   // with members
}

// FanOut records what was done between the message's place in the log and now.
func (r *Receipt) FanOut(d Delivery) {
	a := &r.arrival
	_, span := r.tracer.begin(r.ctx, "fan-out", trace.SpanKindInternal, &a.Message, r.at,
		append(a.attributes(), semconv.MessagingOperationTypeProcess,
			attribute.Int("fanfare.members", d.Members), attribute.Int("fanfare.members.behind", d.Behind),
			attribute.Int64("fanfare.frames.dropped", d.Dropped), attribute.Int64("fanfare.bytes", d.Bytes),
			attribute.Int("fanfare.loops", d.Loops))...)
	span.End()
}
