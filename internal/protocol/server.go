package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Server is what a gateway sent. Type says which of the fields has the
// payload; a type that this package does not know leaves them all empty.
// Nothing in it aliases the message it was decoded from.
type Server struct {
	Type string
	ID   string // request_id; empty: an event

	Time          int64  // pong: Unix milliseconds
	Value         []byte // echo: raw JSON; nil: none
	Left          string // left: the room
	Joined        Joined
	Published     Published
	History       History
	Members       Members
	Registered    Registered
	Authenticated Authenticated
	Welcome       Welcome
	Message       Message
	Presence      Presence
	Gap           Gap
	Reset         Reset
	Reconnect     Reconnect
	Err           *Error // error
}

// Reconnect is a gateway's wish that the client connect again.
type Reconnect struct {
	After  time.Duration
	Reason string
}

// ErrServerFrame is wrapped by every error of DecodeServer.
var ErrServerFrame = errors.New("bad server frame")

// DecodeServer reads what a gateway sent. Unknown types and fields are
// tolerated; a field of the wrong type is an error that wraps
// [ErrServerFrame].
func DecodeServer(msg []byte) (Server, error) {
	if tooDeep(msg, MaxDepth) || !jsontext.Value(msg).IsValid() {
		return Server{}, fmt.Errorf("%w: not JSON", ErrServerFrame)
	}
	var d serverDecoder
	var s Server
	var payload []byte
	d.each("envelope", msg[skipSpace(msg, 0):], func(name, value []byte) bool {
		ok := true
		switch string(name) {
		case "type":
			ok = d.str(value, &s.Type) && s.Type != ""
		case "request_id":
			ok = d.str(value, &s.ID)
		case "payload":
			payload = value
		}
		return ok
	})
	if s.Type == "" {
		d.fail("type")
	}
	if d.bad == "" {
		d.payload(payload, &s)
	}
	if d.bad != "" {
		return Server{}, fmt.Errorf("%w: field %q", ErrServerFrame, d.bad)
	}
	return s, nil
}

// Payload returns the payload of a message that DecodeServer took, as it stands;
// nil: it has none.
func Payload(msg []byte) []byte {
	for m := (members{object: msg[skipSpace(msg, 0):]}); ; {
		name, value, ok := m.member()
		if !ok || string(name) == `"payload"` {
			return value
		}
	}
}

// serverDecoder keeps the first field that was not as it must be.
type serverDecoder struct {
	bad     string
	scratch []byte
}

func (d *serverDecoder) fail(field string) {
	if d.bad == "" {
		d.bad = field
	}
}

// each calls field for every member of the object that is the value of the
// field called where; field reports whether the member was as it must be.
func (d *serverDecoder) each(where string, value []byte, field func(name, value []byte) bool) {
	if len(value) == 0 || value[0] != '{' {
		d.fail(where)
		return
	}
	for m := (members{object: value}); d.bad == ""; {
		name, v, ok := m.member()
		if !ok {
			return
		}
		if name = text(name, &d.scratch); !field(name, v) {
			d.fail(string(name))
		}
	}
}

// every calls element for each of an array's; it returns false at the first
// that is not as it must be, and where the value is no array.
func (d *serverDecoder) every(array []byte, element func(value []byte) bool) bool {
	if array[0] != '[' {
		return false
	}
	for e := (elements{array: array}); ; {
		value, ok := e.element()
		if !ok {
			return true
		}
		if !element(value) {
			return false
		}
	}
}

func (d *serverDecoder) payload(raw []byte, s *Server) {
	switch s.Type {
	case ServerMessage:
		d.message(raw, &s.Message)
	case ServerEcho:
		s.Value = bytes.Clone(raw)
	case ServerPong:
		d.each("payload", raw, func(name, v []byte) bool {
			return string(name) != "time" || signed(v, &s.Time)
		})
	case ServerLeft:
		d.each("payload", raw, func(name, v []byte) bool {
			return string(name) != "room" || d.str(v, &s.Left)
		})
	case ServerJoined:
		d.joined(raw, &s.Joined)
	case ServerPublished:
		d.published(raw, &s.Published)
	case ServerHistory:
		d.history(raw, &s.History)
	case ServerMembers:
		d.members(raw, &s.Members)
	case ServerRegistered:
		d.registered(raw, &s.Registered)
	case ServerAuthenticated:
		d.authenticated(raw, &s.Authenticated)
	case ServerPresence:
		d.presence(raw, &s.Presence)
	case ServerWelcome:
		d.welcome(raw, &s.Welcome)
	case ServerGap:
		d.gap(raw, &s.Gap)
	case ServerReset:
		d.reset(raw, &s.Reset)
	case ServerReconnect:
		d.each("payload", raw, func(name, v []byte) bool {
			switch string(name) {
			case "after_ms":
				return millis(v, &s.Reconnect.After)
			case "reason":
				return d.str(v, &s.Reconnect.Reason)
			}
			return true
		})
	case ServerError:
		s.Err = new(Error)
		d.err(raw, s.Err)
	}
}

func (d *serverDecoder) position(name, v []byte, p *Position) bool {
	switch string(name) {
	case "epoch":
		return d.str(v, &p.Epoch)
	case "seq":
		return number(v, &p.Seq)
	}
	return true
}

func (d *serverDecoder) str(v []byte, s *string) bool {
	if v[0] != '"' {
		return false
	}
	*s = string(text(v, &d.scratch))
	return true
}

func (d *serverDecoder) strings(v []byte, list *[]string) bool {
	return d.every(v, func(element []byte) bool {
		var s string
		ok := d.str(element, &s)
		*list = append(*list, s)
		return ok
	})
}

func number(v []byte, n *uint64) (ok bool) {
	*n, ok = integer(v)
	return ok
}

func signed(v []byte, n *int64) bool {
	i, err := strconv.ParseInt(string(v), 10, 64)
	*n = i
	return err == nil
}

func count(v []byte, n *int) bool {
	i, err := strconv.Atoi(string(v))
	*n = i
	return err == nil
}

// millis reads whole milliseconds; more than a Duration holds is not taken.
func millis(v []byte, d *time.Duration) bool {
	n, ok := integer(v)
	*d = time.Duration(n) * time.Millisecond
	return ok && n <= math.MaxInt64/uint64(time.Millisecond)
}
