package frame

// Close codes (RFC 6455 section 7.4.1 and the IANA registry) that this package
// sends or gives. Fanfare's own, 4000 and above, belong to package protocol.
const (
	CodeNormal         uint16 = 1000
	CodeGoingAway      uint16 = 1001
	CodeProtocolError  uint16 = 1002
	CodeUnsupported    uint16 = 1003
	CodeNoStatus       uint16 = 1005 // never on the wire: a close frame without a body
	CodeInvalidPayload uint16 = 1007
	CodePolicy         uint16 = 1008
	CodeTooBig         uint16 = 1009
	CodeInternal       uint16 = 1011
)

// LegalCloseCode reports whether code may stand in a close frame: 1000 to 1003,
// 1007 to 1014 (1012 to 1014 were registered after RFC 6455) and 3000 to 4999.
func LegalCloseCode(code uint16) bool {
	switch {
	case code >= 1000 && code <= 1003,
		code >= 1007 && code <= 1014,
		code >= 3000 && code <= 4999:
		return true
	}
	return false
}

// CloseError is a violation that ends the connection: Code goes into the close
// frame, and nothing that the peer sends after it may be read (RFC 6455
// section 7.1.7).
type CloseError struct {
	Code   uint16
	Reason string // in words, at most 123 bytes
}

func (e *CloseError) Error() string { return e.Reason }

// The violations are values made once, so that a hostile peer's costs nothing.
var (
	errReservedBits     = &CloseError{CodeProtocolError, "reserved bits set"}
	errReservedOpcode   = &CloseError{CodeProtocolError, "reserved opcode"}
	errContinuation     = &CloseError{CodeProtocolError, "continuation of no message"}
	errInterleaved      = &CloseError{CodeProtocolError, "new message inside a fragmented one"}
	errControlFragment  = &CloseError{CodeProtocolError, "fragmented control frame"}
	errControlLength    = &CloseError{CodeProtocolError, "control frame above 125 bytes"}
	errUnmasked         = &CloseError{CodeProtocolError, "frame from a client is not masked"}
	errMasked           = &CloseError{CodeProtocolError, "frame from a server is masked"}
	errLengthForm       = &CloseError{CodeProtocolError, "payload length not in its shortest form"}
	errLengthSign       = &CloseError{CodeProtocolError, "payload length above 63 bits"}
	errCloseBody        = &CloseError{CodeProtocolError, "close frame of one byte"}
	errCloseCode        = &CloseError{CodeProtocolError, "illegal close code"}
	errBinary           = &CloseError{CodeUnsupported, "binary messages are not taken here"}
	errTextEncoding     = &CloseError{CodeInvalidPayload, "text is not valid UTF-8"}
	errReasonEncoding   = &CloseError{CodeInvalidPayload, "close reason is not valid UTF-8"}
	errDeflate          = &CloseError{CodeInvalidPayload, "compressed message is corrupt"}
	errMessageSize      = &CloseError{CodeTooBig, "message above the size limit"}
	errMessageFragments = &CloseError{CodeTooBig, "message in too many fragments"}
)
