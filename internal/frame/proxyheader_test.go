package frame

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
)

// proxyV2 is a version 2 header with a command, a family and what follows.
func proxyV2(command, family byte, rest ...byte) string {
	b := append(slices.Clone(proxyproto.SIGV2), command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rest)))
	return string(append(b, rest...))
}

func v2Addresses(source, destination string) []byte {
	a, b := netip.MustParseAddrPort(source), netip.MustParseAddrPort(destination)
	rest := append(a.Addr().AsSlice(), b.Addr().AsSlice()...)
	rest = binary.BigEndian.AppendUint16(rest, a.Port())
	return binary.BigEndian.AppendUint16(rest, b.Port())
}

var proxyHeaders = []struct{ header, client string }{
	{"PROXY TCP4 1.2.3.4 10.0.0.1 5678 443\r\n", "1.2.3.4:5678"},
	{"PROXY TCP6 2001:db8::1 fd00::1 5678 443\r\n", "[2001:db8::1]:5678"},
	{"PROXY TCP6 ::ffff:1.2.3.4 fd00::1 5678 443\r\n", "1.2.3.4:5678"},
	{"PROXY UNKNOWN\r\n", ""},
	{"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", ""},
	{proxyV2(0x21, 0x11, v2Addresses("1.2.3.4:5678", "10.0.0.1:443")...), "1.2.3.4:5678"},
	{proxyV2(0x21, 0x21, v2Addresses("[2001:db8::1]:5678", "[fd00::1]:443")...), "[2001:db8::1]:5678"},
	{proxyV2(0x21, 0x21, v2Addresses("[::ffff:1.2.3.4]:5678", "[fd00::1]:443")...), "1.2.3.4:5678"},
	{proxyV2(0x21, 0x11, append(v2Addresses("1.2.3.4:5678", "10.0.0.1:443"), 0xea, 0, 3, 'a', 'b', 'c')...), "1.2.3.4:5678"},
	{proxyV2(0x21, 0x11, append(v2Addresses("1.2.3.4:5678", "10.0.0.1:443"), make([]byte, 4096-12)...)...), "1.2.3.4:5678"},
	{proxyV2(0x20, 0x00), ""},
	{proxyV2(0x20, 0x11, v2Addresses("1.2.3.4:5678", "10.0.0.1:443")...), ""},
	{proxyV2(0x20, 0x11), ""},
	{proxyV2(0x21, 0x00), ""},
	{proxyV2(0x21, 0x00, 0x04, 0, 1, 0), ""},
	{proxyV2(0x21, 0x31, make([]byte, 216)...), ""},
}

func TestProxyHeadersAtEverySplit(t *testing.T) {
	for _, test := range proxyHeaders {
		for at := range test.header {
			if h, n, refusal := ParseProxyHeader([]byte(test.header[:at])); n != 0 || refusal != nil || h.Client.IsValid() {
				t.Fatalf("%.60q at %d: %v, %d, %v", test.header, at, h, n, refusal)
			}
		}
		for _, behind := range []string{"", "GET / HTTP/1.1\r\n", "\r\n", "PROXY UNKNOWN\r\n"} {
			h, n, refusal := ParseProxyHeader([]byte(test.header + behind))
			client := ""
			if h.Client.IsValid() {
				client = h.Client.String()
			}
			if refusal != nil || n != len(test.header) || client != test.client {
				t.Errorf("%.60q: %q, %d, %v; want %q, %d", test.header, client, n, refusal, test.client, len(test.header))
			}
		}
	}
}

