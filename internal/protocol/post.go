package protocol

// Post is a message that a backend publishes over HTTP: a publish that stands
// for itself, without an envelope. Byte fields are as those of a Request.
type Post struct {
	Room  []byte // of a batch alone; the path names that of a single one
	Data  []byte // raw JSON, byte for byte
	Event []byte // empty: none
	ID    []byte // empty: none
	From  string // in NFC; empty: not said
	// Err is what is wrong with this one of a batch; the fields then mean nothing.
	Err *Error
}

// DecodePost reads {data, event?, id?, from?}. A body is what a publish's payload
// is, with the same rules, so that it may be one level less deep than a message.
// The error is shared and must not be modified.
func (d *Decoder) DecodePost(body []byte, p *Post) *Error {
	*p = Post{}
	d.trimScratch()
	switch err := d.validate(body, MaxDepth-1); err {
	case nil:
	case errDepth:
		return errPostDepth
	default:
		return err
	}
	value := body[skipSpace(body, 0):]
	if value[0] != '{' {
		return errJSON
	}
	return d.post(value, p, nil)
}

// DecodePosts appends what [{room, data, event?, id?, from?}, ...] has, at most as
// many as limit. What is no JSON is an error of all; what is wrong with one
// message is that one's Err.
func (d *Decoder) DecodePosts(posts []Post, body []byte, limit int) ([]Post, *Error) {
	d.trimScratch()
	if err := d.validate(body, MaxDepth); err != nil {
		return posts, err
	}
	value := body[skipSpace(body, 0):]
	if value[0] != '[' {
		return posts, errPosts
	}
	for e := (elements{array: value}); ; {
		object, ok := e.element()
		if !ok {
			return posts, nil
		}
		if limit--; limit < 0 {
			return posts, errPostCount
		}
		var p Post
		if object[0] != '{' {
			p.Err = errPost
		} else if err := d.post(object, &p, &p.Room); err != nil {
			p.Err = err
		}
		posts = append(posts, p)
	}
}

// post reads one message. room is where its room's name goes; nil: it is not
// looked at.
func (d *Decoder) post(object []byte, p *Post, room *[]byte) *Error {
	r := Request{Type: TypePublish}
	for m := (members{object: object}); ; {
		name, value, ok := m.member()
		if !ok {
			break
		}
		switch name = text(name, &d.scratch); string(name) {
		case "room":
			if room == nil {
				continue
			}
			if *room, ok = d.str(value); !ok || !ValidRoom(*room) {
				return errRoom
			}
		case "from":
			from, ok := d.str(value)
			if ok {
				p.From, ok = NormalizeUser(string(from))
			}
			if !ok {
				return errFrom
			}
		default:
			if err := d.publishField(name, value, &r); err != nil {
				return err
			}
		}
	}
	switch {
	case room != nil && *room == nil:
		return errRoom
	case r.Data == nil:
		return errData
	}
	p.Data, p.Event, p.ID = r.Data, r.Event, r.PublishID
	return nil
}

// AppendPosition appends the result of a publish over HTTP, or where a room
// stands: the payload of published.
func AppendPosition(dst []byte, room string, p Position, duplicate bool) []byte {
	dst = strMember(append(dst, '{'), `"room":`, room)
	dst = position(append(dst, ','), p)
	if duplicate {
		dst = append(dst, `,"duplicate":true`...)
	}
	return append(dst, '}')
}

// AppendHistoryPayload appends the payload of a history reply, which is the answer
// over HTTP too.
func AppendHistoryPayload(dst []byte, h *History) []byte {
	dst = strMember(append(dst, '{'), `"room":`, h.Room)
	dst = strMember(dst, `,"epoch":`, h.Epoch)
	dst = append(dst, `,"messages":[`...)
	for i := range h.Messages {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = messagePayload(append(dst, '{'), &h.Messages[i])
		dst = append(dst, '}')
	}
	dst = uintMember(dst, `],"first":`, h.First)
	dst = uintMember(dst, `,"last":`, h.Last)
	return append(dst, '}')
}
