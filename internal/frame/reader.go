package frame

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// ReaderConfig is what a connection's reader allows. It is shared; between two
// calls of Next its bounds may change, and hold for what comes of a message that
// has begun. A bound of 0 is none.
type ReaderConfig struct {
	MessageBytes int64 // of a whole message, as received and inflated
	Fragments    int   // frames of one message
	Binary       bool  // take binary messages; without it they end in 1003
	Deflate      bool  // permessage-deflate was negotiated
}

// Kind says what an Event is.
type Kind uint8

const (
	NeedMore Kind = iota // all bytes were consumed; no message is complete
	Text
	Binary
	Ping
	Pong
	Close
)

// Event is what one call of Next found.
type Event struct {
	Kind    Kind
	Code    uint16 // of a Close: the peer's, 1005 where it gave none
	Frames  int    // frames completed by this call, those of a message's parts included
	Payload []byte // a message, a ping's or pong's payload, or a close's reason
}

// Reader is the server's end of one direction of a connection: a push parser
// for masked frames. The zero value is ready. It holds memory only inside a
// message that is not whole.
type Reader struct {
	held *held  // nil unless payload of an unfinished frame or message is kept
	left uint64 // payload bytes of this frame still to come

	fragments uint32  // frames begun of this message
	mask      [4]byte // of this frame
	head      [ws.MaxHeaderSize]byte
	headLen   uint8 // bytes in head; 0 once the header is decoded

	op      Opcode // of this frame, its message's for a continuation
	phase   phase
	flags   flags
	maskPos uint8 // payload bytes of this frame so far, modulo 4
	partial uint8 // bytes of an unfinished rune at the end of the text so far, 0 between messages
}

// held is the memory of an unfinished message, and of an unfinished control
// frame that came in between its fragments.
type held struct {
	message []byte
	control []byte
}

// minHeld is the least that is allocated for a message in parts.
const minHeld = 64

type phase uint8

const (
	inHeader phase = iota
	inPayload
	ended // an error or a close frame was given
)

type flags uint8

const (
	flagFin     flags = 1 << iota // this frame is final
	flagMessage                   // inside a message: a fragment of it has begun
	flagBinary                    // this message is binary
	flagDeflate                   // this message is compressed
)

// ClientReader is the client's end: the same for unmasked frames.
type ClientReader struct{ Reader }

// Next reads from in as a server does. n bytes were consumed, and unmasked in
// place; with NeedMore that is all of them. The payload is valid until the next
// call and until in is reused: that of a whole frame is a part of in.
//
// err is a *CloseError. After it, and after a Close, whatever comes is consumed
// unread (RFC 6455 sections 5.5.1 and 7.1.7).
func (r *Reader) Next(in []byte, c *ReaderConfig) (ev Event, n int, err error) {
	return r.next(in, c, bitMask)
}

// Next is [Reader.Next] for frames from a server.
func (r *ClientReader) Next(in []byte, c *ReaderConfig) (ev Event, n int, err error) {
	return r.next(in, c, 0)
}

// Buffered returns the bytes of memory held for an unfinished frame or message.
func (r *Reader) Buffered() int {
	if r.held == nil {
		return 0
	}
	return cap(r.held.message) + cap(r.held.control)
}

// Mid reports whether the reader stands inside a frame or a fragmented message.
func (r *Reader) Mid() bool {
	return r.phase == inPayload || r.headLen > 0 || r.flags&flagMessage != 0
}

func (r *Reader) next(in []byte, c *ReaderConfig, masked byte) (ev Event, n int, err error) {
	for {
		var used int
		var fault *CloseError
		switch r.phase {
		case inHeader:
			used, fault = r.readHeader(in[n:], c, masked)
			n += used
		case inPayload:
			used, fault = r.readPayload(in[n:], c, &ev)
			n += used
		case ended:
			return ev, len(in), nil
		}
		if fault != nil {
			r.end()
			return Event{Frames: ev.Frames}, n, fault
		}
		if ev.Kind != NeedMore {
			return ev, n, nil
		}
		if n == len(in) && !r.complete() {
			return ev, n, nil
		}
	}
}

// complete reports whether the payload of this frame needs no more bytes.
func (r *Reader) complete() bool { return r.phase == inPayload && r.left == 0 }

func (r *Reader) end() { *r = Reader{phase: ended} }