func TestWhatIsNoProxyHeaderIsRefusedAsSoonAsItShows(t *testing.T) {
	for _, test := range []struct {
		bytes string
		at    int // how many bytes tell
	}{
		{"GET / HTTP/1.1\r\n", 1},
		{"\x16\x03\x01", 1},
		{"PROXX TCP4", 5},
		{"PROXY\tTCP4", 6},
		{"PROXYTCP4 1.2.3.4", 6},
		{"\r\n\r\nGET", 5},
		{"PROXY TCP4 1.2.3.4 10.0.0.1 5678\r\n", 34},
		{"PROXY TCP4 1.2.3.4 10.0.0.1 5678 443 1\r\n", 40},
		{"PROXY TCP4 1.2.3.4 10.0.0.1 5678 443\n", 37},
		{"PROXY TCP4 1.2.3.4 10.0.0.1 5678 99999\r\n", 40},
		{"PROXY TCP4 2001:db8::1 10.0.0.1 5678 443\r\n", 42},
		{"PROXY TCP4 1.2.3.4, 10.0.0.1 5678 443\r\n", 39},
		{"PROXY UDP4 1.2.3.4 10.0.0.1 5678 443\r\n", 38},
		{"PROXY TCP6 fe80::1%eth0 fe80::2 5678 443\r\n", 42},
		{"PROXY\r\n", 6},
		{"PROXY \r\n", 8},
		{"PROXY " + strings.Repeat("x", 200), 107},
		{proxyV2(0x11, 0x11), 16},
		{proxyV2(0x22, 0x11, v2Addresses("1.2.3.4:1", "1.2.3.4:1")...), 28},
		{proxyV2(0x21, 0x13, v2Addresses("1.2.3.4:1", "1.2.3.4:1")...), 28},
		{proxyV2(0x21, 0x11, 1, 2, 3), 19},
		{proxyV2(0x21, 0x11, make([]byte, 4097)...), 16},
	} {
		for at := range test.at {
			if _, n, refusal := ParseProxyHeader([]byte(test.bytes[:at])); n != 0 || refusal != nil {
				t.Errorf("%.50q at %d: %d, %v", test.bytes, at, n, refusal)
			}
		}
		_, n, refusal := ParseProxyHeader([]byte(test.bytes[:test.at]))
		if refusal == nil || refusal.Status != 400 || refusal.Reason != ReasonProxyHeader || n != 0 {
			t.Errorf("%.50q: %d, %v", test.bytes, n, refusal)
		}
	}
}

// FuzzProxyHeader holds the parser, at every split, against the library over the
// whole input.
func FuzzProxyHeader(f *testing.F) {
	for _, test := range proxyHeaders {
		f.Add([]byte(test.header + "GET"))
	}
	f.Add([]byte("PROXY TCP4 1.2.3.4 10.0.0.1 5678\r\n"))
	f.Add([]byte(proxyV2(0x21, 0x12, v2Addresses("1.2.3.4:1", "1.2.3.4:1")...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, refusal := ParseProxyHeader(b)
		end := len(b)
		if n > 0 {
			end = n
		}
		for at := range end {
			early, m, r := ParseProxyHeader(b[:at])
			if m != 0 || early != (ProxyHeader{}) || r != nil && refusal == nil {
				t.Fatalf("%q at %d: %v, %d, %v; whole: %v, %d, %v", b, at, early, m, r, h, n, refusal)
			}
		}
		if refusal != nil || n == 0 {
			return
		}
		if h.Client.IsValid() && (h.Client.Addr().Is4In6() || h.Client.Addr().Zone() != "") {
			t.Fatalf("%q: client %v", b, h.Client)
		}
		if saysNothing(b[:n]) {
			return
		}
		whole := bufio.NewReaderSize(bytes.NewReader(b), len(b)+16)
		slow, err := proxyproto.Read(whole)
		if err != nil {
			t.Fatalf("%q: taken, but the library says %v", b, err)
		}
		if used := len(b) - whole.Buffered(); used != n {
			t.Fatalf("%q: %d bytes, the library reads %d", b, n, used)
		}
		client, _, _ := slow.TCPAddrs()
		known := client != nil && slow.Command.IsProxy()
		if known != h.Client.IsValid() || known && (!client.IP.Equal(h.Client.Addr().AsSlice()) || client.Port != int(h.Client.Port())) {
			t.Fatalf("%q: %v, the library says %v", b, h.Client, client)
		}
	})
}
