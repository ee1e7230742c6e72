package frame

import (
	"net/netip"
	"strings"
	"testing"
)

// parseLines makes a request with more header lines.
func parseLines(t testing.TB, lines ...string) *Request {
	t.Helper()
	head := "GET /ws HTTP/1.1\r\nHost: a\r\n" + strings.Join(append(lines, "\r\n"), "\r\n")
	r, refusal := parseHead([]byte(head), HeadLimits{})
	if refusal != nil {
		t.Fatal(refusal)
	}
	return r
}

// ours are the proxies of the tests: 10.0.0.0/8 and fd00::/8.
func ours(a netip.Addr) bool {
	return netip.MustParsePrefix("10.0.0.0/8").Contains(a) || netip.MustParsePrefix("fd00::/8").Contains(a)
}

func TestForwardedFor(t *testing.T) {
	for _, test := range []struct {
		lines []string
		want  string // empty: not known
	}{
		{nil, ""},
		{[]string{"1.2.3.4"}, "1.2.3.4:0"},
		{[]string{"1.2.3.4:5678"}, "1.2.3.4:5678"},
		{[]string{"2001:db8::1"}, "[2001:db8::1]:0"},
		{[]string{"[2001:db8::1]"}, "[2001:db8::1]:0"},
		{[]string{"[2001:db8::1]:443"}, "[2001:db8::1]:443"},
		{[]string{"::ffff:1.2.3.4"}, "1.2.3.4:0"},
		{[]string{"[::ffff:1.2.3.4]:80"}, "1.2.3.4:80"},
		// The rightmost that is none of ours; what is left of it, anyone may have sent.
		{[]string{"6.6.6.6, 1.2.3.4"}, "1.2.3.4:0"},
		{[]string{"6.6.6.6,1.2.3.4, 10.0.0.1 ,\t10.0.0.2"}, "1.2.3.4:0"},
		{[]string{"6.6.6.6", "1.2.3.4", "10.0.0.1"}, "1.2.3.4:0"},
		{[]string{"6.6.6.6, 7.7.7.7", "1.2.3.4, fd00::1"}, "1.2.3.4:0"},
		{[]string{"nonsense, 1.2.3.4"}, "1.2.3.4:0"},
		{[]string{"1.2.3.4, ::ffff:10.0.0.1"}, "1.2.3.4:0"},
		// Nobody but ours, or a hop that was not known.
		{[]string{"10.0.0.1, 10.0.0.2"}, ""},
		{[]string{"1.2.3.4, unknown"}, ""}, {[]string{"1.2.3.4, unknown, 10.0.0.1"}, ""}, {[]string{"1.2.3.4,"}, ""},
		{[]string{""}, ""}, {[]string{"1.2.3.4", ""}, ""}, {[]string{"1.2.3.4,,10.0.0.1"}, ""},
		{[]string{"1.2.3"}, ""}, {[]string{"1.2.3.4.5"}, ""}, {[]string{"01.2.3.4"}, ""}, {[]string{"1.2.3.4:"}, ""}, {[]string{"1.2.3.4:x"}, ""},
		{[]string{"1.2.3.4:99999"}, ""}, {[]string{"[1.2.3.4]"}, ""}, {[]string{"[2001:db8::1"}, ""}, {[]string{"2001:db8::1]"}, ""},
		{[]string{"[2001:db8::1]x"}, ""}, {[]string{"fe80::1%eth0"}, ""}, {[]string{"[fe80::1%eth0]:1"}, ""}, {[]string{`"1.2.3.4"`}, ""},
		{[]string{"1.2.3.4 5.6.7.8"}, ""}, {[]string{"for=1.2.3.4"}, ""}, {[]string{"1.2.3.4/32"}, ""},
	} {
		lines := make([]string, len(test.lines))
		for i, l := range test.lines {
			lines[i] = []string{"X-Forwarded-For: ", "x-forwarded-FOR:"}[i%2] + l
		}
		got, ok := parseLines(t, lines...).ForwardedFor(ours)
		if ok != (test.want != "") || ok && got.String() != test.want {
			t.Errorf("%q: %v, %v, want %q", test.lines, got, ok, test.want)
		}
	}
}

func TestForwardedProto(t *testing.T) {
	for _, test := range []struct {
		lines []string
		want  string
	}{
		{nil, ""}, {[]string{"https"}, "https"}, {[]string{"HTTP"}, "http"}, {[]string{"wss"}, "https"}, {[]string{"ws"}, "http"},
		{[]string{"https", "https"}, ""}, {[]string{"https, http"}, ""}, {[]string{"ftp"}, ""}, {[]string{""}, ""},
	} {
		var lines []string
		for _, l := range test.lines {
			lines = append(lines, "X-Forwarded-Proto: "+l)
		}
		if got := parseLines(t, lines...).ForwardedProto(); got != test.want {
			t.Errorf("%q: %q, want %q", test.lines, got, test.want)
		}
	}
}

func FuzzForwardedFor(f *testing.F) {
	for _, seed := range []string{"1.2.3.4", "6.6.6.6, [2001:db8::1]:5, 10.0.0.1", ",,", "a, ::ffff:1.2.3.4", "fe80::1%x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		r := &Request{fields: []field{{"X-Forwarded-For", line}}}
		client, ok := r.ForwardedFor(ours)
		if ok && (!client.Addr().IsValid() || ours(client.Addr()) || client.Addr().Is4In6() || client.Addr().Zone() != "") {
			t.Fatalf("%q: %v", line, client)
		}
		// A proxy of ours behind it changes nothing.
		r.fields[0].value += ", 10.1.2.3"
		if again, ok2 := r.ForwardedFor(ours); again != client || ok2 != ok {
			t.Fatalf("%q: %v, and behind a proxy %v", line, client, again)
		}
	})
}
