package protocol

import (
	"bytes"
	"errors"
	"io"
	"math"

	"github.com/go-json-experiment/json/jsontext"
)

// Type is what a client asks for.
type Type uint8

const (
	TypePing Type = iota + 1
	TypeEcho
	TypeJoin
	TypeLeave
	TypePublish
	TypeHistory
)

// String returns the type's name on the wire.
func (t Type) String() string {
	switch t {
	case TypePing:
		return "ping"
	case TypeEcho:
		return "echo"
	case TypeJoin:
		return "join"
	case TypeLeave:
		return "leave"
	case TypePublish:
		return "publish"
	case TypeHistory:
		return "history"
	default:
		return "unknown"
	}
}

// Request is a decoded request. Byte fields are slices of the message or of
// the Decoder's scratch: they are valid until the message's memory is reused
// or Decode is called again. Strings in them are decoded, without quotes.
type Request struct {
	Type Type
	ID   []byte // request_id; empty: none

	Room []byte // join, leave, publish, history

	HasSince   bool // join
	SinceEpoch []byte
	SinceSeq   uint64
	Last       int // join; -1: not asked; at most math.MaxInt32
	Presence   bool

	Data      []byte // publish: raw JSON, byte for byte
	Event     []byte // publish; empty: none
	PublishID []byte // publish; empty: none

	HasAfter  bool // history
	After     uint64
	HasBefore bool
	Before    uint64
	Limit     int // history: 1 to MaxHistory

	Value []byte // echo: the raw payload; nil: there was none
}

// scratchKept bounds the memory that a Decoder keeps between messages.
const scratchKept = 4 << 10

// Decoder decodes requests. It is scratch space of one goroutine; its zero
// value is ready. Once warm, decoding a valid request allocates nothing.
type Decoder struct {
	json    jsontext.Decoder
	input   bytes.Buffer
	scratch []byte // decoded strings of the request at hand
}

// Decode reads one message into r. On an error r.ID still is the request_id if
// the message had a valid one, so that the reply can bear it; the other fields
// then mean nothing. The error is shared and must not be modified.
func (d *Decoder) Decode(msg []byte, r *Request) *Error {
	*r = Request{Last: -1, Limit: DefaultLimit}
	if cap(d.scratch) > scratchKept {
		d.scratch = nil
	}
	d.scratch = d.scratch[:0]

	if err := d.validate(msg); err != nil {
		return err
	}
	start := skipSpace(msg, 0)
	if msg[start] != '{' {
		return errJSON
	}
	var e envelope
	d.split(msg[start:], &e)
	if err := d.envelope(&e, r); err != nil {
		return err
	}
	return d.payload(e.payload, r)
}

// validate reports anything that keeps msg from being one JSON value.
func (d *Decoder) validate(msg []byte) *Error {
	if tooDeep(msg) {
		return errDepth
	}
	d.input = *bytes.NewBuffer(msg)
	d.json.Reset(&d.input)
	_, err := d.json.ReadValue()
	if err == nil {
		if _, err = d.json.ReadToken(); err == io.EOF {
			return nil
		}
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return errDuplicate
	}
	return errJSON
}

// envelope holds the raw values of a message's members; nil: not there.
type envelope struct{ kind, version, id, payload []byte }

func (d *Decoder) split(object []byte, e *envelope) {
	for m := (members{object: object}); ; {
		name, value, ok := m.member()
		if !ok {
			return
		}
		switch string(text(name, &d.scratch)) {
		case "type":
			e.kind = value
		case "version":
			e.version = value
		case "request_id":
			e.id = value
		case "payload":
			e.payload = value
		}
	}
}

// envelope judges everything but the payload, request_id first so that every
// later error can bear it.
func (d *Decoder) envelope(e *envelope, r *Request) *Error {
	if e.id != nil {
		id, ok := d.str(e.id)
		if !ok || !ValidRequestID(id) {
			return errRequestID
		}
		r.ID = id
	}
	if e.version != nil && string(e.version) != "1" {
		if isInteger(e.version) {
			return errVersion
		}
		return errVersionInt
	}
	if e.kind == nil {
		return errType
	}
	kind, ok := d.str(e.kind)
	if !ok {
		return errType
	}
	if r.Type = typeOf(kind); r.Type == 0 {
		return errUnknownType
	}
	return nil
}