// readPayload takes what in has of this frame's payload. A frame that is whole
// in in, of a message that has no other, is used where it lies.
func (r *Reader) readPayload(in []byte, c *ReaderConfig, ev *Event) (int, *CloseError) {
	n := len(in)
	if r.left < uint64(n) {
		n = int(r.left)
	}
	part := in[:n:n]
	r.unmask(part)
	r.left -= uint64(n)
	if r.op.IsControl() {
		return n, r.control(part, ev)
	}
	return n, r.data(part, c, ev)
}

func (r *Reader) unmask(part []byte) {
	if r.mask != [4]byte{} {
		ws.Cipher(part, r.mask, int(r.maskPos))
		r.maskPos = uint8(int(r.maskPos)+len(part)) & 3
	}
}

func (r *Reader) control(part []byte, ev *Event) *CloseError {
	if r.left > 0 {
		if len(part) > 0 {
			h := r.hold()
			h.control = append(grow(h.control, len(part), maxControl), part...)
		}
		return nil
	}
	if r.held != nil && r.held.control != nil {
		part = append(r.held.control, part...)
		r.held.control = nil
		if r.flags&flagMessage == 0 {
			r.held = nil
		}
	}
	r.phase = inHeader
	ev.Frames++
	switch r.op {
	case OpPing:
		ev.Kind, ev.Payload = Ping, part
	case OpPong:
		ev.Kind, ev.Payload = Pong, part
	default:
		return r.close(part, ev)
	}
	return nil
}

// close judges a close frame's payload (RFC 6455 section 5.5.1).
func (r *Reader) close(payload []byte, ev *Event) *CloseError {
	code, reason := CodeNoStatus, payload
	if len(payload) == 1 {
		return errCloseBody
	}
	if len(payload) > 1 {
		code, reason = binary.BigEndian.Uint16(payload), payload[2:]
		if !LegalCloseCode(code) {
			return errCloseCode
		}
		if !utf8.Valid(reason) {
			return errReasonEncoding
		}
	}
	r.end()
	ev.Kind, ev.Code, ev.Payload = Close, code, reason
	return nil
}

func (r *Reader) data(part []byte, c *ReaderConfig, ev *Event) *CloseError {
	last := r.left == 0 && r.flags&flagFin != 0
	whole := last && r.held == nil
	if r.checksText() && !r.checkText(part, last) {
		return errTextEncoding
	}
	if !whole && len(part) > 0 {
		r.store(part)
	}
	if r.left > 0 {
		return nil
	}
	r.phase = inHeader
	ev.Frames++
	if !last {
		return nil
	}
	if !whole {
		part = r.held.message
		r.held = nil
	}
	return r.message(part, c, ev)
}

// message gives a message whose payload is whole.
func (r *Reader) message(payload []byte, c *ReaderConfig, ev *Event) *CloseError {
	if r.flags&flagDeflate != 0 {
		var fault *CloseError
		if payload, fault = inflate(payload, c.MessageBytes); fault != nil {
			return fault
		}
		if r.flags&flagBinary == 0 && !utf8.Valid(payload) {
			return errTextEncoding
		}
	}
	ev.Kind, ev.Payload = Text, payload
	if r.flags&flagBinary != 0 {
		ev.Kind = Binary
	}
	r.flags = 0
	r.fragments = 0
	return nil
}

// store keeps a part of a message. Only a final frame's declared length says
// where growing may stop: with the others' it would go on by single steps.
func (r *Reader) store(part []byte) {
	h := r.hold()
	limit := uint64(math.MaxInt)
	if r.flags&flagFin != 0 {
		limit = uint64(len(h.message)) + uint64(len(part)) + r.left
	}
	h.message = append(grow(h.message, len(part), limit), part...)
}

func (r *Reader) hold() *held {
	if r.held == nil {
		r.held = new(held)
	}
	return r.held
}

// grow makes room for more bytes in b. Capacity doubles, so that appending is
// linear, and follows what has arrived, so that a declared length allocates
// nothing. It stops at limit, where no more can come.
func grow(b []byte, more int, limit uint64) []byte {
	if cap(b)-len(b) >= more {
		return b
	}
	size := max(2*cap(b), len(b)+more, minHeld)
	if limit < uint64(size) {
		size = int(limit)
	}
	grown := make([]byte, len(b), size)
	copy(grown, b)
	return grown
}
