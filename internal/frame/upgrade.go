package frame

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/gobwas/ws"
)

// UpgradeOptions is what the gateway offers on an endpoint.
type UpgradeOptions struct {
	// Subprotocol is chosen where the client offers it. A client that offers
	// none, or only others, is accepted without one and decides for itself
	// (RFC 6455 section 4.1). No other offer is ever chosen or echoed: one may
	// be a bearer token.
	Subprotocol string
	// Deflate accepts permessage-deflate where the client offers it, without
	// context takeover on either side.
	Deflate bool
}

// Upgraded is an accepted handshake.
type Upgraded struct {
	Response []byte // the whole 101
	Deflate  bool   // permessage-deflate is in force
}

// Handshake is a client's half of an opening handshake, found to be right.
type Handshake struct {
	key       string
	offered   []string // subprotocols
	extension string   // the answer to an offer of permessage-deflate; empty: none was made
}

// ReadHandshake judges an opening handshake (RFC 6455 section 4.2.1).
func ReadHandshake(r *Request) (h Handshake, refusal *Refusal) {
	if h.key, refusal = checkHandshake(r); refusal != nil {
		return Handshake{}, refusal
	}
	var ok bool
	if h.offered, ok = r.subprotocols(); !ok {
		return Handshake{}, malformed("Sec-WebSocket-Protocol is no list of tokens")
	}
	if h.extension, ok = negotiateDeflate(r); !ok {
		return Handshake{}, malformed("Sec-WebSocket-Extensions is no list of extensions")
	}
	return h, nil
}

// Accept makes the answer.
func (h Handshake) Accept(o UpgradeOptions) Upgraded {
	a := answer{key: h.key}
	if slices.Contains(h.offered, o.Subprotocol) {
		a.subprotocol = o.Subprotocol
	}
	if o.Deflate {
		a.extension = h.extension
	}
	response, err := a.render()
	if err != nil {
		panic("frame: a handshake that was found to be right is refused: " + err.Error())
	}
	return Upgraded{Response: response, Deflate: a.extension != ""}
}

// checkHandshake returns the client's key. The version comes before the key, so
// that a client of another version learns which to speak.
func checkHandshake(r *Request) (key string, refusal *Refusal) {
	keys := r.HeaderValues("Sec-WebSocket-Key")
	versions := r.HeaderValues("Sec-WebSocket-Version")
	switch {
	case r.Method != http.MethodGet:
		return "", BadRequest(ReasonMethod, "the method of an upgrade must be GET")
	case r.minor < 1:
		return "", BadRequest(ReasonMethod, "the HTTP version of an upgrade must be 1.1")
	case r.Host == "":
		return "", malformed("no Host")
	case !r.IsUpgrade():
		return "", malformed("Upgrade must name websocket")
	case !r.lists("Connection", "upgrade"):
		return "", malformed("Connection must name upgrade")
	case len(versions) != 1 || versions[0] == "":
		return "", malformed("there must be one Sec-WebSocket-Version")
	case versions[0] != "13":
		return "", wrongVersion()
	case len(keys) != 1 || !validKey(keys[0]):
		return "", BadRequest(ReasonKey, "there must be one Sec-WebSocket-Key, base64 of 16 bytes")
	}
	return keys[0], nil
}

func validKey(key string) bool {
	nonce, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(nonce) == 16
}

// answer is what a handshake came to.
type answer struct{ key, subprotocol, extension string }

// render lets ws.Upgrader write the 101. It is given the handshake as
// checkHandshake understood it, one short line for each thing it looks at: lists
// over several lines, which it refuses, and what the client offers beside, which
// it would choose from by rules of its own, never reach it.
func (a answer) render() ([]byte, error) {
	request := "GET / HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + a.key + "\r\n"
	if a.subprotocol != "" {
		request += "Sec-WebSocket-Protocol: " + a.subprotocol + "\r\n"
	}
	upgrader := ws.Upgrader{Protocol: func([]byte) bool { return true }}
	if a.extension != "" {
		upgrader.Header = ws.HandshakeHeaderString("Sec-WebSocket-Extensions: " + a.extension + "\r\n")
	}
	var response bytes.Buffer
	_, err := upgrader.Upgrade(struct {
		io.Reader
		io.Writer
	}{strings.NewReader(request + "\r\n"), &response})
	return response.Bytes(), err
}
