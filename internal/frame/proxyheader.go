package frame

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// ProxyHeader is what a balancer sends ahead of all else about the connection
// that it passes on, in the PROXY protocol.
type ProxyHeader struct {
	// Client is the address that the balancer has it from. It is not valid where
	// the balancer speaks for itself (LOCAL) or does not know (UNKNOWN).
	Client netip.AddrPort
}

const (
	proxyHeaderV1   = 107 // bytes of the longest one, by its specification
	proxyHeaderV2   = 16  // bytes ahead of its addresses
	proxyHeaderMore = 4096
)

var (
	proxySignature1 = []byte("PROXY ")
	proxySignature2 = proxyproto.SIGV2
)

// ParseProxyHeader reads the header that b begins with, of version 1 or 2, and
// returns its length; 0 without a refusal: b is no more than a part of one.
func ParseProxyHeader(b []byte) (h ProxyHeader, n int, refusal *Refusal) {
	switch {
	case begins(b, proxySignature2):
		n, refusal = proxyLengthV2(b)
	case begins(b, proxySignature1):
		n, refusal = proxyLengthV1(b)
	default:
		refusal = badProxyHeader("no PROXY header, and none is taken from this proxy without one")
	}
	if n == 0 || refusal != nil {
		return h, 0, refusal
	}
	if saysNothing(b[:n]) {
		return h, n, nil
	}
	// A reader over just the header: it sees the end where another would wait.
	in := bufio.NewReaderSize(bytes.NewReader(b[:n]), n)
	read, err := proxyproto.Read(in)
	if err != nil || in.Buffered() > 0 {
		return h, 0, badProxyHeader("a malformed PROXY header")
	}
	if client, _, ok := read.TCPAddrs(); ok && read.Command.IsProxy() {
		address := client.AddrPort()
		h.Client = netip.AddrPortFrom(address.Addr().Unmap(), address.Port())
	}
	return h, n, nil
}

func badProxyHeader(message string) *Refusal { return BadRequest(ReasonProxyHeader, message) }

// begins reports whether b begins with the signature, as far as there is of it.
func begins(b, signature []byte) bool {
	n := min(len(b), len(signature))
	return bytes.Equal(b[:n], signature[:n])
}

func proxyLengthV1(b []byte) (int, *Refusal) {
	line := b[:min(len(b), proxyHeaderV1)]
	if lf := bytes.IndexByte(line, '\n'); lf >= 0 {
		return lf + 1, nil
	}
	if len(line) == proxyHeaderV1 {
		return 0, badProxyHeader("a PROXY header without an end")
	}
	return 0, nil
}

func proxyLengthV2(b []byte) (int, *Refusal) {
	if len(b) < proxyHeaderV2 {
		return 0, nil
	}
	more := int(binary.BigEndian.Uint16(b[14:]))
	if more > proxyHeaderMore {
		return 0, badProxyHeader("a PROXY header that is too long")
	}
	if len(b) < proxyHeaderV2+more {
		return 0, nil
	}
	return proxyHeaderV2 + more, nil
}

// saysNothing tells a version 2 header of a PROXY command about no family. It is
// for the receiver to take or to refuse, and the library refuses it.
func saysNothing(header []byte) bool {
	return header[0] == proxySignature2[0] && header[12] == 0x21 && header[13] == 0
}
