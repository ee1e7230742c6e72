package protocol

import "bytes"

// One function for each type of what a gateway sends; unknown members are
// passed over.

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
			return d.every(v, func(element []byte) bool {
				var m Message
				d.message(element, &m)
				h.Messages = append(h.Messages, m)
				return true
			})
		}
		return true
	})
}

func (d *serverDecoder) members(raw []byte, m *Members) {
	d.each("payload", raw, func(name, v []byte) bool {
		switch string(name) {
		case "room":
			return d.str(v, &m.Room)
		case "count":
			return count(v, &m.Count)
		case "users":
			return d.every(v, func(element []byte) bool {
				var u Member
				d.member(element, &u)
				m.Users = append(m.Users, u)
				return true
			})
		case "cursor":
			return d.str(v, &m.Cursor)
		}
		return true
	})
}

func (d *serverDecoder) member(raw []byte, m *Member) {
	d.each("users", raw, func(name, v []byte) bool {
		switch string(name) {
		case "user":
			return d.str(v, &m.User)
		case "connections":
			return count(v, &m.Connections)
		}
		return true
	})
}

func (d *serverDecoder) registered(raw []byte, r *Registered) {
	d.each("payload", raw, func(name, v []byte) bool {
		switch string(name) {
		case "username":
			return d.str(v, &r.Username)
		case "key":
			return d.str(v, &r.Key)
		}
		return true
	})
}

func (d *serverDecoder) authenticated(raw []byte, a *Authenticated) {
	d.each("payload", raw, func(name, v []byte) bool {
		switch string(name) {
		case "user":
			return d.str(v, &a.User)
		case "expires_at":
			return signed(v, &a.ExpiresAt)
		}
		return true
	})
}

func (d *serverDecoder) presence(raw []byte, p *Presence) {
	d.each("payload", raw, func(name, v []byte) bool {
		switch string(name) {
		case "room":
			return d.str(v, &p.Room)
		case "joined":
			return d.strings(v, &p.Joined)
		case "left":
			return d.strings(v, &p.Left)
		case "count":
			return count(v, &p.Count)
		case "incomplete":
			p.Incomplete = string(v) == "true"
			return p.Incomplete || string(v) == "false"
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
		case "username_key":
			return d.str(v, &w.UsernameKey)
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
