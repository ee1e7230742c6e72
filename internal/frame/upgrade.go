package frame

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"slices"
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
	Response []byte // the whole 101, behind what was there before
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

// Accept makes the answer and appends it to dst.
func (h Handshake) Accept(dst []byte, o UpgradeOptions) Upgraded {
	a := answer{key: h.key}
	if slices.Contains(h.offered, o.Subprotocol) {
		a.subprotocol = o.Subprotocol
	}
	if o.Deflate {
		a.extension = h.extension
	}
	return Upgraded{Response: a.append(dst), Deflate: a.extension != ""}
}

// checkHandshake returns the client's key. The version comes before the key, so
// that a client of another version learns which to speak.
func checkHandshake(r *Request) (key string, refusal *Refusal) {
	key, keys := r.only("Sec-WebSocket-Key")
	version, versions := r.only("Sec-WebSocket-Version")
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
	case versions != 1 || version == "":
		return "", malformed("there must be one Sec-WebSocket-Version")
	case version != "13":
		return "", wrongVersion()
	case keys != 1 || !validKey(key):
		return "", BadRequest(ReasonKey, "there must be one Sec-WebSocket-Key, base64 of 16 bytes")
	}
	return key, nil
}

// keyLen is the length of 16 bytes in base64.
const keyLen = 24

func validKey(key string) bool {
	var nonce [keyLen / 4 * 3]byte
	if len(key) != keyLen {
		return false
	}
	n, err := base64.StdEncoding.Decode(nonce[:], []byte(key))
	return err == nil && n == 16
}

// answer is what a handshake came to.
type answer struct{ key, subprotocol, extension string }

// guid is what a key is joined with before it is hashed (RFC 6455 section 1.3).
const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// append appends the 101 of RFC 6455 section 4.2.2. ws.Upgrader, which writes the
// same, would have to be given the request once more to read: that was an eighth
// of what memory a connection took from the heap, and 4 % of its processor time.
func (a answer) append(dst []byte) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	var joined [keyLen + len(guid)]byte
	hash := sha1.Sum(append(append(joined[:0], a.key...), guid...))
	dst = append(base64.StdEncoding.AppendEncode(dst, hash[:]), "\r\n"...)
	if a.subprotocol != "" {
		dst = appendField(dst, "Sec-WebSocket-Protocol", a.subprotocol)
	}
	if a.extension != "" {
		dst = appendField(dst, "Sec-WebSocket-Extensions", a.extension)
	}
	return append(dst, "\r\n"...)
}