func typeOf(name []byte) Type {
	switch string(name) {
	case "publish":
		return TypePublish
	case "ping":
		return TypePing
	case "echo":
		return TypeEcho
	case "join":
		return TypeJoin
	case "leave":
		return TypeLeave
	case "history":
		return TypeHistory
	default:
		return 0
	}
}

func (d *Decoder) payload(raw []byte, r *Request) *Error {
	if r.Type == TypeEcho {
		r.Value = raw
		return nil
	}
	if raw == nil {
		if r.Type == TypePing {
			return nil
		}
		return errNoPayload
	}
	if raw[0] != '{' {
		return errPayload
	}
	if r.Type == TypePing {
		return nil
	}
	for m := (members{object: raw}); ; {
		name, value, ok := m.member()
		if !ok {
			break
		}
		if err := d.field(text(name, &d.scratch), value, r); err != nil {
			return err
		}
	}
	return r.complete()
}

// field reads one member of the payload. A name that the type does not know is
// ignored, whatever other types make of it.
func (d *Decoder) field(name, value []byte, r *Request) *Error {
	if string(name) == "room" {
		room, ok := d.str(value)
		if !ok || !ValidRoom(room) {
			return errRoom
		}
		r.Room = room
		return nil
	}
	switch r.Type {
	case TypeJoin:
		return d.joinField(name, value, r)
	case TypePublish:
		return d.publishField(name, value, r)
	case TypeHistory:
		return d.historyField(name, value, r)
	default:
		return nil
	}
}

func (d *Decoder) joinField(name, value []byte, r *Request) *Error {
	switch string(name) {
	case "since":
		return d.since(value, r)
	case "last":
		n, ok := integer(value)
		if !ok {
			return errLast
		}
		r.Last = int(min(n, math.MaxInt32))
	case "presence":
		r.Presence = value[0] == 't'
		if !r.Presence && value[0] != 'f' {
			return errPresence
		}
	}
	return nil
}

func (d *Decoder) since(value []byte, r *Request) *Error {
	if value[0] != '{' {
		return errSince
	}
	var hasSeq bool
	for m := (members{object: value}); ; {
		name, value, ok := m.member()
		if !ok {
			break
		}
		switch string(text(name, &d.scratch)) {
		case "epoch":
			if r.SinceEpoch, ok = d.str(value); !ok || !ValidEpoch(r.SinceEpoch) {
				return errSinceEpoch
			}
		case "seq":
			if r.SinceSeq, hasSeq = integer(value); !hasSeq {
				return errSinceSeq
			}
		}
	}
	if r.SinceEpoch == nil {
		return errSinceEpoch
	}
	if !hasSeq {
		return errSinceSeq
	}
	r.HasSince = true
	return nil
}

func (d *Decoder) publishField(name, value []byte, r *Request) *Error {
	var ok bool
	switch string(name) {
	case "data":
		r.Data = value
	case "event":
		if r.Event, ok = d.str(value); !ok || !ValidEvent(r.Event) {
			return errEvent
		}
	case "id":
		if r.PublishID, ok = d.str(value); !ok || !ValidPublishID(r.PublishID) {
			return errPublishID
		}
	}
	return nil
}

func (d *Decoder) historyField(name, value []byte, r *Request) *Error {
	switch string(name) {
	case "after":
		if r.After, r.HasAfter = integer(value); !r.HasAfter {
			return errAfter
		}
	case "before":
		if r.Before, r.HasBefore = integer(value); !r.HasBefore {
			return errBefore
		}
	case "limit":
		n, ok := integer(value)
		if !ok || n < 1 || n > MaxHistory {
			return errLimit
		}
		r.Limit = int(n)
	}
	return nil
}

// complete reports what is missing, or stands together and must not.
func (r *Request) complete() *Error {
	switch {
	case r.Room == nil:
		return errRoom
	case r.Type == TypePublish && r.Data == nil:
		return errData
	case r.HasSince && r.Last >= 0:
		return errLastSince
	default:
		return nil
	}
}

// str returns the content of a JSON value if that is a string.
func (d *Decoder) str(value []byte) ([]byte, bool) {
	if value[0] != '"' {
		return nil, false
	}
	return text(value, &d.scratch), true
}
