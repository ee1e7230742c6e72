package frame

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

var testLimits = HeadLimits{Bytes: 16 << 10, Headers: 100}

// head joins lines by CRLF and ends them with a blank one.
func head(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

func parse(tb testing.TB, head string) *Request {
	tb.Helper()
	r, refusal := parseHead([]byte(head), testLimits)
	if refusal != nil {
		tb.Fatalf("%q: %v", head, refusal)
	}
	return r
}

// parseHead is ParseHead with a Request that another head has been read into.
func parseHead(input []byte, limits HeadLimits) (*Request, *Refusal) {
	r := new(Request)
	_ = ParseHead(r, []byte(head("POST http://other/path?query HTTP/1.1", "Host: other", "X: other", "Upgrade: websocket", "Content-Length: 1")), HeadLimits{})
	refusal := ParseHead(r, input, limits)
	return r, refusal
}

func TestHeadEndFindsTheBlankLineAcrossReads(t *testing.T) {
	tests := map[string]struct {
		input string
		want  int
	}{
		"nothing":          {"", -1},
		"no blank line":    {"GET / HTTP/1.1\r\nHost: a\r\n", -1},
		"half of it":       {"GET / HTTP/1.1\r\n\r", -1},
		"blank line":       {"GET / HTTP/1.1\r\n\r\n", 18},
		"frames behind":    {"GET / HTTP/1.1\r\n\r\n\x81\x00", 18},
		"two blank lines":  {"GET / HTTP/1.1\r\n\r\n\r\n", 18},
		"bare LFs":         {"GET / HTTP/1.1\n\n", 16},
		"CR LF behind LF":  {"GET / HTTP/1.1\n\r\n", 17},
		"LF behind CR LF":  {"GET / HTTP/1.1\r\n\n", 17},
		"CR alone":         {"GET / HTTP/1.1\r\r", -1},
		"CR LF at start":   {"\r\nGET / HTTP/1.1\r\n\r\n", 20},
		"CR between":       {"a\n\r\r\n", -1},
		"many short lines": {strings.Repeat("a\r\n", 50) + "\r\n", 152},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for step := 1; step <= max(1, len(test.input)); step++ {
				got, searched := -1, 0
				for end := 0; end < len(test.input) && got < 0; {
					end = min(end+step, len(test.input))
					got = HeadEnd([]byte(test.input[:end]), searched)
					searched = end
				}
				if got != test.want {
					t.Fatalf("in steps of %d: %d, want %d", step, got, test.want)
				}
			}
		})
	}
}

func TestParseHeadReadsARequest(t *testing.T) {
	r := parse(t, head("GET /r%20ooms/a%2Fb?room=x&since=e:1 HTTP/1.1",
		"Host: example.org:8080", "X-One:  a b\t", "x-one: second", "X-Empty:", "X-Latin: caf\xe9"))
	got := fmt.Sprintf("%s %s %s %s %q %q %q %q", r.Method, r.Path, r.Query, r.Host,
		r.Header("X-ONE"), r.HeaderValues("x-One"), r.Header("X-Empty"), r.Header("X-None"))
	want := `GET /r ooms/a/b room=x&since=e:1 example.org:8080 "a b" ["a b" "second"] "" ""`
	if got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	if r.IsUpgrade() {
		t.Error("a plain request is taken for an upgrade")
	}
}

func TestParseHeadTakesWhatIsLegal(t *testing.T) {
	for name, input := range map[string]string{
		"HTTP/1.0 without Host":  head("GET / HTTP/1.0"),
		"a later minor version":  head("GET / HTTP/1.2", "Host: a"),
		"empty Host":             head("GET / HTTP/1.1", "Host:"),
		"IPv6 Host":              head("GET / HTTP/1.1", "Host: [2001:db8::1]:80"),
		"absolute form":          head("GET http://a.example/x?y HTTP/1.1", "Host: b"),
		"asterisk form":          head("OPTIONS * HTTP/1.1", "Host: a"),
		"authority form":         head("CONNECT a.example:443 HTTP/1.1", "Host: a.example:443"),
		"two slashes":            head("GET //a/b HTTP/1.1", "Host: a"),
		"what browsers send raw": head("GET /?a=|^`{}[]\" HTTP/1.1", "Host: a"),
		"a body, no upgrade":     head("POST / HTTP/1.1", "Host: a", "Content-Length: 5"),
		"chunks, no upgrade":     head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"),
		"upgrade with length 0":  head("GET / HTTP/1.1", "Host: a", "Upgrade: websocket", "Content-Length: 0"),
	} {
		t.Run(name, func(t *testing.T) { parse(t, input) })
	}
}

