package gateway

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/frame"
)

// asked is a request with so many Origin lines.
func asked(t *testing.T, host string, origins ...string) *frame.Request {
	t.Helper()
	d := dialing{}
	for _, o := range origins {
		d.headers = append(d.headers, "Origin: "+o)
	}
	r := new(frame.Request)
	refusal := frame.ParseHead(r, []byte(d.request(host)), frame.HeadLimits{})
	if refusal != nil {
		t.Fatal(refusal)
	}
	return r
}

func TestOrigins(t *testing.T) {
	listed := []string{"https://b.example", "https://b.example:8443", "https://xn--bcher-kva.example", "http://[2001:db8::1]:81", "capacitor://localhost"}
	for _, test := range []struct {
		allowed []string
		origin  string
		host    string
		want    bool
	}{
		// The same host: name and port, whatever the scheme, for what is before the
		// gateway may end TLS.
		{nil, "http://a.example", "a.example", true},
		{nil, "http://a.example", "a.example:80", true},
		{nil, "https://a.example", "a.example", true},
		{nil, "https://a.example:443", "a.example", true},
		{nil, "https://a.example", "a.example:443", true},
		{nil, "https://A.Example", "a.EXAMPLE", true},
		{nil, "http://a.example:8080", "a.example:8080", true},
		{nil, "http://[::1]:80", "[::1]", true},
		{nil, "http://[0:0::1]:8080", "[::1]:8080", true},
		{nil, "http://a.example.", "a.example.", true},
		{nil, "http://xn--bcher-kva.example", "xn--bcher-kva.example", true},
		{nil, "http://a.example:8080", "a.example", false},
		{nil, "http://a.example", "a.example:8080", false},
		{nil, "https://a.example", "a.example:80", false},
		{nil, "http://a.example.evil", "a.example", false},
		{nil, "http://evil.a.example", "a.example", false},
		{nil, "http://a.example.", "a.example", false},
		{nil, "http://a.example", "a.example.", false},
		{nil, "http://xn--bcher-kva.example", "xn--bucher.example", false},
		{nil, "ftp://a.example", "a.example", false},
		{nil, "http://[::1]", "[::2]", false},
		{nil, "http://[::1]", "::1", false},
		{nil, "http://a.example", "", false},
		// What is no origin is none of any host.
		{nil, "null", "null", false}, {nil, "null", "a.example", false}, {nil, "", "a.example", false}, {nil, "file://", "", false},
		{nil, "a.example", "a.example", false}, {nil, "//a.example", "a.example", false}, {nil, "://a.example", "a.example", false},
		{nil, "http://evil@a.example", "a.example", false}, {nil, "http://a.example@evil", "evil", false},
		{nil, "http://a.example/path", "a.example", false}, {nil, "http://a.example/", "a.example", false},
		{nil, "http://a.example\\", "a.example", false}, {nil, "http://a.example?q", "a.example", false}, {nil, "http://a.example#f", "a.example", false},
		{nil, "http://a.ex%61mple", "a.example", false}, {nil, "http:/a.example", "a.example", false}, {nil, "http:a.example", "a.example", false},
		{nil, "http://a.example:", "a.example", false}, {nil, "http://a.example:080", "a.example", false}, {nil, "http://a.example:99999", "a.example", false},
		{nil, "http://a.example:+80", "a.example", false}, {nil, "http://a.example:80:80", "a.example", false},
		{nil, "http://[::1%25lo]", "[::1]", false}, {nil, "http://[::1", "[::1]", false}, {nil, "http://[::1]x", "[::1]", false},
		{nil, "http://[127.0.0.1]", "127.0.0.1", false},
		{nil, "http://a.example http://a.example", "a.example", false}, {nil, "http://a.example,http://a.example", "a.example", false},
		{nil, "http://\u212a.example", "k.example", false}, // KELVIN SIGN, k in lower case
		{nil, "http://b\u00fccher.example", "xn--bcher-kva.example", false},
		// A list stands for itself alone.
		{listed, "https://b.example", "a.example", true},
		{listed, "HTTPS://B.example:443", "a.example", true},
		{listed, "https://b.example:8443", "a.example", true},
		{listed, "https://xn--bcher-kva.example", "a.example", true},
		{listed, "http://[2001:db8:0::1]:81", "a.example", true},
		{listed, "capacitor://localhost", "a.example", true},
		{listed, "http://b.example", "a.example", false},
		{listed, "https://b.example:444", "a.example", false},
		{listed, "https://b.example.", "a.example", false},
		{listed, "https://c.b.example", "a.example", false},
		{listed, "http://a.example", "a.example", false},
		{listed, "null", "a.example", false},
		{[]string{"https://b.example", "*"}, "http://c.example", "a.example", true},
		{[]string{"*"}, "null", "a.example", false},
		{[]string{"*"}, "file://", "a.example", false},
	} {
		e := NewEdge(EdgeConfig{Origins: test.allowed})
		if refusal := e.admit(asked(t, test.host, test.origin), ""); (refusal == nil) != test.want {
			t.Errorf("origin %q of host %q with %q: %v", test.origin, test.host, test.allowed, refusal)
		}
	}
}

