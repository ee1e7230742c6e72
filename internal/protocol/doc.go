// Package protocol is Fanfare's wire protocol, version 1: it decodes and
// checks what a client asks, and encodes what a gateway answers, in bytes and
// values. The client's half of the same (encoding requests, decoding what a
// gateway sends) is here too, so that the two can be tested against each other.
//
// It owns the envelope, the names and their limits, the error codes, positions
// and the meaning of close codes. Nothing in it starts a goroutine, does I/O or
// keeps state between calls; a [Decoder] is scratch space for the one goroutine
// that uses it, and every Append function may be called from any.
//
// It never re-encodes an application's data: [Request.Data] and
// [Request.Value] are slices of the message, byte for byte, and an Append
// function writes them as they are.
//
// # The envelope
//
//	{"type":T,"version":1,"request_id":ID,"payload":{…}}
//
// A message is read in two steps. jsontext judges it whole: one value, no
// duplicate names at any level, valid UTF-8, no lone surrogates; nesting is
// bounded before that. What has passed is known to be good JSON, so that the
// members wanted are then found by a scanner that checks nothing (scan.go),
// whatever order they stand in, without a second validation and without an
// allocation.
package protocol

// Version is the protocol version that this package speaks.
const Version = 1

// Subprotocol is the WebSocket subprotocol that names version 1 in JSON.
const Subprotocol = "fanfare.v1.json"

// MaxDepth is the deepest nesting of a message, its envelope being level 1.
const MaxDepth = 64

// MaxSeq is the greatest sequence number: every JSON implementation can hold
// it exactly (RFC 8259 section 6).
const MaxSeq = 1<<53 - 1

// Limits of names and of counts in requests.
const (
	MaxRoom      = 128  // bytes of a room's name
	MaxUser      = 64   // characters of a user's name
	MaxEpoch     = 64   // bytes of an epoch
	MaxEvent     = 64   // characters of an event's name
	MaxPublishID = 64   // bytes of a publish's id
	MaxRequestID = 64   // bytes of a request_id
	MaxUserKey   = 64   // bytes of the key that a user's name is taken back with
	MaxCursor    = 256  // bytes of a page's cursor: a user's name fits in
	MaxHistory   = 1000 // messages one history request may ask for
	MaxMembers   = 1000 // users one members request may ask for
	DefaultLimit = 100  // messages or users a request gets that names no limit
)