func TestParseHeadTakesTheAuthorityOfAnAbsoluteTarget(t *testing.T) {
	r := parse(t, head("GET ws://real.example?q=1 HTTP/1.1", "Host: other.example"))
	if r.Host != "real.example" || r.Path != "/" || r.Query != "q=1" {
		t.Fatalf("got %q %q %q", r.Host, r.Path, r.Query)
	}
}

func TestParseHeadRefusesWhatIsMalformed(t *testing.T) {
	const get, host = "GET / HTTP/1.1", "Host: a"
	tests := map[string]struct{ input, reason string }{
		"nothing":               {"", ReasonBadRequest},
		"only a blank line":     {"\r\n", ReasonBadRequest},
		"garbage":               {"garbage\r\n\r\n", ReasonBadRequest},
		"leading blank line":    {"\r\n" + head(get, host), ReasonBadRequest},
		"no blank line":         {get + "\r\n" + host + "\r\n", ReasonBadRequest},
		"bytes behind":          {head(get, host) + "x", ReasonBadRequest},
		"bare LFs":              {"GET / HTTP/1.1\nHost: a\n\n", ReasonBadRequest},
		"one bare LF":           {"GET / HTTP/1.1\r\nX: a\nHost: a\r\n\r\n", ReasonBadRequest},
		"bare CR in a value":    {head(get, host, "X: a\rb"), ReasonBadRequest},
		"bare CR in the target": {head("GET /\r HTTP/1.1", host), ReasonBadRequest},
		"CR CR LF":              {"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", ReasonBadRequest},
		"NUL in a value":        {head(get, host, "X: a\x00b"), ReasonBadRequest},
		"DEL in a value":        {head(get, host, "X: a\x7f"), ReasonBadRequest},
		"NUL in a name":         {head(get, host, "X\x00: a"), ReasonBadRequest},
		"space before colon":    {head(get, host, "X : a"), ReasonBadRequest},
		"tab before colon":      {head(get, host, "X\t: a"), ReasonBadRequest},
		"no colon":              {head(get, host, "X"), ReasonBadRequest},
		"no name":               {head(get, host, ": a"), ReasonBadRequest},
		"folded line":           {head(get, host, "X: a", " b"), ReasonBadRequest},
		"folded first line":     {head(get, " X: a", host), ReasonBadRequest},
		"name beyond ASCII":     {head(get, host, "é: a"), ReasonBadRequest},
		"no Host":               {head(get), ReasonBadRequest},
		"two Hosts":             {head(get, host, host), ReasonBadRequest},
		"two Hosts in 1.0":      {head("GET / HTTP/1.0", host, "host: b"), ReasonBadRequest},
		"Host with a user":      {head(get, "Host: u@a"), ReasonBadRequest},
		"Host with a path":      {head(get, "Host: a/b"), ReasonBadRequest},
		"Host with a bad port":  {head(get, "Host: a:b"), ReasonBadRequest},
		"Host of half brackets": {head(get, "Host: [::1"), ReasonBadRequest},
		"Host with an escape":   {head(get, "Host: a%41"), ReasonBadRequest},
		"Host with a space":     {head(get, "Host: a b"), ReasonBadRequest},
		"two spaces":            {head("GET  / HTTP/1.1", host), ReasonBadRequest},
		"trailing space":        {head("GET / HTTP/1.1 ", host), ReasonBadRequest},
		"leading space":         {head(" GET / HTTP/1.1", host), ReasonBadRequest},
		"tab":                   {head("GET\t/ HTTP/1.1", host), ReasonBadRequest},
		"no version":            {head("GET /", host), ReasonBadRequest},
		"empty target":          {head("GET  HTTP/1.1", host), ReasonBadRequest},
		"HTTP/2 preface":        {"PRI * HTTP/2.0\r\n\r\n", ReasonBadRequest},
		"HTTP/1.10":             {head("GET / HTTP/1.10", host), ReasonBadRequest},
		"http/1.1":              {head("GET / http/1.1", host), ReasonBadRequest},
		"method is no token":    {head("G(T / HTTP/1.1", host), ReasonBadRequest},
		"relative target":       {head("GET ws HTTP/1.1", host), ReasonBadRequest},
		"fragment":              {head("GET /#a HTTP/1.1", host), ReasonBadRequest},
		"target beyond ASCII":   {head("GET /é HTTP/1.1", host), ReasonBadRequest},
		"bad escape":            {head("GET /%zz HTTP/1.1", host), ReasonBadRequest},
		"cut escape":            {head("GET /%2 HTTP/1.1", host), ReasonBadRequest},
		"asterisk with GET":     {head("GET * HTTP/1.1", host), ReasonBadRequest},
		"other scheme":          {head("GET ftp://a/ HTTP/1.1", host), ReasonBadRequest},
		"user in the target":    {head("GET http://u:p@a/ HTTP/1.1", host), ReasonBadRequest},
		"no authority":          {head("GET http:///x HTTP/1.1", host), ReasonBadRequest},
		"length and chunks":     {head("POST / HTTP/1.1", host, "Content-Length: 1", "Transfer-Encoding: chunked"), ReasonBadRequest},
		"upgrade with a length": {head(get, host, "Upgrade: websocket", "Content-Length: 5"), ReasonBody},
		"upgrade, bad length":   {head(get, host, "Upgrade: websocket", "Content-Length: +0"), ReasonBody},
		"upgrade, two lengths":  {head(get, host, "Upgrade: websocket", "Content-Length: 0", "content-length: 5"), ReasonBody},
		"upgrade with chunks":   {head(get, host, "Upgrade: websocket", "Transfer-Encoding: chunked"), ReasonBody},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, refusal := parseHead([]byte(test.input), testLimits)
			if refusal == nil || refusal.Status != 400 || refusal.Reason != test.reason {
				t.Fatalf("got %+v, want 400 %s", refusal, test.reason)
			}
		})
	}
}

