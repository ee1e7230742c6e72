package frame

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// deflateTail is the end that a sender cuts off (RFC 7692 section 7.2.1), and
// behind it an empty final block, so that the inflater reports its end.
const deflateTail = "\x00\x00\xff\xff" + "\x01\x00\x00\xff\xff"

// keptScratch bounds what a pooled inflater keeps between messages.
const keptScratch = 64 << 10

// inflater is one message's: without context takeover nothing outlives it. They
// are pooled because each has some 40 KiB of tables and window; BenchmarkInflate
// shows what that saves.
type inflater struct {
	stream io.ReadCloser // also a flate.Resetter
	source bytes.Reader
	in     []byte
	out    []byte
}

var inflaters = sync.Pool{New: func() any {
	f := new(inflater)
	f.stream = flate.NewReader(&f.source)
	return f
}}

// inflate returns a compressed message's content in memory of its own. limit is
// enforced while inflating, 0 is none.
func inflate(payload []byte, limit int64) ([]byte, *CloseError) {
	f := inflaters.Get().(*inflater)
	defer f.release()
	f.in = append(append(f.in[:0], payload...), deflateTail...)
	f.source.Reset(f.in)
	if err := f.stream.(flate.Resetter).Reset(&f.source, nil); err != nil {
		return nil, errDeflate
	}
	if fault := f.run(limit); fault != nil {
		return nil, fault
	}
	if f.source.Len() > 0 && !f.endsFinal() {
		return nil, errDeflate
	}
	return append(make([]byte, 0, len(f.out)), f.out...), nil
}

func (f *inflater) run(limit int64) *CloseError {
	f.out = f.out[:0]
	for {
		if len(f.out) == cap(f.out) {
			f.out = append(f.out, 0)[:len(f.out)]
		}
		n, err := f.stream.Read(f.out[len(f.out):cap(f.out)])
		f.out = f.out[:len(f.out)+n]
		if limit > 0 && int64(len(f.out)) > limit {
			return errMessageSize
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return errDeflate
		}
	}
}

// endsFinal judges what is left behind a final block of the sender's own: RFC
// 7692 section 7.2.3.4 puts an empty stored block there, of whose five bytes the
// tail was cut. Anything else would be content that nobody sees.
func (f *inflater) endsFinal() bool {
	rest := f.in[len(f.in)-f.source.Len():]
	rest = rest[:max(len(rest)-len(deflateTail), 0)]
	return len(rest) == 0 || len(rest) == 1 && rest[0] == 0
}

func (f *inflater) release() {
	if cap(f.in) > keptScratch {
		f.in = nil
	}
	if cap(f.out) > keptScratch {
		f.out = nil
	}
	f.source.Reset(nil)
	inflaters.Put(f)
}
