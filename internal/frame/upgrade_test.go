package frame

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// handshake is RFC 6455 section 1.3's example, with more lines behind it.
func handshake(more ...string) []string {
	return append([]string{
		"GET /ws HTTP/1.1",
		"Host: server.example.com",
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		"Sec-WebSocket-Version: 13",
	}, more...)
}

var testOptions = UpgradeOptions{Subprotocol: "fanfare.v1.json", Deflate: true}

// Upgrade is ReadHandshake and Accept in one.
func Upgrade(r *Request, o UpgradeOptions) (Upgraded, *Refusal) {
	h, refusal := ReadHandshake(r)
	if refusal != nil {
		return Upgraded{}, refusal
	}
	return h.Accept(nil, o), nil
}

func TestUpgradeAnswersTheExampleOfTheRFC(t *testing.T) {
	up, refusal := Upgrade(parse(t, head(handshake()...)), testOptions)
	if refusal != nil {
		t.Fatal(refusal)
	}
	want := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	if string(up.Response) != want || up.Deflate {
		t.Fatalf("got %q, deflate %v", up.Response, up.Deflate)
	}
}

// byUpgrader is what ws.Upgrader answers to a handshake.
func byUpgrader(t *testing.T, request, extension string) string {
	t.Helper()
	upgrader := ws.Upgrader{Protocol: func(p []byte) bool { return string(p) == testOptions.Subprotocol }}
	if extension != "" {
		upgrader.Header = ws.HandshakeHeaderString("Sec-WebSocket-Extensions: " + extension + "\r\n")
	}
	var response bytes.Buffer
	if _, err := upgrader.Upgrade(struct {
		io.Reader
		io.Writer
	}{strings.NewReader(request), &response}); err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	return response.String()
}

func TestUpgradeAnswersAsUpgraderDoes(t *testing.T) {
	for _, key := range []string{"dGhlIHNhbXBsZSBub25jZQ==", "AAAAAAAAAAAAAAAAAAAAAA==", "/+/+/+/+/+/+/+/+/+/+/w=="} {
		lines := replaced("Sec-WebSocket-Key", "Sec-WebSocket-Key: "+key)
		for _, protocol := range []string{"", "Sec-WebSocket-Protocol: x, fanfare.v1.json"} {
			for _, deflate := range []string{"", "Sec-WebSocket-Extensions: permessage-deflate"} {
				more, extension := append([]string(nil), lines...), ""
				if protocol != "" {
					more = append(more, protocol)
				}
				want := head(more...)
				if deflate != "" {
					more, extension = append(more, deflate), deflateAnswer
				}
				up, refusal := Upgrade(parse(t, head(more...)), testOptions)
				if refusal != nil {
					t.Fatal(refusal)
				}
				if want = byUpgrader(t, want, extension); string(up.Response) != want {
					t.Errorf("%q is answered\n%q, by ws.Upgrader\n%q", more, up.Response, want)
				}
			}
		}
	}
}

// replaced is the handshake with the lines of one field replaced.
func replaced(name string, lines ...string) []string {
	kept := slices.DeleteFunc(handshake(), func(line string) bool { return strings.HasPrefix(line, name+":") })
	return append(kept, lines...)
}

func TestUpgradeTakesEveryLegalForm(t *testing.T) {
	for name, lines := range map[string][]string{
		"Connection list":           replaced("Connection", "Connection: keep-alive, Upgrade"),
		"Connection on two lines":   replaced("Connection", "Connection: keep-alive", "Connection: upgrade"),
		"Upgrade list":              replaced("Upgrade", "Upgrade: h2c, WebSocket"),
		"Upgrade on two lines":      replaced("Upgrade", "Upgrade: h2c", "Upgrade: websocket"),
		"empty list elements":       replaced("Connection", "Connection: ,, Upgrade ,"),
		"other case of names":       replaced("Sec-WebSocket-Key", "SEC-WEBSOCKET-KEY: dGhlIHNhbXBsZSBub25jZQ=="),
		"a head above 4 KiB":        handshake("Cookie: " + strings.Repeat("x", 9000)),
		"a long subprotocol":        handshake("Sec-WebSocket-Protocol: bearer." + strings.Repeat("x", 9000)),
		"ninety headers":            handshake(slices.Repeat([]string{"X-Y: z"}, 90)...),
		"unknown extension":         handshake("Sec-WebSocket-Extensions: x-webkit-deflate-frame, constructor; __proto__=1"),
		"quoted extension values":   handshake(`Sec-WebSocket-Extensions: foo; bar="b\az", ,permessage-deflate`),
		"HTTP/1.2, which is >= 1.1": append([]string{"GET /ws HTTP/1.2"}, handshake()[1:]...),
	} {
		t.Run(name, func(t *testing.T) {
			up, refusal := Upgrade(parse(t, head(lines...)), testOptions)
			if refusal != nil {
				t.Fatal(refusal)
			}
			if response, _ := readResponse(t, up.Response); response.StatusCode != 101 {
				t.Fatalf("got %q", up.Response)
			}
		})
	}
}

