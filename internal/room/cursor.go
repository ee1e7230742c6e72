package room

import "sort"

// Backlog is what a member that joined in the past has to be sent before what
// is new. It is sent whole.
type Backlog struct {
	runs   []run
	frames int
	bytes  int
}

// run is a part of a chunk, without the chunk's link to what came after it.
type run struct {
	buf    []byte // the chunk's
	places []place
	off    uint32 // in buf: where the frame of places[0] begins
}

func (r *run) bytes() []byte { return r.buf[r.off:r.places[len(r.places)-1].end] }

// Cursor is a member's place in its room's log. It is made by Log.Join.
type Cursor struct {
	chunk   *chunk // where the last frame lies, or one before it
	backlog *Backlog
	seq     uint64 // of the last frame sent, or skipped
	skipped uint64 // the first seq of a gap that is not announced yet; 0: none
	off     uint32 // in the chunk: where the frame after seq begins
	deflate bool
	// disconnect is kept until the backlog is out.
	disconnect bool
}

// Gap is a run of seqs that a member will not get.
type Gap struct{ From, To uint64 }

// Len is how many messages the gap names.
func (g Gap) Len() uint64 {
	if g.To == 0 {
		return 0
	}
	return g.To - g.From + 1
}

// Leave ends a cursor of this log.
func (l *Log) Leave(c *Cursor) {
	if c.deflate {
		l.deflated.Load().wanted.Add(-1)
	}
}

// Seq is the seq of the last frame that was sent or skipped.
func (c *Cursor) Seq() uint64 { return c.seq }

// Depth is what waits for the member: frames and bytes.
func (c *Cursor) Depth(l *Log) (frames, bytes int) {
	frames, bytes = int(l.Head()-c.seq), int(c.behind())
	if c.backlog != nil {
		frames += c.backlog.frames
		bytes += c.backlog.bytes
	}
	return frames, bytes
}

// behind is how many bytes lie between the cursor and its track's end.
func (c *Cursor) behind() uint64 {
	return c.chunk.track.written.Load() - c.chunk.start - uint64(c.off)
}

// BacklogBytes is what of the backlog is still to be sent.
func (c *Cursor) BacklogBytes() int {
	if c.backlog == nil {
		return 0
	}
	return c.backlog.bytes
}

// Kind says what a Step is.
type Kind uint8

const (
	Nothing  Kind = iota // the member has all there is
	Run                  // bytes to be written
	Skipped              // a gap by the room's policy, to be announced
	Lost                 // a gap that the log itself has
	Hopeless             // the policy is to disconnect
)

// Step is what a member has to be sent next.
type Step struct {
	Kind Kind
	Run  []byte // one or several whole frames, or the rest of the last
	Gap  Gap
}

// Next says what comes next, without moving but over what is announced by it.
func (c *Cursor) Next(l *Log) Step {
	if c.backlog != nil {
		return Step{Kind: Run, Run: c.backlog.runs[0].bytes()}
	}
	if c.disconnect {
		return Step{Kind: Hopeless}
	}
	if c.skipped != 0 {
		g := Gap{c.skipped, c.seq}
		c.skipped = 0
		return Step{Kind: Skipped, Gap: g}
	}
	if !c.settle(l) {
		return Step{}
	}
	if c.seq < c.chunk.base {
		g := Gap{c.seq + 1, c.chunk.base}
		c.seq = c.chunk.base
		return Step{Kind: Lost, Gap: g}
	}
	return Step{Kind: Run, Run: c.chunk.buf[c.off:c.chunk.end(c.chunk.n.Load())]}
}

// settle makes chunk and off say where the next frame lies, and reports whether
// there is one. Where it lies beyond a hole the chunk begins after seq.
func (c *Cursor) settle(l *Log) bool {
	if c.deflate && c.chunk.track == &l.plain {
		if d := l.deflated.Load().find(c.seq + 1); d != nil && d.base <= c.seq {
			c.place(d)
		}
	}
	for {
		// next is read before n: once it is set, n does not change.
		next := c.chunk.next.Load()
		if c.seq < c.chunk.last() {
			return true
		}
		if next == nil {
			return false
		}
		c.place(next)
	}
}

