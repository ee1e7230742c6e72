package frame

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Opcode is a frame's opcode (RFC 6455 section 5.2).
type Opcode = ws.OpCode

// The opcodes, so that callers need not import gobwas/ws beside this package.
const (
	OpContinuation = ws.OpContinuation
	OpText         = ws.OpText
	OpBinary       = ws.OpBinary
	OpClose        = ws.OpClose
	OpPing         = ws.OpPing
	OpPong         = ws.OpPong
)

// EmptyPing and EmptyPong are whole server frames without payload, shared by
// all connections and never modified.
var (
	EmptyPing = AppendFrame(nil, OpPing, nil)
	EmptyPong = AppendFrame(nil, OpPong, nil)
)

const (
	bitFin  = 0x80
	bitRsv1 = 0x40
	bitMask = 0x80

	length7  = 125    // longest payload whose length stands in the second byte
	length16 = 0xffff // longest one whose length stands in two more bytes

	maxControl = ws.MaxControlFramePayloadSize
	maxReason  = maxControl - 2
)

// AppendHeader appends the header of an unmasked, final frame with a payload of
// length bytes. rsv1 marks the payload as compressed (RFC 7692 section 6).
func AppendHeader(dst []byte, op Opcode, length int, rsv1 bool) []byte {
	first := bitFin | byte(op)
	if rsv1 {
		first |= bitRsv1
	}
	return appendHeader(dst, first, 0, length)
}

func appendHeader(dst []byte, first, mask byte, length int) []byte {
	switch {
	case length <= length7:
		return append(dst, first, mask|byte(length))
	case length <= length16:
		return binary.BigEndian.AppendUint16(append(dst, first, mask|126), uint16(length))
	default:
		return binary.BigEndian.AppendUint64(append(dst, first, mask|127), uint64(length))
	}
}

// AppendFrame appends a whole server frame: unmasked, final, uncompressed.
func AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	return append(AppendHeader(dst, op, len(payload), false), payload...)
}

// AppendMasked appends a whole client frame: final, uncompressed and masked
// with mask, which RFC 6455 section 10.3 wants unpredictable and new each time.
// payload is not modified.
func AppendMasked(dst []byte, op Opcode, payload []byte, mask [4]byte) []byte {
	dst = appendHeader(dst, bitFin|byte(op), bitMask, len(payload))
	dst = append(dst, mask[:]...)
	start := len(dst)
	dst = append(dst, payload...)
	ws.Cipher(dst[start:], mask, 0)
	return dst
}

// AppendClose appends a whole server close frame; see [AppendCloseBody].
func AppendClose(dst []byte, code uint16, reason string) []byte {
	var body [maxControl]byte
	return AppendFrame(dst, OpClose, AppendCloseBody(body[:0], code, reason))
}

// AppendCloseBody appends a close frame's payload: the code, and the reason cut
// at a rune to 123 bytes. A code that must not be on the wire, of which 1005 is
// the one to expect, gives an empty payload (RFC 6455 section 7.4.1).
func AppendCloseBody(dst []byte, code uint16, reason string) []byte {
	if !LegalCloseCode(code) {
		return dst
	}
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, cutReason(reason)...)
}

func cutReason(reason string) string {
	if !utf8.ValidString(reason) {
		reason = strings.ToValidUTF8(reason, "\uFFFD")
	}
	if len(reason) <= maxReason {
		return reason
	}
	end := maxReason
	for !utf8.RuneStart(reason[end]) {
		end--
	}
	return reason[:end]
}
