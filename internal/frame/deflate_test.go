package frame

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	klauspost "github.com/klauspost/compress/flate"
)

// compressed makes a message's payload with the standard library, as another
// endpoint would (RFC 7692 section 7.2.1).
func compressed(tb testing.TB, content string) string {
	tb.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 9)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		tb.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), syncTail)
}

// expanded is its reverse.
func expanded(tb testing.TB, payload []byte) string {
	tb.Helper()
	content, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader(deflateTail))))
	if err != nil {
		tb.Fatal(err)
	}
	return string(content)
}

func chatter(size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, `{"type":"message","version":1,"payload":{"room":"lobby","epoch":"e%d","seq":%d,"data":{"text":"hello %d"}}}`, i%3, i, i*7919)
	}
	return b.String()[:size]
}

func TestReaderInflatesMessages(t *testing.T) {
	long := chatter(50000)
	packed := compressed(t, long)
	tests := map[string]struct {
		input []byte
		want  []string
	}{
		"whole":                {masked(fin|0x40|1, compressed(t, "hello")), []string{"text hello"}},
		"long":                 {masked(fin|0x40|1, packed), []string{"text " + long}},
		"fragments":            {join(masked(0x40|2, packed[:100]), masked(fin|9, "p"), masked(0, packed[100:200]), masked(fin, packed[200:])), []string{"ping p", "binary " + long}},
		"plain beside":         {join(masked(fin|1, "plain"), masked(fin|0x40|1, compressed(t, "packed")), masked(fin|1, "plain")), []string{"text plain", "text packed", "text plain"}},
		"empty":                {masked(fin|0x40|1, "\x00"), []string{"text "}},
		"RFC 7692 7.2.3.1":     {masked(fin|0x40|1, "\xf2\x48\xcd\xc9\xc9\x07\x00"), []string{"text Hello"}},
		"7.2.3.3 stored":       {masked(fin|0x40|1, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), []string{"text Hello"}},
		"7.2.3.4 final block":  {masked(fin|0x40|1, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), []string{"text Hello"}},
		"final, nothing added": {masked(fin|0x40|1, "\xf3\x48\xcd\xc9\xc9\x07\x00"), []string{"text Hello"}},
		"7.2.3.5 two blocks":   {masked(fin|0x40|1, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), []string{"text Hello"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := &ReaderConfig{Binary: true, Deflate: true, MessageBytes: 50000}
			got := everySplit(t, test.input, c)
			if got.code != 0 || !slices.Equal(got.events, test.want) {
				t.Fatalf("got %v\nwant %q", got, test.want)
			}
		})
	}
}

func TestReaderRefusesBadCompression(t *testing.T) {
	hello := compressed(t, "hello hello hello")
	tests := map[string]struct {
		input []byte
		code  uint16
	}{
		"garbage":                     {masked(fin|0x40|1, "\xff\xff\xff"), 1007},
		"no payload at all":           {masked(fin|0x40|1, ""), 1007},
		"truncated":                   {masked(fin|0x40|1, compressed(t, chatter(4000))[:300]), 1007},
		"distance before the start":   {masked(fin|0x40|1, "\x4b\x04\xa2\x00"), 1007},
		"content behind final block":  {masked(fin|0x40|1, "\xf3\x48\xcd\xc9\xc9\x07\x00"+hello), 1007},
		"inflated text not UTF-8":     {masked(fin|0x40|1, compressed(t, "a\xff")), 1007},
		"rsv1 on a continuation":      {join(masked(0x40|1, hello[:2]), masked(fin|0x40, hello[2:])), 1002},
		"rsv1 on a ping":              {masked(fin|0x40|9, ""), 1002},
		"rsv1 and rsv2":               {masked(fin|0x60|1, hello), 1002},
		"inflates above the size":     {masked(fin|0x40|1, compressed(t, strings.Repeat("x", 5001))), 1009},
		"bomb":                        {masked(fin|0x40|2, compressed(t, strings.Repeat("\x00", 4<<20))), 1009},
		"compressed above the size":   {masked(fin|0x40|2, strings.Repeat("\x00", 5001)), 1009},
		"fragments above, compressed": {join(masked(0x40|2, strings.Repeat("\x00", 5000)), masked(fin, "\x00")), 1009},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := &ReaderConfig{Binary: true, Deflate: true, MessageBytes: 5000}
			if got := everySplit(t, test.input, c); got.code != test.code {
				t.Fatalf("got %v, want code %d", got, test.code)
			}
		})
	}
}

func TestReaderInflatesNoFurtherThanItsLimit(t *testing.T) {
	bomb := masked(fin|0x40|2, compressed(t, strings.Repeat("\x00", 16<<20)))
	if len(bomb) > 100<<10 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	c := &ReaderConfig{Binary: true, Deflate: true, MessageBytes: 128 << 10}
	const rounds = 10
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		var r Reader
		if _, _, err := r.Next(bytes.Clone(bomb), c); err == nil {
			t.Fatal("the bomb went off")
		}
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / rounds; got > 2<<20 {
		t.Fatalf("%d bytes allocated for a limit of %d", got, c.MessageBytes)
	}
}