func TestParseHeadEnforcesItsLimits(t *testing.T) {
	limits := HeadLimits{Bytes: 200, Headers: 3}
	exact := head("GET / HTTP/1.1", "Host: a", "X: 1", "Y: ")
	exact = exact[:len(exact)-4] + strings.Repeat("y", limits.Bytes-len(exact)) + "\r\n\r\n"
	if _, refusal := parseHead([]byte(exact), limits); refusal != nil {
		t.Fatalf("at both limits: %v", refusal)
	}
	for name, test := range map[string]struct{ input, reason string }{
		"bytes":   {head("GET / HTTP/1.1", "Host: a", "X: "+strings.Repeat("y", 200)), ReasonHeadTooLarge},
		"target":  {head("GET /"+strings.Repeat("y", 200)+" HTTP/1.1", "Host: a"), ReasonHeadTooLarge},
		"headers": {head("GET / HTTP/1.1", "Host: a", "X: 1", "Y: 2", "Upgrade: websocket"), ReasonTooManyHeaders},
	} {
		t.Run(name, func(t *testing.T) {
			_, refusal := parseHead([]byte(test.input), limits)
			if refusal == nil || refusal.Status != 431 || refusal.Reason != test.reason {
				t.Fatalf("got %+v, want 431 %s", refusal, test.reason)
			}
		})
	}
	if _, refusal := parseHead([]byte(head("GET / HTTP/1.1", "Host: "+strings.Repeat("a", 1000))), HeadLimits{}); refusal != nil {
		t.Fatalf("no limits: %v", refusal)
	}
}

func TestParseHeadKeepsNothingOfItsInput(t *testing.T) {
	input := []byte(head("GET /path HTTP/1.1", "Host: a", "X: value"))
	r, _ := parseHead(input, testLimits)
	clear(input)
	if r.Path != "/path" || r.Header("X") != "value" {
		t.Fatal("the request changed with the buffer")
	}
}

func TestAPlainHostIsOneThatParses(t *testing.T) {
	hosts := []string{""}
	for from := 0; len(hosts) < 8000; {
		for _, h := range hosts[from:] {
			from++
			for _, c := range "a0.-:" {
				hosts = append(hosts, h+string(c))
			}
		}
	}
	plain := 0
	for _, host := range hosts {
		if !isPlainHost(host) {
			continue
		}
		plain++
		if u, err := url.Parse("//" + host); err != nil || u.Host != host {
			t.Fatalf("%q: %v, %v", host, u, err)
		}
	}
	if plain == 0 {
		t.Fatal("none is plain")
	}
}

func TestQueryValuesRefusesWhatDoesNotParse(t *testing.T) {
	values, refusal := parse(t, head("GET /ws?room=a%20b&room=c HTTP/1.1", "Host: a")).QueryValues()
	if refusal != nil || fmt.Sprint(values) != "map[room:[a b c]]" {
		t.Fatalf("got %v, %v", values, refusal)
	}
	for _, query := range []string{"room=%zz", "room=%", "a;b=c"} {
		_, refusal := parse(t, head("GET /ws?"+query+" HTTP/1.1", "Host: a")).QueryValues()
		if refusal == nil || refusal.Status != 400 || refusal.Reason != ReasonQuery {
			t.Errorf("%s: %v", query, refusal)
		}
	}
}

