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

	Time      int64  // pong: Unix milliseconds
	Value     []byte // echo: raw JSON; nil: none
	Left      string // left: the room
	Joined    Joined
	Published Published
	History   History
	Welcome   Welcome
	Message   Message
	Gap       Gap
	Reset     Reset
	Reconnect Reconnect
	Err       *Error // error
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
	if tooDeep(msg) || !jsontext.Value(msg).IsValid() {
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

func (d *serverDecoder) message(raw []byte, m *Message) {
	d.each("payload", raw, func(name, v []byte) bool {
		switch string(name) {
		case "room":
			return d.str(v, &m.Room)
		case "epoch":
			return d.str(v, &m.Epoch)
		case "seq":
			return number(v, &m.Seq)
		case "time":
			return signed(v, &m.Time)
		case "from":
			return d.str(v, &m.From)
		case "event":
			return d.str(v, &m.Event)
		case "data":
			m.Data = bytes.Clone(v)
		}
		return true
	})
}

func (d *serverDecoder) joined(raw []byte, j *Joined) {
	d.each("payload", raw, func(name, v []byte) bool {
		switch string(name) {
		case "room":
			return d.str(v, &j.Room)
		case "recovered":
			j.Recovery = NotRecovered
			if v[0] == 't' {
				j.Recovery = Recovered
			}
			return v[0] == 't' || v[0] == 'f'
		case "members":
			return count(v, &j.Members)
		}
		return d.position(name, v, &j.Position)
	})
}

func (d *serverDecoder) published(raw []byte, p *Published) {
	d.each("payload", raw, func(name, v []byte) bool {
		switch string(name) {
		case "room":
			return d.str(v, &p.Room)
		case "duplicate":
			p.Duplicate = v[0] == 't'
			return v[0] == 't' || v[0] == 'f'
		}
		return d.position(name, v, &p.Position)
	})
}

func (d *serverDecoder) history(raw []byte, h *History) {
	d.each("payload", raw, func(name, v []byte) bool {
		switch string(name) {
		case "room":
			return d.str(v, &h.Room)
		case "epoch":
			return d.str(v, &h.Epoch)
		case "first":
			return number(v, &h.First)
		case "last":
			return number(v, &h.Last)
		case "messages":
			if v[0] != '[' {
				return false
			}
			for e := (elements{array: v}); ; {
				element, ok := e.element()
				if !ok {
					return true
				}
				var m Message
				d.message(element, &m)
				h.Messages = append(h.Messages, m)
			}
		}
		return true
	})
}

func (d *serverDecoder) welcome(raw []byte, w *Welcome) {
	d.each("payload", raw, func(name, v []byte) bool {
		switch string(name) {
		case "connection":
			return d.str(v, &w.Connection)
		case "user":
			return d.str(v, &w.User)
		case "gateway":
			return d.str(v, &w.Gateway)
		case "heartbeat":
			d.each("heartbeat", v, func(name, v []byte) bool {
				switch string(name) {
				case "interval_ms":
					return millis(v, &w.HeartbeatInterval)
				case "timeout_ms":
					return millis(v, &w.HeartbeatTimeout)
				}
				return true
			})
		case "limits":
			d.each("limits", v, func(name, v []byte) bool {
				switch string(name) {
				case "message_bytes":
					return signed(v, &w.MessageBytes)
				case "rooms":
					return count(v, &w.Rooms)
				}
				return true
			})
		}
		return true
	})
}

func (d *serverDecoder) gap(raw []byte, g *Gap) {
	d.each("payload", raw, func(name, v []byte) bool {
		switch string(name) {
		case "room":
			return d.str(v, &g.Room)
		case "epoch":
			return d.str(v, &g.Epoch)
		case "from":
			return number(v, &g.From)
		case "to":
			return number(v, &g.To)
		case "reason":
			return d.str(v, (*string)(&g.Reason))
		}
		return true
	})
}

func (d *serverDecoder) reset(raw []byte, r *Reset) {
	d.each("payload", raw, func(name, v []byte) bool {
		switch string(name) {
		case "room":
			return d.str(v, &r.Room)
		case "previous":
			d.each("previous", v, func(name, v []byte) bool {
				return d.position(name, v, &r.Previous)
			})
			return true
		}
		return d.position(name, v, &r.Position)
	})
}

func (d *serverDecoder) err(raw []byte, e *Error) {
	d.each("payload", raw, func(name, v []byte) bool {
		switch string(name) {
		case "code":
			return d.str(v, (*string)(&e.Code))
		case "message":
			return d.str(v, &e.Message)
		case "field":
			return d.str(v, &e.Field)
		case "retry_after_ms":
			return millis(v, &e.RetryAfter)
		}
		return true
	})
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