func TestTheSchemeCountsWhereItIsKnown(t *testing.T) {
	e := NewEdge(EdgeConfig{})
	for _, test := range []struct {
		origin, host, scheme string
		want                 bool
	}{
		{"https://a.example", "a.example", "https", true},
		{"http://a.example", "a.example", "http", true},
		{"http://a.example", "a.example", "https", false},
		{"https://a.example", "a.example", "http", false},
		{"https://a.example:8443", "a.example:8443", "https", true},
		{"http://a.example:8443", "a.example:8443", "https", false},
	} {
		if refusal := e.admit(asked(t, test.host, test.origin), test.scheme); (refusal == nil) != test.want {
			t.Errorf("origin %q of host %q by %q: %v", test.origin, test.host, test.scheme, refusal)
		}
	}
}

func TestSeveralOriginsAreNone(t *testing.T) {
	for _, e := range []Edge{NewEdge(EdgeConfig{}), NewEdge(EdgeConfig{Origins: []string{"*"}})} {
		if refusal := e.admit(asked(t, "a", "http://a", "http://a"), ""); refusal == nil || refusal.Reason != frame.ReasonOrigin {
			t.Errorf("two lines: %v", refusal)
		}
	}
}

func TestARequestWithoutAnOriginIsJudgedByItsOwnSetting(t *testing.T) {
	s := run(t)
	s.connect(dialing{})
	s = run(t, func(c *setup) { c.Edge = NewEdge(EdgeConfig{OriginRequired: true}) })
	c, res := s.handshake(dialing{})
	if res.StatusCode != 403 || refusalCode(t, c) != "origin_required" {
		t.Errorf("without an origin: %s %s", res.Status, c.raw)
	}
	s.untilMetric(`fanfare_handshakes_rejected_total{reason="origin_missing"}`, 1)
	s.connect(dialing{headers: []string{"Origin: " + s.origin()}})
}

func TestOriginsAreHeldAgainstTheList(t *testing.T) {
	s := run(t, func(c *setup) { c.Edge = NewEdge(EdgeConfig{Origins: []string{"https://b.example"}}) })
	s.connect(dialing{headers: []string{"Origin: https://b.example"}})
	c, res := s.handshake(dialing{headers: []string{"Origin: " + s.origin()}})
	if res.StatusCode != 403 || refusalCode(t, c) != "forbidden" || strings.Contains(string(c.raw), s.addr) {
		t.Errorf("an origin that is not listed: %s %s", res.Status, c.raw)
	}
	s.untilMetric(`fanfare_handshakes_rejected_total{reason="origin"}`, 1)
}

func TestOnlyATrustedProxySaysTheScheme(t *testing.T) {
	needsPlain(t)
	https := dialing{headers: []string{"X-Forwarded-Proto: https"}}
	page := func(s *service) dialing {
		return dialing{headers: append([]string{"Origin: " + s.origin()}, https.headers...)}
	}
	s := run(t)
	s.connect(page(s))
	s = run(t, func(c *setup) { c.Edge = NewEdge(EdgeConfig{TrustedProxies: []string{"127.0.0.1"}}) })
	if _, res := s.handshake(page(s)); res.StatusCode != 403 {
		t.Errorf("a page of http at a gateway of https: %s", res.Status)
	}
}

func TestTrustedProxies(t *testing.T) {
	e := NewEdge(EdgeConfig{TrustedProxies: []string{"10.0.0.0/8", "192.0.2.7", "fd00::/8", "::ffff:198.51.100.1", "nonsense"}})
	for text, want := range map[string]bool{
		"10.1.2.3": true, "192.0.2.7": true, "192.0.2.8": false, "fd12::1": true, "fe80::1": false, "198.51.100.1": true, "11.0.0.1": false,
	} {
		if got := e.trusts(netip.MustParseAddr(text)); got != want {
			t.Errorf("trusts %s: %v", text, got)
		}
	}
	var none Edge
	if none.trusts(netip.MustParseAddr("127.0.0.1")) {
		t.Error("trusts someone though nobody is configured")
	}
}

func BenchmarkAdmit(b *testing.B) {
	e := NewEdge(EdgeConfig{Origins: []string{"https://a.example", "https://b.example:8443"}})
	r := new(frame.Request)
	_ = frame.ParseHead(r, []byte(dialing{headers: []string{"Origin: https://b.example:8443"}}.request("gw.example")), frame.HeadLimits{})
	b.ReportAllocs()
	for b.Loop() {
		if e.admit(r, "") != nil {
			b.Fatal("refused")
		}
	}
}
