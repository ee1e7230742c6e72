package frame

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

func TestHeadersAreThoseOfGobwas(t *testing.T) {
	for _, length := range []int{0, 1, 125, 126, 127, 65535, 65536, 1 << 40} {
		for _, op := range []Opcode{OpContinuation, OpText, OpBinary, OpClose, OpPing, OpPong} {
			for _, rsv1 := range []bool{false, true} {
				var want bytes.Buffer
				if err := ws.WriteHeader(&want, ws.Header{Fin: true, Rsv: ws.Rsv(rsv1, false, false), OpCode: op, Length: int64(length)}); err != nil {
					t.Fatal(err)
				}
				got := AppendHeader(nil, op, length, rsv1)
				if !bytes.Equal(got, want.Bytes()) || headerLength(length) != len(got) {
					t.Fatalf("%x of %d: got %x, want %x", op, length, got, want.Bytes())
				}
			}
		}
	}
}

func TestFramesAreThoseOfGobwas(t *testing.T) {
	for _, size := range []int{0, 5, 125, 126, 65535, 65536} {
		payload := bytes.Repeat([]byte("x"), size)
		plain := ws.MustCompileFrame(ws.NewTextFrame(payload))
		if got := AppendFrame([]byte("kept"), OpText, payload); !bytes.Equal(got, append([]byte("kept"), plain...)) {
			t.Errorf("%d bytes: frame begins %x", size, got[:6])
		}
		masked := ws.MustCompileFrame(ws.MaskFrameWith(ws.NewTextFrame(payload), testMask))
		if got := AppendMasked([]byte("kept"), OpText, payload, testMask); !bytes.Equal(got, append([]byte("kept"), masked...)) {
			t.Errorf("%d bytes: masked frame begins %x", size, got[:10])
		}
		if bytes.ContainsFunc(payload, func(r rune) bool { return r != 'x' }) {
			t.Errorf("%d bytes: the payload was masked in place", size)
		}
	}
	if !bytes.Equal(EmptyPing, ws.CompiledPing) || !bytes.Equal(EmptyPong, ws.CompiledPong) {
		t.Errorf("ping %x, pong %x", EmptyPing, EmptyPong)
	}
}

func TestAppendCloseMakesLegalFrames(t *testing.T) {
	for name, test := range map[string]struct {
		code         uint16
		reason, want string
	}{
		"normal":            {1000, "bye", "bye"},
		"no reason":         {4002, "", ""},
		"123 bytes":         {1001, strings.Repeat("x", 123), strings.Repeat("x", 123)},
		"124 bytes":         {1001, strings.Repeat("x", 124), strings.Repeat("x", 123)},
		"cut before a rune": {1001, strings.Repeat("x", 121) + "😀", strings.Repeat("x", 121)},
		"not UTF-8":         {1001, "a\xffb", "a\uFFFDb"},
	} {
		t.Run(name, func(t *testing.T) {
			b := AppendClose(nil, test.code, test.reason)
			if len(b) > 2+maxControl || b[0] != bitFin|byte(OpClose) || int(b[1]) != len(b)-2 {
				t.Fatalf("got %x", b)
			}
			code, reason := binary.BigEndian.Uint16(b[2:]), string(b[4:])
			if code != test.code || reason != test.want || !utf8.ValidString(reason) {
				t.Fatalf("got %d %q", code, reason)
			}
		})
	}
	for _, code := range []uint16{0, 1004, 1005, 1006, 1015, 2000, 5000} {
		if got := AppendClose(nil, code, "secret"); !bytes.Equal(got, ws.CompiledClose) {
			t.Errorf("code %d: %x, want an empty close frame", code, got)
		}
	}
}

func TestAppendingDoesNotAllocate(t *testing.T) {
	payload := make([]byte, 1000)
	dst := make([]byte, 0, 4096)
	if allocs := testing.AllocsPerRun(100, func() {
		b := AppendFrame(dst, OpText, payload)
		b = AppendMasked(b, OpText, payload, testMask)
		_ = AppendClose(b, 1012, "restart")
	}); allocs != 0 {
		t.Fatalf("%v allocations", allocs)
	}
}

// headerLength returns the bytes of an unmasked frame's header: 2, 4 or 10.
func headerLength(length int) int {
	switch {
	case length <= length7:
		return 2
	case length <= length16:
		return 4
	default:
		return 10
	}
}
