package frame

import (
	"encoding/binary"
)

// readHeader takes what in has of a frame's header. Each byte is judged as soon
// as it is there, in one order whatever the split: first byte, second byte,
// length.
func (r *Reader) readHeader(in []byte, c *ReaderConfig, masked byte) (int, *CloseError) {
	head, n := in, 0
	if r.headLen > 0 || len(in) < 2 || len(in) < headerSize(in[1]) {
		// The header is split: collect it, in most cases by the read's end.
		n = r.collectHeader(in)
		head = r.head[:r.headLen]
	}
	if len(head) == 0 {
		return n, nil
	}
	if fault := r.checkFirst(head[0], c); fault != nil {
		return n, fault
	}
	if len(head) < 2 {
		return n, nil
	}
	if fault := checkSecond(head[0], head[1], masked); fault != nil {
		return n, fault
	}
	size := headerSize(head[1])
	if len(head) < size {
		return n, nil
	}
	if n == 0 {
		n = size
	}
	length, fault := payloadLength(head)
	if fault != nil {
		return n, fault
	}
	if masked != 0 {
		r.mask = [4]byte(head[size-4 : size])
	}
	return n, r.begin(head[0], length, c)
}

// collectHeader appends to the kept header what in has of it.
func (r *Reader) collectHeader(in []byte) (n int) {
	for n < len(in) && (r.headLen < 2 || int(r.headLen) < headerSize(r.head[1])) {
		r.head[r.headLen] = in[n]
		r.headLen++
		n++
	}
	return n
}

// headerSize returns a header's size by its second byte.
func headerSize(second byte) int {
	size := 2
	switch second & 0x7f {
	case 126:
		size = 4
	case 127:
		size = 10
	}
	if second&bitMask != 0 {
		size += 4
	}
	return size
}

// checkFirst judges FIN, the reserved bits and the opcode against the state
// (RFC 6455 sections 5.2 and 5.4, RFC 7692 section 6).
func (r *Reader) checkFirst(first byte, c *ReaderConfig) *CloseError {
	op := Opcode(first & 0x0f)
	if rsv := first & 0x70; rsv != 0 {
		starts := op == OpText || op == OpBinary
		if rsv != bitRsv1 || !c.Deflate || !starts {
			return errReservedBits
		}
	}
	inMessage := r.flags&flagMessage != 0
	switch {
	case op.IsReserved():
		return errReservedOpcode
	case op.IsControl():
		if first&bitFin == 0 {
			return errControlFragment
		}
	case op == OpContinuation:
		if !inMessage {
			return errContinuation
		}
	case inMessage:
		return errInterleaved
	case op == OpBinary && !c.Binary:
		return errBinary
	}
	return nil
}

func checkSecond(first, second, masked byte) *CloseError {
	if second&bitMask != masked {
		if masked != 0 {
			return errUnmasked
		}
		return errMasked
	}
	if Opcode(first&0x0f).IsControl() && second&0x7f > maxControl {
		return errControlLength
	}
	return nil
}

// payloadLength decodes the length and refuses a longer form than needed and the
// 64th bit (RFC 6455 section 5.2).
func payloadLength(head []byte) (uint64, *CloseError) {
	switch short := head[1] & 0x7f; short {
	case 126:
		length := binary.BigEndian.Uint16(head[2:])
		if length <= length7 {
			return 0, errLengthForm
		}
		return uint64(length), nil
	case 127:
		length := binary.BigEndian.Uint64(head[2:])
		if length>>63 != 0 {
			return 0, errLengthSign
		}
		if length <= length16 {
			return 0, errLengthForm
		}
		return length, nil
	default:
		return uint64(short), nil
	}
}

// begin enters the payload of a frame, once its message may grow by that much.
func (r *Reader) begin(first byte, length uint64, c *ReaderConfig) *CloseError {
	op := Opcode(first & 0x0f)
	if op.IsData() {
		if c.MessageBytes > 0 && length+r.stored() > uint64(c.MessageBytes) {
			return errMessageSize
		}
		if c.Fragments > 0 && int64(r.fragments) >= int64(c.Fragments) {
			return errMessageFragments
		}
		r.beginData(first)
	}
	r.op = op
	r.left = length
	r.headLen = 0
	r.maskPos = 0
	r.phase = inPayload
	return nil
}

// stored is the payload of this message so far.
func (r *Reader) stored() uint64 {
	if r.held == nil {
		return 0
	}
	return uint64(len(r.held.message))
}

func (r *Reader) beginData(first byte) {
	if Opcode(first&0x0f) != OpContinuation {
		r.flags = flagMessage
		if Opcode(first&0x0f) == OpBinary {
			r.flags |= flagBinary
		}
		if first&bitRsv1 != 0 {
			r.flags |= flagDeflate
		}
	}
	r.flags &^= flagFin
	if first&bitFin != 0 {
		r.flags |= flagFin
	}
	r.fragments++
}
