package frame

import (
	"bytes"

	"github.com/klauspost/compress/flate"
)

const (
	// deflateLevel 1 is what a broadcast can afford; BenchmarkDeflate compares.
	deflateLevel = 1
	// deflateMin is the payload below which compressing gains nothing.
	deflateMin = 512
	// syncTail ends a flushed stream and is cut off (RFC 7692 section 7.2.1).
	syncTail = "\x00\x00\xff\xff"
)

// Deflater makes compressed frames without context takeover, so that one frame
// serves every receiver. It belongs to one goroutine.
type Deflater struct {
	stream *flate.Writer
	out    bytes.Buffer
}

// NewDeflater returns a Deflater. Its window and tables are a few hundred KiB:
// one per goroutine, not per connection.
func NewDeflater() *Deflater {
	d := new(Deflater)
	stream, err := flate.NewWriter(&d.out, deflateLevel)
	if err != nil {
		panic("frame: deflate level: " + err.Error())
	}
	d.stream = stream
	return d
}

// AppendFrame appends a whole server frame with the payload compressed and RSV1
// set, or the plain frame where the payload is short or does not shrink.
func (d *Deflater) AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	if len(payload) < deflateMin {
		return AppendFrame(dst, op, payload)
	}
	compressed, ok := d.deflate(payload)
	if !ok || len(compressed) >= len(payload) {
		return AppendFrame(dst, op, payload)
	}
	return append(AppendHeader(dst, op, len(compressed), true), compressed...)
}

// deflate compresses payload up to a flush; the result lies in d.out.
func (d *Deflater) deflate(payload []byte) ([]byte, bool) {
	if d.out.Cap() > keptScratch && len(payload) <= keptScratch {
		d.out = bytes.Buffer{}
	}
	d.out.Reset()
	d.stream.Reset(&d.out)
	if _, err := d.stream.Write(payload); err != nil {
		return nil, false
	}
	if err := d.stream.Flush(); err != nil {
		return nil, false
	}
	return bytes.CutSuffix(d.out.Bytes(), []byte(syncTail))
}
