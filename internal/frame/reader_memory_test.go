package frame

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unsafe"
)

func TestReaderHoldsNothingBetweenMessages(t *testing.T) {
	var r Reader
	c := &ReaderConfig{Binary: true}
	input := join(masked(1, "abc"), masked(fin|9, "ping"), masked(fin, "def"), masked(fin|9, "ping"))
	held := 0
	for i := range input {
		ev, _, err := r.Next(bytes.Clone(input[i:i+1]), c)
		if err != nil {
			t.Fatal(err)
		}
		held = max(held, r.Buffered())
		if ev.Kind == Text && (r.Buffered() != 0 || r.Mid()) {
			t.Fatalf("behind a message: %d bytes held, mid %v", r.Buffered(), r.Mid())
		}
		if i == 0 && !r.Mid() {
			t.Fatal("not Mid inside a header")
		}
	}
	if held == 0 || r.Buffered() != 0 || r.Mid() || r.held != nil {
		t.Fatalf("at the end: %d bytes held, mid %v, at most %d", r.Buffered(), r.Mid(), held)
	}
	if size := unsafe.Sizeof(r); size > 72 {
		t.Errorf("a Reader has %d bytes", size)
	}
}

func TestReaderDoesNotAllocateByDeclaredLength(t *testing.T) {
	for name, c := range map[string]*ReaderConfig{"bounded": {MessageBytes: 1 << 40}, "unbounded": {}} {
		t.Run(name, func(t *testing.T) {
			var r Reader
			head := append([]byte{fin | 1, bitMask | 127, 0, 0, 0, 0x80, 0, 0, 0, 0}, testMask[:]...)
			if _, _, err := r.Next(append(head, 'x'), c); err != nil {
				t.Fatal(err)
			}
			if r.Buffered() > 1024 {
				t.Fatalf("%d bytes held for one that came", r.Buffered())
			}
		})
	}
}

func TestReaderCopiesLinearlyManySmallFragments(t *testing.T) {
	var r Reader
	const fragments = 1 << 16
	c := &ReaderConfig{}
	piece := masked(0, "x")
	scratch := make([]byte, len(piece))
	r.Next(masked(1, ""), c)
	grown, last := 0, 0
	for range fragments {
		copy(scratch, piece)
		if _, _, err := r.Next(scratch, c); err != nil {
			t.Fatal(err)
		}
		if r.Buffered() != last {
			grown, last = grown+1, r.Buffered()
		}
	}
	if grown > 20 {
		t.Fatalf("the buffer was copied %d times for %d bytes", grown, fragments)
	}
}

func TestReaderGivesAWholeFrameWhereItLies(t *testing.T) {
	in := masked(fin|1, "hello")
	var r Reader
	ev, n, err := r.Next(in, &ReaderConfig{})
	if err != nil || n != len(in) || &ev.Payload[0] != &in[6] {
		t.Fatalf("got %q, %d, %v: not a part of the input", ev.Payload, n, err)
	}
	if cap(ev.Payload) != len(ev.Payload) {
		t.Error("appending to the payload would overwrite what follows")
	}
}

func TestReaderDoesNotAllocateForWholeFrames(t *testing.T) {
	input := join(masked(fin|1, "hello wörld"), masked(fin|9, "p"), masked(fin|2, strings.Repeat("x", 70000)))
	c := &ReaderConfig{Binary: true, MessageBytes: 1 << 20}
	var r Reader
	buffer := make([]byte, len(input))
	allocs := testing.AllocsPerRun(100, func() {
		copy(buffer, input)
		rest := buffer
		for range 3 {
			ev, n, err := r.Next(rest, c)
			if ev.Kind == NeedMore || err != nil {
				t.Fatalf("got %v, %v", ev.Kind, err)
			}
			rest = rest[n:]
		}
	})
	if allocs != 0 {
		t.Fatalf("%v allocations", allocs)
	}
}

func TestReaderDoesNotAllocateForSplitHeadersAndViolations(t *testing.T) {
	input := masked(fin|1, "x")
	bad := masked(fin|3, "")
	c := &ReaderConfig{}
	buffer := make([]byte, len(input))
	if allocs := testing.AllocsPerRun(100, func() {
		var r Reader
		copy(buffer, input)
		r.Next(buffer[:3], c)
		r.Next(buffer[3:], c)
		r.Next(bad, c)
	}); allocs != 0 {
		t.Fatalf("%v allocations", allocs)
	}
}

func BenchmarkReaderWholeFrame(b *testing.B) {
	for _, size := range []int{64, 1024, 16384} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			input := masked(fin|1, strings.Repeat("x", size))
			buffer := make([]byte, len(input))
			var r Reader
			c := &ReaderConfig{MessageBytes: 1 << 20}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				copy(buffer, input)
				if _, _, err := r.Next(buffer, c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
