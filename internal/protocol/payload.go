package protocol

import (
	"math"

	"golang.org/x/text/unicode/norm"
)

// payload reads what belongs to the request's type.
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
	if string(name) == "room" && r.Type.inRoom() {
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
	case TypeMembers:
		return d.membersField(name, value, r)
	case TypeRegister:
		return d.registerField(name, value, r)
	case TypeAuth:
		return d.authField(name, value, r)
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
		return limit(value, MaxHistory, r)
	}
	return nil
}

func limit(value []byte, most uint64, r *Request) *Error {
	n, ok := integer(value)
	if !ok || n < 1 || n > most {
		return errLimit
	}
	r.Limit = int(n)
	return nil
}

func (d *Decoder) membersField(name, value []byte, r *Request) *Error {
	var ok bool
	switch string(name) {
	case "cursor":
		if r.Cursor, ok = d.str(value); !ok || !ValidCursor(r.Cursor) {
			return errCursor
		}
	case "limit":
		return limit(value, MaxMembers, r)
	}
	return nil
}

func (d *Decoder) registerField(name, value []byte, r *Request) *Error {
	var ok bool
	switch string(name) {
	case "username":
		if r.Username, ok = d.user(value); !ok {
			return errUsername
		}
	case "key":
		if r.UsernameKey, ok = d.str(value); !ok || !ValidUserKey(r.UsernameKey) {
			return errUserKey
		}
	}
	return nil
}

// user reads a user's name as NormalizeUser does, but makes no string of it.
func (d *Decoder) user(value []byte) ([]byte, bool) {
	name, ok := d.str(value)
	if !ok || len(name) > maxUserBytes {
		return nil, false
	}
	if !norm.NFC.IsNormal(name) {
		from := len(d.scratch)
		d.scratch = norm.NFC.Append(d.scratch, name...)
		name = d.scratch[from:len(d.scratch):len(d.scratch)]
	}
	return name, userCharacters(name)
}

func (d *Decoder) authField(name, value []byte, r *Request) *Error {
	if string(name) != "token" {
		return nil
	}
	token, ok := d.str(value)
	if !ok || len(token) == 0 {
		return errToken
	}
	r.Token = token
	return nil
}

// complete reports what is missing, or stands together and must not.
func (r *Request) complete() *Error {
	switch {
	case r.Type.inRoom() && r.Room == nil:
		return errRoom
	case r.Type == TypeRegister && r.Username == nil:
		return errUsername
	case r.Type == TypeAuth && r.Token == nil:
		return errToken
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