func TestInflatedPayloadOutlivesThePool(t *testing.T) {
	c := &ReaderConfig{Deflate: true}
	var one, other Reader
	first, _, err := one.Next(masked(fin|0x40|1, compressed(t, "first first first")), c)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.Next(masked(fin|0x40|1, compressed(t, "other other other")), c); err != nil {
		t.Fatal(err)
	}
	if string(first.Payload) != "first first first" {
		t.Fatalf("another reader changed the payload to %q", first.Payload)
	}
}

func TestDeflaterMakesFramesThatInflate(t *testing.T) {
	d := NewDeflater()
	for _, size := range []int{512, 513, 1000, 5000, 70000, 1 << 20, 600} {
		content := chatter(size)
		b := d.AppendFrame([]byte("kept"), OpText, []byte(content))
		b, ok := bytes.CutPrefix(b, []byte("kept"))
		if !ok || b[0] != bitFin|bitRsv1|byte(OpText) || len(b) >= size {
			t.Fatalf("%d bytes: frame of %d begins %x", size, len(b), b[:4])
		}
		got := read(t, new(ClientReader), b, &ReaderConfig{Deflate: true})
		if got.code != 0 || !slices.Equal(got.events, []string{"text " + content}) {
			t.Fatalf("%d bytes: code %d %s", size, got.code, got.reason)
		}
		payload := b[headerLength(len(b)-4):]
		if expanded(t, payload) != content {
			t.Fatalf("%d bytes: the standard library reads something else", size)
		}
	}
}

func TestDeflaterLeavesPlainWhatDoesNotGain(t *testing.T) {
	noise := make([]byte, 4000)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	d := NewDeflater()
	for name, payload := range map[string][]byte{"empty": nil, "short": []byte(chatter(deflateMin - 1)), "noise": noise} {
		t.Run(name, func(t *testing.T) {
			if got, want := d.AppendFrame(nil, OpBinary, payload), AppendFrame(nil, OpBinary, payload); !bytes.Equal(got, want) {
				t.Fatalf("frame of %d bytes begins %x", len(got), got[:2])
			}
		})
	}
}

func TestDeflaterDependsOnNoEarlierMessage(t *testing.T) {
	payload := []byte(chatter(3000))
	used := NewDeflater()
	used.AppendFrame(nil, OpText, payload)
	if got, want := used.AppendFrame(nil, OpText, payload), NewDeflater().AppendFrame(nil, OpText, payload); !bytes.Equal(got, want) {
		t.Fatal("the second frame has context of the first")
	}
}

func TestDeflaterDoesNotAllocate(t *testing.T) {
	d := NewDeflater()
	payload := []byte(chatter(2000))
	dst := d.AppendFrame(nil, OpText, payload)
	if allocs := testing.AllocsPerRun(100, func() { dst = d.AppendFrame(dst[:0], OpText, payload) }); allocs != 0 {
		t.Fatalf("%v allocations", allocs)
	}
}

func FuzzInflate(f *testing.F) {
	f.Add([]byte(compressed(f, "hello hello")), uint16(100))
	f.Add([]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), uint16(0))
	f.Add([]byte("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), uint16(4))
	f.Fuzz(func(t *testing.T, payload []byte, limit uint16) {
		got, fault := inflate(payload, int64(limit))
		bound := int64(limit) + 1
		if limit == 0 {
			bound = 1 << 22
		}
		stream := flate.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader(deflateTail)))
		want, err := io.ReadAll(io.LimitReader(stream, bound))
		switch {
		case int64(len(want)) == bound:
			if limit > 0 && fault == nil {
				t.Fatalf("%d bytes passed a limit of %d", len(got), limit)
			}
		case fault == nil && (err != nil || !bytes.Equal(got, want)):
			t.Fatalf("ours %q\nstandard library %q, %v", got, want, err)
		case fault == errMessageSize && err == nil:
			t.Fatalf("refused as too big at %d bytes", len(want))
		}
	})
}

func BenchmarkInflate(b *testing.B) {
	payload := []byte(compressed(b, chatter(2000)))
	b.Run("pooled", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, fault := inflate(payload, 0); fault != nil {
				b.Fatal(fault)
			}
		}
	})
	b.Run("new each time", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			in := slices.Concat(payload, []byte(deflateTail))
			if _, err := io.ReadAll(klauspost.NewReader(bytes.NewReader(in))); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDeflate(b *testing.B) {
	for _, size := range []int{600, 2000, 16000} {
		payload := []byte(chatter(size))
		for level := 1; level <= 3; level++ {
			b.Run(fmt.Sprintf("%d/level%d", size, level), func(b *testing.B) {
				d := NewDeflater()
				d.stream, _ = klauspost.NewWriter(&d.out, level)
				b.ReportAllocs()
				var dst []byte
				for b.Loop() {
					dst = d.AppendFrame(dst[:0], OpText, payload)
				}
				b.ReportMetric(float64(size)/float64(len(dst)), "ratio")
			})
		}
	}
}
