package protocol

import (
	"bytes"
	"errors"
	"io"

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
	TypeMembers
	TypeRegister
	TypeAuth
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
	case TypeMembers:
		return "members"
	case TypeRegister:
		return "register"
	case TypeAuth:
		return "auth"
	default:
		return "unknown"
	}
}

// inRoom reports whether a request of the type is about one room.
func (t Type) inRoom() bool { return t != TypeRegister && t != TypeAuth }

// Request is a decoded request. Byte fields are slices of the message or of
// the Decoder's scratch: they are valid until the message's memory is reused
// or Decode is called again. Strings in them are decoded, without quotes.
type Request struct {
	Type Type
	ID   []byte // request_id; empty: none

	Room []byte // join, leave, publish, history, members

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
	Limit     int // history: 1 to MaxHistory; members: 1 to MaxMembers

	Cursor []byte // members; empty: from the first

	Username    []byte // register: in NFC
	UsernameKey []byte // register; empty: none

	Token []byte // auth

	Value []byte // echo: the raw payload; nil: there was none
}

// scratchKept bounds the memory that a Decoder keeps between messages.
const scratchKept = 4 << 10

// Decoder decodes requests. It is scratch space of one goroutine; its zero
// value is ready. Once warm, decoding a valid request allocates nothing, but
// for a user's name that has still to be put into NFC.
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
	d.trimScratch()
	if err := d.validate(msg, MaxDepth); err != nil {
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

func (d *Decoder) trimScratch() {
	if cap(d.scratch) > scratchKept {
		d.scratch = nil
	}
	d.scratch = d.scratch[:0]
}

// validate reports anything that keeps msg from being one JSON value that nests
// no deeper than depth.
func (d *Decoder) validate(msg []byte, depth int) *Error {
	if tooDeep(msg, depth) {
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
	case "members":
		return TypeMembers
	case "register":
		return TypeRegister
	case "auth":
		return TypeAuth
	default:
		return 0
	}
}