func TestUpgradeRefusesWhatIsNoHandshake(t *testing.T) {
	const key = "Sec-WebSocket-Key"
	tests := map[string]struct {
		lines  []string
		status int
		reason string
	}{
		"POST":                  {append([]string{"POST /ws HTTP/1.1"}, handshake()[1:]...), 400, ReasonMethod},
		"HTTP/1.0":              {append([]string{"GET /ws HTTP/1.0"}, handshake()[1:]...), 400, ReasonMethod},
		"empty Host":            {replaced("Host", "Host:"), 400, ReasonBadRequest},
		"no Upgrade":            {replaced("Upgrade"), 400, ReasonBadRequest},
		"Upgrade to h2c":        {replaced("Upgrade", "Upgrade: h2c"), 400, ReasonBadRequest},
		"Upgrade websockets":    {replaced("Upgrade", "Upgrade: websockets"), 400, ReasonBadRequest},
		"no Connection":         {replaced("Connection"), 400, ReasonBadRequest},
		"Connection keep-alive": {replaced("Connection", "Connection: keep-alive"), 400, ReasonBadRequest},
		"no version":            {replaced("Sec-WebSocket-Version"), 400, ReasonBadRequest},
		"empty version":         {replaced("Sec-WebSocket-Version", "Sec-WebSocket-Version:"), 400, ReasonBadRequest},
		"two versions":          {handshake("Sec-WebSocket-Version: 13"), 400, ReasonBadRequest},
		"version 8":             {replaced("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"), 426, ReasonVersion},
		"version 013":           {replaced("Sec-WebSocket-Version", "Sec-WebSocket-Version: 013"), 426, ReasonVersion},
		"version 8, no key":     {append(replaced(key)[:4], "Sec-WebSocket-Version: 8"), 426, ReasonVersion},
		"no key":                {replaced(key), 400, ReasonKey},
		"two keys":              {handshake(handshake()[4]), 400, ReasonKey},
		"short key":             {replaced(key, key+": dGhlIHNhbXBsZQ=="), 400, ReasonKey},
		"key of 17 bytes":       {replaced(key, key+": dGhlIHNhbXBsZSBub25jZSE="), 400, ReasonKey},
		"key not base64":        {replaced(key, key+": !!!!!!!!!!!!!!!!!!!!!!=="), 400, ReasonKey},
		"key without padding":   {replaced(key, key+": dGhlIHNhbXBsZSBub25jZQ"), 400, ReasonKey},
		"bad subprotocol":       {handshake("Sec-WebSocket-Protocol: a b"), 400, ReasonBadRequest},
		"bad extension":         {handshake("Sec-WebSocket-Extensions: permessage-deflate; ="), 400, ReasonBadRequest},
		"unfinished quote":      {handshake(`Sec-WebSocket-Extensions: a; b="c`), 400, ReasonBadRequest},
		"unfinished escape":     {handshake(`Sec-WebSocket-Extensions: a; b="\`), 400, ReasonBadRequest},
		"quoted no token":       {handshake(`Sec-WebSocket-Extensions: a; b="c d"`), 400, ReasonBadRequest},
		"two extension names":   {handshake("Sec-WebSocket-Extensions: a b"), 400, ReasonBadRequest},
		"trailing semicolon":    {handshake("Sec-WebSocket-Extensions: a;"), 400, ReasonBadRequest},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, refusal := Upgrade(parse(t, head(test.lines...)), testOptions)
			if refusal == nil || refusal.Status != test.status || refusal.Reason != test.reason {
				t.Fatalf("got %+v, want %d %s", refusal, test.status, test.reason)
			}
		})
	}
}

func TestWrongVersionNamesTheRightOne(t *testing.T) {
	_, refusal := Upgrade(parse(t, head(replaced("Sec-WebSocket-Version", "Sec-WebSocket-Version: 14")...)), testOptions)
	response, _ := readResponse(t, refusal.Append(nil))
	if response.StatusCode != 426 || response.Header.Get("Sec-WebSocket-Version") != "13" ||
		response.Header.Get("Upgrade") != "websocket" || !response.Close {
		t.Fatalf("got %+v", response)
	}
}

func TestUpgradeChoosesOnlyItsSubprotocol(t *testing.T) {
	for name, test := range map[string]struct {
		lines []string
		want  string
	}{
		"none offered":  {nil, ""},
		"only others":   {[]string{"Sec-WebSocket-Protocol: chat, bearer.abc"}, ""},
		"among others":  {[]string{"Sec-WebSocket-Protocol: bearer.abc, fanfare.v1.json"}, "fanfare.v1.json"},
		"on two lines":  {[]string{"Sec-WebSocket-Protocol: bearer.abc", "Sec-WebSocket-Protocol: fanfare.v1.json"}, "fanfare.v1.json"},
		"another case":  {[]string{"Sec-WebSocket-Protocol: Fanfare.v1.json"}, ""},
		"a longer name": {[]string{"Sec-WebSocket-Protocol: fanfare.v1.json2"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			up, refusal := Upgrade(parse(t, head(handshake(test.lines...)...)), testOptions)
			if refusal != nil {
				t.Fatal(refusal)
			}
			response, _ := readResponse(t, up.Response)
			got, found := response.Header["Sec-Websocket-Protocol"]
			if strings.Join(got, "|") != test.want || found != (test.want != "") {
				t.Fatalf("got %q", got)
			}
			if strings.Contains(string(up.Response), "bearer") {
				t.Fatal("the token is echoed")
			}
		})
	}
}

func TestUpgradeWithoutASubprotocolChoosesNone(t *testing.T) {
	up, refusal := Upgrade(parse(t, head(handshake("Sec-WebSocket-Protocol: chat")...)), UpgradeOptions{})
	if refusal != nil || strings.Contains(string(up.Response), "Protocol:") {
		t.Fatalf("got %q, %v", up.Response, refusal)
	}
}

func TestSubprotocolsAreListedInOrder(t *testing.T) {
	r := parse(t, head(handshake("Sec-WebSocket-Protocol: a , bearer.x.y-z_", "sec-websocket-protocol: ,c")...))
	if got := r.Subprotocols(); !slices.Equal(got, []string{"a", "bearer.x.y-z_", "c"}) {
		t.Fatalf("got %q", got)
	}
}

func TestUpgradeNegotiatesDeflate(t *testing.T) {
	const both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for offer, want := range map[string]string{
		"permessage-deflate":                                                   both,
		"permessage-deflate; client_max_window_bits":                           both,
		"permessage-deflate; client_max_window_bits=8":                         both,
		`permessage-deflate; client_max_window_bits="15"`:                      both,
		"permessage-deflate; server_no_context_takeover":                       both,
		"permessage-deflate;client_no_context_takeover":                        both,
		"permessage-deflate; server_max_window_bits=15":                        both + "; server_max_window_bits=15",
		"permessage-deflate; server_max_window_bits=10":                        "",
		"permessage-deflate; server_max_window_bits":                           "",
		"permessage-deflate; server_max_window_bits=16":                        "",
		"permessage-deflate; client_max_window_bits=7":                         "",
		"permessage-deflate; client_max_window_bits=08":                        "",
		"permessage-deflate; client_max_window_bits=16":                        "",
		"permessage-deflate; server_no_context_takeover=1":                     "",
		"permessage-deflate; unknown":                                          "",
		"permessage-deflate; client_max_window_bits; client_max_window_bits=9": "",
		"permessage-deflate; server_max_window_bits=10, permessage-deflate":    both,
		"permessage-deflate, permessage-deflate; unknown":                      both,
		"x-other; a=b, permessage-deflate":                                     both,
		"permessage-deflates":                                                  "",
	} {
		t.Run(offer, func(t *testing.T) {
			r := parse(t, head(handshake("Sec-WebSocket-Extensions: "+offer)...))
			up, refusal := Upgrade(r, testOptions)
			if refusal != nil {
				t.Fatal(refusal)
			}
			response, _ := readResponse(t, up.Response)
			if got := response.Header.Get("Sec-WebSocket-Extensions"); got != want || up.Deflate != (want != "") {
				t.Fatalf("got %q, deflate %v, want %q", got, up.Deflate, want)
			}
			if up, _ = Upgrade(r, UpgradeOptions{}); up.Deflate || strings.Contains(string(up.Response), "deflate") {
				t.Fatalf("not wanted, yet %q", up.Response)
			}
		})
	}
}

func TestAHandshakeTakesLittleMemory(t *testing.T) {
	input := []byte(head(handshake("Origin: https://server.example.com", "Sec-WebSocket-Protocol: fanfare.v1.json")...))
	var r Request
	var response []byte
	allocated := testing.AllocsPerRun(100, func() {
		if refusal := ParseHead(&r, input, testLimits); refusal != nil {
			t.Fatal(refusal)
		}
		h, refusal := ReadHandshake(&r)
		if refusal != nil {
			t.Fatal(refusal)
		}
		response = h.Accept(response[:0], testOptions).Response
	})
	if allocated > 2 { // the head's copy, and the list of subprotocols
		t.Errorf("%v allocations for a handshake", allocated)
	}
}

func BenchmarkUpgrade(b *testing.B) {
	r := parse(b, head(handshake("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")...))
	b.ReportAllocs()
	for b.Loop() {
		if _, refusal := Upgrade(r, testOptions); refusal != nil {
			b.Fatal(refusal)
		}
	}
}