// place puts the cursor into a chunk, behind seq if that is in it, else at the
// chunk's beginning.
func (c *Cursor) place(to *chunk) {
	c.chunk, c.off = to, 0
	if c.seq > to.base && c.seq <= to.last() {
		c.off = to.end(uint32(c.seq - to.base))
	}
}

// Advance moves over n bytes of the run that Next returned, which have been
// written. It returns how many frames that sent, one that has only begun
// included, and what is left to be written of that one: the caller must write it
// before anything else.
func (c *Cursor) Advance(n int) (frames int, rest []byte) {
	if n == 0 {
		return 0, nil
	}
	if c.backlog != nil {
		return c.advanceBacklog(n)
	}
	k := c.chunk
	places := k.places[c.seq-k.base : k.n.Load()]
	frames, c.off, rest = begun(k.buf, places, c.off+uint32(n))
	c.seq += uint64(frames)
	return frames, rest
}

func (c *Cursor) advanceBacklog(n int) (frames int, rest []byte) {
	b := c.backlog
	r := &b.runs[0]
	before := r.off
	frames, r.off, rest = begun(r.buf, r.places, r.off+uint32(n))
	r.places = r.places[frames:]
	b.frames -= frames
	b.bytes -= int(r.off - before)
	if len(r.places) == 0 {
		b.runs = b.runs[1:]
	}
	if len(b.runs) == 0 {
		c.backlog = nil
	}
	return frames, rest
}

// begun says how many of the frames at places have begun before to, where the
// last of them ends, and what of it lies behind to.
func begun(buf []byte, places []place, to uint32) (frames int, end uint32, rest []byte) {
	if last := len(places) - 1; places[last].end == to {
		return len(places), to, nil // all of them, which is the common case
	}
	ended := sort.Search(len(places), func(i int) bool { return places[i].end > to })
	if ended > 0 && places[ended-1].end == to {
		return ended, to, nil
	}
	end = places[ended].end
	return ended + 1, end, buf[to:end]
}

// Fall applies the window to a member whose socket is blocked and returns how
// many frames it will not get. They are named by a later Next, as one gap
// however often the member falls.
func (c *Cursor) Fall(l *Log, w Window) (dropped uint64) {
	if !c.settle(l) {
		return 0
	}
	head := l.Head()
	if !c.past(head, w) {
		return 0
	}
	was := c.seq
	switch w.Policy {
	case Disconnect:
		c.disconnect = true
		return 0
	case Conflate:
		c.skipTo(l, head-1)
	case Drop:
		if w.Messages > 0 && head-c.seq > uint64(w.Messages) {
			c.skipTo(l, head-uint64(w.Messages))
		}
		for c.seq+1 < head && c.past(head, w) {
			c.skipTo(l, c.seq+1)
		}
	}
	if c.seq > was && c.skipped == 0 {
		c.skipped = was + 1
	}
	return c.seq - was
}

// past says whether the member is out of its window.
func (c *Cursor) past(head uint64, w Window) bool {
	return w.Messages > 0 && head-c.seq > uint64(w.Messages) ||
		w.Bytes > 0 && c.behind() > uint64(w.Bytes)
}

// skipTo moves behind seq, which the log has had.
func (c *Cursor) skipTo(l *Log, seq uint64) {
	c.seq = seq
	c.place(c.chunk)
	c.settle(l)
}

// Hopeless says that the member's room wants it disconnected, and that it has
// all of its backlog.
func (c *Cursor) Hopeless() bool { return c.disconnect && c.backlog == nil }

// Sent is the seq of the last frame that was written, or named by a gap that was
// announced: what the member knows of.
func (c *Cursor) Sent() uint64 {
	seq := c.seq
	if c.skipped != 0 {
		seq = c.skipped - 1
	}
	if c.backlog != nil {
		seq -= uint64(c.backlog.frames)
	}
	return seq
}
