package protocol

// Close codes that Fanfare sends or must understand: RFC 6455 section 7.4.1,
// the IANA registry (1012 to 1014), and from 4001 on Fanfare's own.
const (
	CloseNormal      = 1000
	CloseGoingAway   = 1001 // the page or the gateway goes away
	CloseProtocol    = 1002 // RFC 6455 was violated
	CloseUnsupported = 1003 // a binary message
	CloseNoStatus    = 1005 // never on the wire: a close frame without a code
	CloseAbnormal    = 1006 // never on the wire: no close frame came
	CloseInvalidUTF8 = 1007
	ClosePolicy      = 1008
	CloseTooBig      = 1009
	CloseInternal    = 1011
	CloseRestart     = 1012 // the gateway restarts or sheds load
	CloseOverloaded  = 1013
	CloseToken       = 4001 // the token ran out or was revoked
	CloseHeartbeat   = 4002 // nothing arrived for the heartbeat's timeout
	CloseSlow        = 4003 // slow consumer, where the policy is to disconnect
	CloseRate        = 4004 // rate limit abused
	CloseOperator    = 4005 // disconnected through the API
)

// Verdict says whether a client whose connection ended should come back.
type Verdict uint8

const (
	// ComeBack: connect again, with the usual back-off between attempts.
	ComeBack Verdict = iota
	// ComeBackLater: connect again, but the back-off goes on growing even if
	// the connection had lasted.
	ComeBackLater
	// NewToken: connect again only with another token.
	NewToken
	// Stop: the same would happen again, or the end was meant.
	Stop
)

// String returns the verdict's name, for logs.
func (v Verdict) String() string {
	switch v {
	case ComeBack:
		return "come_back"
	case ComeBackLater:
		return "come_back_later"
	case NewToken:
		return "new_token"
	default:
		return "stop"
	}
}

// Retry is the last column of PROTOCOL.md section 7. Codes that the table does
// not name, an abnormal end (1006) among them, are taken for a passing fault.
func Retry(code uint16) Verdict {
	switch code {
	case CloseNormal, CloseProtocol, CloseUnsupported, CloseInvalidUTF8, CloseTooBig, ClosePolicy, CloseOperator:
		return Stop
	case CloseOverloaded, CloseRate:
		return ComeBackLater
	case CloseToken:
		return NewToken
	default:
		return ComeBack
	}
}
