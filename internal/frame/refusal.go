package frame

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// Reasons of a refusal: the closed set of labels under which handshakes that came
// to nothing are counted, whoever ends them.
const (
	ReasonBadRequest           = "bad_request"            // 400: not HTTP as RFC 9112 has it, or no handshake as RFC 6455 has it
	ReasonMethod               = "method"                 // 400: an upgrade that is no GET or of HTTP/1.0
	ReasonBody                 = "body"                   // 400: an upgrade with a body
	ReasonProxyHeader          = "proxy_header"           // 400: a trusted proxy's connection without a sound PROXY header
	ReasonKey                  = "key"                    // 400: no key, several, or not base64 of 16 bytes
	ReasonQuery                = "query"                  // 400: a query parameter that does not parse
	ReasonVersion              = "version"                // 426: a WebSocket version other than 13
	ReasonHeadTooLarge         = "head_too_large"         // 431
	ReasonTooManyHeaders       = "too_many_headers"       // 431
	ReasonTimeout              = "timeout"                // 408: the head did not arrive in time
	ReasonClosed               = "closed"                 // no answer: the peer went before its head was whole
	ReasonHandshakes           = "handshakes"             // 503: unfinished handshakes in all
	ReasonHandshakesPerAddress = "handshakes_per_address" // 429
	ReasonConnections          = "connections"            // 503
	ReasonQueuedBytes          = "queued_bytes"           // 503
	ReasonMemory               = "memory"                 // 503
	ReasonOrigin               = "origin"                 // 403
	ReasonOriginMissing        = "origin_missing"         // 403: no Origin where one is required
	ReasonToken                = "token"                  // 401: a token that does not verify
	ReasonTokenMissing         = "token_missing"          // 401: none, where one is required
	ReasonTokens               = "tokens"                 // 400: more than one
	ReasonPath                 = "path"                   // 404: no WebSocket there
	ReasonDraining             = "draining"               // 503: the gateway is going away
	ReasonNotReady             = "not_ready"              // 503
)

// Refusal is an HTTP answer that ends the connection.
type Refusal struct {
	Status  int
	Code    string      // for programs, in the JSON body; the reason where empty
	Message string      // for people, in the JSON body
	Header  [][2]string // more header fields, names and values ours and valid
	Reason  string      // one of the Reason constants
}

// BadRequest refuses with 400 what is malformed in the way that reason says.
func BadRequest(reason, message string) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Code: "bad_request", Message: message, Reason: reason}
}

// HeadTooLarge refuses a head of more than limits.Bytes, whole or not.
func HeadTooLarge(limits HeadLimits) *Refusal {
	return &Refusal{
		Status:  http.StatusRequestHeaderFieldsTooLarge,
		Code:    "head_too_large",
		Message: fmt.Sprintf("the request head is above %d bytes", limits.Bytes),
		Reason:  ReasonHeadTooLarge,
	}
}

func tooManyHeaders(limits HeadLimits) *Refusal {
	return &Refusal{
		Status:  http.StatusRequestHeaderFieldsTooLarge,
		Code:    "too_many_headers",
		Message: fmt.Sprintf("the request has more than %d header lines", limits.Headers),
		Reason:  ReasonTooManyHeaders,
	}
}

// wrongVersion is RFC 6455 section 4.4's answer; RFC 9110 section 15.5.22 wants
// the Upgrade field in a 426.
func wrongVersion() *Refusal {
	return &Refusal{
		Status:  http.StatusUpgradeRequired,
		Code:    "websocket_version",
		Message: "Sec-WebSocket-Version must be 13",
		Header:  [][2]string{{"Sec-WebSocket-Version", "13"}, {"Upgrade", "websocket"}},
		Reason:  ReasonVersion,
	}
}

// Error gives the status and the message.
func (r *Refusal) Error() string {
	return strconv.Itoa(r.Status) + " " + http.StatusText(r.Status) + ": " + r.Message
}

// Append appends the whole response: status line, header and a body of
// {"error":{"code":…,"message":…}}.
func (r *Refusal) Append(dst []byte) []byte {
	body := r.body()
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(r.Status)...)
	connection := "close"
	for _, field := range r.Header {
		if field[0] == "Upgrade" {
			// RFC 9110 section 7.8: a sender of Upgrade names it in Connection.
			connection = "close, Upgrade"
		}
	}
	dst = appendField(append(dst, "\r\n"...), "Connection", connection)
	dst = appendField(dst, "Content-Type", "application/json")
	dst = appendField(dst, "Content-Length", strconv.Itoa(len(body)))
	for _, field := range r.Header {
		dst = appendField(dst, field[0], field[1])
	}
	dst = append(dst, "\r\n"...)
	return append(dst, body...)
}

func (r *Refusal) body() []byte {
	var answer struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	answer.Error.Code = r.Code
	if r.Code == "" {
		answer.Error.Code = r.Reason
	}
	answer.Error.Message = r.Message
	body, err := json.Marshal(answer)
	if err != nil {
		panic("frame: two strings do not marshal: " + err.Error())
	}
	return append(body, '\n')
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}
