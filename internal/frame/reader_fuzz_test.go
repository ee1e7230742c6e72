package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// fuzzConfig spreads a byte over the settings.
func fuzzConfig(setting byte) *ReaderConfig {
	c := &ReaderConfig{Binary: setting&1 != 0, Deflate: setting&2 != 0}
	if setting&4 != 0 {
		c.MessageBytes = int64(setting)
	}
	if setting&8 != 0 {
		c.Fragments = 3
	}
	return c
}

func FuzzReaderSplits(f *testing.F) {
	hello := compressed(f, "hello hello hello hello")
	for _, seed := range [][]byte{
		masked(fin|1, "hello"),
		join(masked(1, "\xf0\x9f"), masked(fin|9, "ping"), masked(fin, "\x98\x80")),
		join(masked(2, "a"), masked(0, ""), masked(fin, strings.Repeat("x", 126))),
		join(masked(fin|8, "\x03\xf4restart"), masked(fin|1, "x")),
		masked(fin|0x40|1, hello),
		join(masked(0x40|1, hello[:3]), masked(fin|10, ""), masked(fin, hello[3:])),
		masked(fin|1, "a\xff"),
		join(masked(1, "x"), masked(fin|9, "cut off")[:9]),
		{fin | 1, bitMask | 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5},
		{fin | 1, bitMask | 126, 0, 5, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'},
		AppendFrame(nil, OpText, []byte("unmasked")),
	} {
		for _, setting := range []byte{0, 1, 3, 0x7f} {
			f.Add(seed, setting)
		}
	}
	f.Fuzz(func(t *testing.T, input []byte, setting byte) {
		c := fuzzConfig(setting)
		got := everySplit(t, input, c)
		if !c.Deflate {
			compareWithGobwas(t, input, got, c)
		}
	})
}

// compareWithGobwas holds a transcript against wsutil.Reader's. That one knows
// fewer rules, so it may go on where ours has failed, never the other way round.
func compareWithGobwas(t *testing.T, input []byte, got transcript, c *ReaderConfig) {
	want, err := gobwasTranscript(input)
	if got.code == 0 {
		if !slices.Equal(got.events, want) {
			t.Fatalf("ours %q\ngobwas %q (%v)\ninput %x", got.events, want, err, input)
		}
		if err != nil {
			t.Fatalf("gobwas failed with %v, ours did not: %v\ninput %x", err, got, input)
		}
		return
	}
	common := min(len(got.events), len(want))
	if !slices.Equal(got.events[:common], want[:common]) {
		t.Fatalf("before the error: ours %q\ngobwas %q\ninput %x", got.events, want, input)
	}
	if len(got.events) > len(want) {
		t.Fatalf("ours %v gave more than gobwas %q (%v)\ninput %x", got, want, err, input)
	}
}

// gobwasTranscript reads up to a close, an error or the end; running out of bytes
// is no error.
func gobwasTranscript(input []byte) (events []string, err error) {
	source := bytes.NewReader(input)
	control := func(h ws.Header, r io.Reader) error {
		payload, err := io.ReadAll(r)
		if err == nil && int64(len(payload)) < h.Length {
			// Inside a message wsutil gives a control frame that is cut off as whole.
			err = io.ErrUnexpectedEOF
		}
		if err == nil {
			events = append(events, gobwasEvent(h.OpCode, payload))
			if h.OpCode == ws.OpClose {
				err = errClosed
			}
		}
		return err
	}
	reader := &wsutil.Reader{Source: source, State: ws.StateServerSide, CheckUTF8: true, OnIntermediate: control}
	for err == nil {
		var h ws.Header
		if h, err = reader.NextFrame(); err != nil {
			break
		}
		if h.OpCode.IsControl() {
			err = control(h, reader)
			continue
		}
		var payload []byte
		if payload, err = io.ReadAll(reader); err == nil {
			events = append(events, gobwasEvent(h.OpCode, payload))
		}
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF || errors.Is(err, errClosed) {
		err = nil
	}
	return events, err
}

var errClosed = errors.New("close frame")

func gobwasEvent(op ws.OpCode, payload []byte) string {
	switch op {
	case ws.OpClose:
		if len(payload) < 2 {
			return "close 1005 "
		}
		return fmt.Sprintf("close %d %s", binary.BigEndian.Uint16(payload), payload[2:])
	case ws.OpText:
		return "text " + string(payload)
	case ws.OpBinary:
		return "binary " + string(payload)
	case ws.OpPing:
		return "ping " + string(payload)
	default:
		return "pong " + string(payload)
	}
}

// FuzzReaderFrames makes legal streams by construction and wants back what went
// in: it reaches deeper than random bytes do.
func FuzzReaderFrames(f *testing.F) {
	f.Add([]byte("hello wörld, this is a message"), []byte{3, 0x85, 7, 1, 0x90, 200})
	f.Add([]byte("\xf0\x9f\x98\x80"), []byte{1, 0x81, 1, 1, 1})
	f.Add([]byte{}, []byte{0, 0, 0x80})
	f.Fuzz(func(t *testing.T, content, plan []byte) {
		content = bytes.ToValidUTF8(content[:min(len(content), 4096)], []byte("?"))
		plan = plan[:min(len(plan), 64)]
		var input []byte
		var want []string
		first, rest := byte(OpText), string(content)
		for _, step := range plan {
			if step&0x80 != 0 {
				ping := strings.Repeat("p", int(step&0x7f)%126)
				input = append(input, masked(fin|9, ping)...)
				want = append(want, "ping "+ping)
				continue
			}
			n := min(int(step), len(rest))
			input = append(input, masked(first, rest[:n])...)
			first, rest = 0, rest[n:]
		}
		input = append(input, masked(fin|first, rest)...)
		want = append(want, "text "+string(content))
		got := everySplit(t, input, &ReaderConfig{MessageBytes: int64(len(content)), Fragments: len(plan) + 1})
		if got.code != 0 || !slices.Equal(got.events, want) {
			t.Fatalf("got %v\nwant %q", got, want)
		}
	})
}
