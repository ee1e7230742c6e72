package frame

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var testMask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

const fin = bitFin

// masked builds a client frame with any first byte.
func masked(first byte, payload string) []byte {
	b := AppendMasked(nil, Opcode(first&0x0f), []byte(payload), testMask)
	b[0] = first
	return b
}

func join(frames ...[]byte) []byte { return slices.Concat(frames...) }

// nexter is a Reader or a ClientReader.
type nexter interface {
	Next(in []byte, c *ReaderConfig) (Event, int, error)
	Buffered() int
	Mid() bool
}

// transcript is what a reader made of its input.
type transcript struct {
	events []string
	frames int
	code   uint16 // of the CloseError, 0 for none
	reason string
}

func (t transcript) String() string {
	return fmt.Sprintf("%q frames=%d error=%d %s", t.events, t.frames, t.code, t.reason)
}

func (t transcript) equal(u transcript) bool { return t.String() == u.String() }

// read feeds the input in chunks that end at cuts, each in a buffer of its own
// that is overwritten afterwards as a loop's read buffer is.
func read(tb testing.TB, r nexter, input []byte, c *ReaderConfig, cuts ...int) transcript {
	tb.Helper()
	var t transcript
	start := 0
	for _, end := range append(cuts, len(input)) {
		chunk := bytes.Clone(input[start:end])
		start = end
		if t.feed(tb, r, chunk, c) {
			return t
		}
	}
	return t
}

// feed reports whether the reader has ended.
func (t *transcript) feed(tb testing.TB, r nexter, chunk []byte, c *ReaderConfig) bool {
	tb.Helper()
	rest := chunk
	for {
		ev, n, err := r.Next(rest, c)
		t.frames += ev.Frames
		if err != nil {
			var fault *CloseError
			if !errors.As(err, &fault) || len(fault.Reason) > maxReason {
				tb.Fatalf("error %v is no usable CloseError", err)
			}
			t.code, t.reason = fault.Code, fault.Reason
			return true
		}
		switch ev.Kind {
		case NeedMore:
			if n != len(rest) {
				tb.Fatalf("NeedMore with %d of %d bytes consumed", n, len(rest))
			}
			for i := range chunk {
				chunk[i] = 0xee
			}
			return false
		case Close:
			t.events = append(t.events, fmt.Sprintf("close %d %s", ev.Code, ev.Payload))
			return true
		default:
			name := [...]string{Text: "text", Binary: "binary", Ping: "ping", Pong: "pong"}[ev.Kind]
			t.events = append(t.events, name+" "+string(ev.Payload))
		}
		rest = rest[n:]
	}
}

// everySplit reads the input whole, byte by byte and cut in two at every place
// (of a long one, at a hundred), and wants one transcript of them all.
func everySplit(tb testing.TB, input []byte, c *ReaderConfig) transcript {
	tb.Helper()
	want := read(tb, new(Reader), input, c)
	bytewise := make([]int, len(input))
	for i := range bytewise {
		bytewise[i] = i
	}
	if got := read(tb, new(Reader), input, c, bytewise...); !got.equal(want) {
		tb.Fatalf("byte by byte: %v\nwhole: %v\ninput %x", got, want, input)
	}
	step := 1
	if len(input) > 1000 {
		step = len(input) / 100
	}
	for cut := 0; cut < len(input); cut += step {
		if got := read(tb, new(Reader), input, c, cut); !got.equal(want) {
			tb.Fatalf("cut at %d: %v\nwhole: %v\ninput %x", cut, got, want, input)
		}
	}
	return want
}

func TestReaderGivesEventsForEverySplit(t *testing.T) {
	long := strings.Repeat("0123456789", 7000)
	tests := map[string]struct {
		input []byte
		want  []string
	}{
		"text":               {masked(fin|1, "hello"), []string{"text hello"}},
		"empty text":         {masked(fin|1, ""), []string{"text "}},
		"binary":             {masked(fin|2, "\xff\x00"), []string{"binary \xff\x00"}},
		"two in one read":    {join(masked(fin|1, "a"), masked(fin|1, "b")), []string{"text a", "text b"}},
		"16-bit length":      {masked(fin|1, long[:126]), []string{"text " + long[:126]}},
		"64-bit length":      {masked(fin|1, long), []string{"text " + long}},
		"ping and pong":      {join(masked(fin|9, "p"), masked(fin|10, "q"), masked(fin|9, "")), []string{"ping p", "pong q", "ping "}},
		"fragments":          {join(masked(1, "a"), masked(0, "b"), masked(fin, "c")), []string{"text abc"}},
		"empty fragments":    {join(masked(1, ""), masked(0, ""), masked(fin, "")), []string{"text "}},
		"late content":       {join(masked(1, ""), masked(0, ""), masked(fin, "x")), []string{"text x"}},
		"early content":      {join(masked(1, "x"), masked(0, ""), masked(fin, "")), []string{"text x"}},
		"control between":    {join(masked(2, "a"), masked(fin|9, "p"), masked(0, "b"), masked(fin|10, "q"), masked(fin, "c")), []string{"ping p", "pong q", "binary abc"}},
		"rune over parts":    {join(masked(1, "\xf0\x9f"), masked(fin|9, ""), masked(0, "\x98"), masked(0, ""), masked(fin, "\x80é")), []string{"ping ", "text 😀é"}},
		"runes of all sizes": {masked(fin|1, "aé€😀b"), []string{"text aé€😀b"}},
		"replacement rune":   {masked(fin|1, "\uFFFD"), []string{"text \uFFFD"}},
		"close":              {masked(fin|8, "\x03\xe8bye"), []string{"close 1000 bye"}},
		"empty close":        {masked(fin|8, ""), []string{"close 1005 "}},
		"close in message":   {join(masked(1, "a"), masked(fin|8, "")), []string{"close 1005 "}},
		"unread behind":      {join(masked(fin|8, ""), []byte("\xff\xff\xff")), []string{"close 1005 "}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := everySplit(t, test.input, &ReaderConfig{Binary: true})
			if got.code != 0 || !slices.Equal(got.events, test.want) {
				t.Fatalf("got %v\nwant %q", got, test.want)
			}
		})
	}
}

