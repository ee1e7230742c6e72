package room

import "sync/atomic"

const (
	smallChunk = 1 << 10  // an idle room's first
	largeChunk = 64 << 10 // a busy room's; a larger frame gets a chunk of its own
	// frameGuess sizes a chunk's index: smaller frames fill it before the bytes.
	frameGuess = 128
)

// place is where a frame of a chunk ends, and what bounds its stay.
type place struct {
	end  uint32 // in the chunk's bytes
	data uint32 // bytes of the message's data
	time int64  // Unix milliseconds
}

// chunk is a run of frames with consecutive seqs. Its frame i, counted from 0,
// has the seq base+1+i. A log in which nothing was said has one without room: 48
// bytes, which is why its contents lie apart.
type chunk struct {
	// immutable
	track *track
	base  uint64
	start uint64 // bytes in the track before this chunk
	*contents

	n    atomic.Uint32         // frames that can be read
	next atomic.Pointer[chunk] // set once, when n has its last value
}

// contents are a chunk's frames: written once, by the appender, beyond what the
// chunk's n says can be read.
type contents struct {
	buf    []byte
	places []place
}

// without is of the chunks that have no room.
var without = new(contents)

func (c *chunk) last() uint64 { return c.base + uint64(c.n.Load()) }

// end is where frame n, counted from 1, ends; 0 is the beginning.
func (c *chunk) end(n uint32) uint32 {
	if n == 0 {
		return 0
	}
	return c.places[n-1].end
}

func (c *chunk) memory() int { return cap(c.buf) + 16*cap(c.places) }

// track is a chain of chunks, the oldest kept first. It is never cut: whoever
// holds a chunk reaches all that came after it. The zero value has none.
type track struct {
	oldest  atomic.Pointer[chunk]
	written atomic.Uint64 // bytes of all frames there have been

	newest *chunk // the appender's
}

// append copies a frame to the end and makes it readable. It returns the memory
// that it took.
func (t *track) append(seq uint64, p place, header, payload []byte) (memory int) {
	size := len(header) + len(payload)
	c := t.newest
	if c == nil || !c.takes(seq, size) {
		c = t.grow(seq-1, size)
		memory = c.memory()
	}
	n := c.n.Load()
	at := c.end(n)
	copy(c.buf[at:], header)
	copy(c.buf[int(at)+len(header):], payload)
	p.end = at + uint32(size)
	c.places[n] = p
	c.n.Store(n + 1)
	t.written.Add(uint64(size))
	return memory
}

func (c *chunk) takes(seq uint64, size int) bool {
	n := c.n.Load()
	return seq == c.base+uint64(n)+1 && int(n) < len(c.places) && int(c.end(n))+size <= len(c.buf)
}

// grow links a new chunk, twice as large as the one before it up to largeChunk.
func (t *track) grow(base uint64, need int) *chunk {
	size := smallChunk
	if t.newest != nil {
		size = min(max(2*len(t.newest.buf), size), largeChunk)
	}
	size = max(size, need)
	c := &chunk{contents: &contents{make([]byte, size), make([]place, max(size/frameGuess, 1))}}
	t.link(c, base)
	return c
}

func (t *track) link(c *chunk, base uint64) {
	c.track, c.base, c.start = t, base, t.written.Load()
	if t.newest == nil {
		t.oldest.Store(c)
	} else {
		t.newest.next.Store(c)
	}
	t.newest = c
}

// end links a chunk without room.
func (t *track) end(base uint64) { t.link(&chunk{contents: without}, base) }

// trim lets go of the chunks that hold nothing from seq on. The newest stays. It
// returns the memory that the track no longer holds.
func (t *track) trim(seq uint64) (memory int) {
	c := t.oldest.Load()
	for c != nil && c != t.newest && c.last() < seq {
		memory += c.memory()
		c = c.next.Load()
		t.oldest.Store(c)
	}
	return memory
}

// clear lets go of all chunks but for one without room, which ends the chain. It
// returns the memory that the track no longer holds.
func (t *track) clear() (memory int) {
	if t.newest == nil {
		return 0
	}
	t.end(t.newest.last())
	return t.trim(t.newest.base + 1)
}

// find returns the chunk that holds seq, or the first that begins after it; nil
// where there is neither.
func (t *track) find(seq uint64) *chunk {
	for c := t.oldest.Load(); c != nil; c = c.next.Load() {
		if seq <= c.last() {
			return c
		}
	}
	return nil
}