func TestRefusalIsAWholeResponse(t *testing.T) {
	refusal := &Refusal{Status: 503, Code: "unavailable", Message: `try "later" <é>`, Header: [][2]string{{"Retry-After", "5"}}, Reason: ReasonNotReady}
	response, body := readResponse(t, refusal.Append(nil))
	if response.StatusCode != 503 || !response.Close || response.Header.Get("Retry-After") != "5" ||
		response.Header.Get("Content-Type") != "application/json" || response.ContentLength != int64(len(body)) {
		t.Errorf("got %+v", response)
	}
	if want := `{"error":{"code":"unavailable","message":"try \"later\" \u003cé\u003e"}}` + "\n"; body != want {
		t.Errorf("body %s", body)
	}
	if want := `503 Service Unavailable: try "later" <é>`; refusal.Error() != want {
		t.Errorf("error %s", refusal)
	}
}

// readResponse reads one response with net/http and wants nothing behind it.
func readResponse(tb testing.TB, b []byte) (*http.Response, string) {
	tb.Helper()
	reader := bufio.NewReader(bytes.NewReader(b))
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		tb.Fatalf("%v in %q", err, b)
	}
	var body bytes.Buffer
	if response.StatusCode != 101 {
		if _, err := body.ReadFrom(response.Body); err != nil {
			tb.Fatal(err)
		}
	}
	if reader.Buffered() > 0 {
		tb.Fatalf("%d bytes behind the response", reader.Buffered())
	}
	return response, body.String()
}

func FuzzParseHead(f *testing.F) {
	for _, seed := range []string{
		head(handshake()...),
		head("GET /a%20b?c=d HTTP/1.1", "Host: [::1]:80", "X: \t v \t", "X: w"),
		head("GET http://a.example:80/x HTTP/1.1", "Host: b"),
		head("POST / HTTP/1.0", "Content-Length: 5"),
		head("POST / HTTP/1.0", "Content-Length:"),
		head("OPTIONS * HTTP/1.1", "Host: a"),
		head("CONNECT a.example:443 HTTP/1.1", "Host: a.example:443"),
		head("GET / HTTP/1.1", "Host: a", "Host: b"),
		head("GET / HTTP/1.1", "Host: a", "Transfer-Encoding : chunked"),
		"GET / HTTP/1.1\nHost: a\n\n",
		"\x16\x03\x01\x02\x00\x01",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if end := HeadEnd(input, 0); end >= 0 {
			for cut := range end {
				if got := HeadEnd(input[:cut], 0); got >= 0 {
					t.Fatalf("an end at %d of %d bytes, then at %d", got, cut, end)
				}
				if got := HeadEnd(input, cut); got != end {
					t.Fatalf("searched %d bytes: end at %d, want %d", cut, got, end)
				}
			}
			input = input[:end]
		}
		before := bytes.Clone(input)
		r, refusal := parseHead(input, testLimits)
		if !bytes.Equal(before, input) {
			t.Fatal("the input was changed")
		}
		if refusal != nil {
			readResponse(t, refusal.Append(nil))
			return
		}
		compareWithNetHTTP(t, input, r)
		if r.IsUpgrade() {
			up, refusal := Upgrade(r, UpgradeOptions{Subprotocol: "fanfare.v1.json", Deflate: true})
			if refusal != nil {
				up.Response = refusal.Append(nil)
			}
			readResponse(t, up.Response)
		}
	})
}

// compareWithNetHTTP wants net/http to read the same in every head that we take:
// a request that two parsers read differently is one that can be smuggled.
func compareWithNetHTTP(t *testing.T, input []byte, r *Request) {
	want, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(input)))
	if err != nil {
		// How long a plain request's body is, net/http judges behind us.
		if len(r.HeaderValues("Content-Length"))+len(r.HeaderValues("Transfer-Encoding")) == 0 {
			t.Fatalf("net/http refuses: %v\n%q", err, input)
		}
		return
	}
	path := want.URL.Path
	if want.URL.IsAbs() && path == "" {
		path = "/"
	}
	if r.Method != want.Method || r.Host != want.Host || r.Query != want.URL.RawQuery || r.Path != path {
		t.Fatalf("got %s %q %q %q\nnet/http %s %q %q %q\n%q", r.Method, r.Host, r.Path, r.Query,
			want.Method, want.Host, path, want.URL.RawQuery, input)
	}
	for name, values := range want.Header {
		if got := r.HeaderValues(name); fmt.Sprint(got) != fmt.Sprint(values) {
			t.Fatalf("%s: %q, net/http %q\n%q", name, got, values, input)
		}
	}
}

func BenchmarkParseHead(b *testing.B) {
	input := []byte(head(handshake()...))
	b.ReportAllocs()
	var r Request
	for b.Loop() {
		if refusal := ParseHead(&r, input, testLimits); refusal != nil {
			b.Fatal(refusal)
		}
	}
}