func TestReaderRefusesViolationsWithTheirCode(t *testing.T) {
	with := func(b []byte, at int, value byte) []byte {
		b = bytes.Clone(b)
		b[at] = value
		return b
	}
	unmasked := AppendFrame(nil, OpText, []byte("x"))
	long := func(bytes ...byte) []byte { return append(append([]byte{fin | 1}, bytes...), testMask[:]...) }
	tests := map[string]struct {
		input []byte
		code  uint16
	}{
		"unmasked":                       {unmasked, 1002},
		"rsv1 without extension":         {masked(fin|0x40|1, "x"), 1002},
		"rsv2":                           {masked(fin|0x20|1, "x"), 1002},
		"rsv3":                           {masked(fin|0x10|1, "x"), 1002},
		"opcode 3":                       {masked(fin|3, ""), 1002},
		"opcode 7":                       {masked(fin|7, ""), 1002},
		"opcode 11":                      {masked(fin|11, ""), 1002},
		"opcode 15":                      {masked(fin|15, ""), 1002},
		"fragmented ping":                {masked(9, ""), 1002},
		"ping of 126":                    {masked(fin|9, strings.Repeat("x", 126)), 1002},
		"close of 126":                   {masked(fin|8, strings.Repeat("x", 126)), 1002},
		"continuation of nothing":        {masked(fin, "x"), 1002},
		"continuation behind a message":  {join(masked(fin|1, "x"), masked(0, "y")), 1002},
		"message inside a message":       {join(masked(1, "x"), masked(fin|1, "y")), 1002},
		"16-bit form of 125":             {long(bitMask|126, 0, 125), 1002},
		"64-bit form of 65535":           {long(bitMask|127, 0, 0, 0, 0, 0, 0, 0xff, 0xff), 1002},
		"64-bit length with the top bit": {long(bitMask|127, 0x80, 0, 0, 0, 0, 0, 0, 0), 1002},
		"63-bit length":                  {long(bitMask|127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 1009},
		"close of one byte":              {masked(fin|8, "x"), 1002},
		"close reason not UTF-8":         {masked(fin|8, "\x03\xe8\xff"), 1007},
		"text not UTF-8":                 {masked(fin|1, "a\xff"), 1007},
		"text ends inside a rune":        {masked(fin|1, "a\xe2\x82"), 1007},
		"surrogate":                      {masked(fin|1, "\xed\xa0\x80"), 1007},
		"overlong":                       {masked(fin|1, "\xc0\xaf"), 1007},
		"above U+10FFFF":                 {masked(fin|1, "\xf4\x90\x80\x80"), 1007},
		"bad rune over fragments":        {join(masked(1, "\xe2\x82"), masked(0, "x")), 1007},
		"rune unfinished over fragments": {join(masked(1, "\xe2\x82"), masked(fin, "")), 1007},
		"above the size":                 {masked(fin|1, strings.Repeat("x", 1001)), 1009},
		"fragments above the size":       {join(masked(1, strings.Repeat("x", 600)), masked(0, strings.Repeat("x", 401))), 1009},
		"too many fragments":             {join(masked(1, ""), masked(0, ""), masked(0, ""), masked(0, ""), masked(fin, "")), 1009},
		"second frame bad":               {join(masked(fin|1, "x"), with(masked(fin|1, "y"), 1, 1)), 1002},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := &ReaderConfig{MessageBytes: 1000, Fragments: 4, Binary: true}
			if got := everySplit(t, test.input, c); got.code != test.code {
				t.Fatalf("got %v, want code %d", got, test.code)
			}
		})
	}
}

func TestReaderTakesMessagesAtTheirLimits(t *testing.T) {
	input := join(
		masked(1, strings.Repeat("x", 600)), masked(0, ""), masked(fin|9, "p"), masked(0, ""), masked(fin, strings.Repeat("x", 400)),
		masked(fin|1, strings.Repeat("x", 1000)))
	got := everySplit(t, input, &ReaderConfig{MessageBytes: 1000, Fragments: 4})
	if got.code != 0 || len(got.events) != 3 || got.frames != 6 {
		t.Fatalf("got %v", got)
	}
}

func TestBoundsThatShrinkHoldForWhatComesOfAMessage(t *testing.T) {
	var r Reader
	c := ReaderConfig{MessageBytes: 100, Fragments: 10}
	if _, _, err := r.Next(masked(byte(OpText), strings.Repeat("a", 50)), &c); err != nil {
		t.Fatal(err)
	}
	c.MessageBytes = 10
	_, _, err := r.Next(masked(fin|byte(OpContinuation), "b"), &c)
	var fault *CloseError
	if !errors.As(err, &fault) || fault.Code != CodeTooBig {
		t.Errorf("50 bytes held and 10 allowed: %v", err)
	}
}

func TestReaderRefusesBinaryWhereOnlyTextIsTaken(t *testing.T) {
	if got := everySplit(t, masked(fin|2, "x"), &ReaderConfig{}); got.code != 1003 {
		t.Fatalf("got %v, want 1003", got)
	}
}

func TestReaderJudgesCloseCodes(t *testing.T) {
	legal := func(code int) bool {
		switch code {
		case 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014:
			return true
		}
		return code >= 3000 && code <= 4999
	}
	for code := 0; code <= 0xffff; code++ {
		if LegalCloseCode(uint16(code)) != legal(code) {
			t.Fatalf("LegalCloseCode(%d) = %v", code, !legal(code))
		}
	}
	for _, code := range []int{0, 999, 1000, 1004, 1005, 1006, 1011, 1012, 1014, 1015, 1016, 2999, 3000, 4999, 5000, 65535} {
		got := everySplit(t, masked(fin|8, string([]byte{byte(code >> 8), byte(code)})), &ReaderConfig{})
		if (got.code == 0) != legal(code) || got.code != 0 && got.code != 1002 {
			t.Errorf("code %d: %v", code, got)
		}
	}
}

func TestReaderFailsBeforeTheFrameIsWhole(t *testing.T) {
	c := &ReaderConfig{MessageBytes: 1000}
	tests := map[string]struct {
		input []byte
		bytes int // after which it fails
		code  uint16
	}{
		"reserved opcode":     {masked(fin|3, "x"), 1, 1002},
		"unmasked":            {AppendFrame(nil, OpText, []byte("x")), 2, 1002},
		"size":                {masked(fin|1, strings.Repeat("x", 1001)), 8, 1009},
		"bad byte in a frame": {masked(fin|1, "abc\xffdefgh"), 6 + 4, 1007},
		"bad second byte":     {masked(fin|1, "abc\xe0\x80gh"), 6 + 5, 1007},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var r Reader
			for i, b := range test.input {
				_, _, err := r.Next([]byte{b}, c)
				if (err != nil) != (i+1 == test.bytes) {
					t.Fatalf("after %d bytes: %v", i+1, err)
				}
				if err != nil {
					if err.(*CloseError).Code != test.code {
						t.Fatalf("code %d, want %d", err.(*CloseError).Code, test.code)
					}
					return
				}
			}
		})
	}
}

func TestReaderReadsNothingAfterItsEnd(t *testing.T) {
	for name, first := range map[string][]byte{"violation": masked(fin|3, ""), "close": masked(fin|8, "")} {
		t.Run(name, func(t *testing.T) {
			var r Reader
			r.Next(first, &ReaderConfig{})
			behind := masked(fin|1, "x")
			if ev, n, err := r.Next(behind, &ReaderConfig{}); ev.Kind != NeedMore || n != len(behind) || err != nil {
				t.Fatalf("got %v %d %v", ev, n, err)
			}
		})
	}
}

func TestClientReaderTakesUnmaskedFramesOnly(t *testing.T) {
	server := join(
		AppendFrame(nil, OpText, []byte("hello")), EmptyPing,
		AppendFrame(nil, OpText, bytes.Repeat([]byte("x"), 70000)), AppendClose(nil, 1012, "later"))
	want := []string{"text hello", "ping ", "text " + strings.Repeat("x", 70000), "close 1012 later"}
	for _, cuts := range [][]int{nil, {1, 2, 3, 9, 12, 13, 500}} {
		if got := read(t, new(ClientReader), server, &ReaderConfig{}, cuts...); got.code != 0 || !slices.Equal(got.events, want) {
			t.Fatalf("got %v", got)
		}
	}
	if got := read(t, new(ClientReader), masked(fin|1, "x"), &ReaderConfig{}); got.code != 1002 {
		t.Fatalf("masked frame: %v", got)
	}
}
