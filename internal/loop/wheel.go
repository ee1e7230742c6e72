package loop

import (
	"math/bits"
	"time"
)

const (
	wheelTick  = int64(25 * time.Millisecond)
	wheelSlots = 4096 // 102 s; what is due later is looked at on the way
)

// wheel is a hashed timing wheel of connections in intrusive lists. Each
// connection stands in it once, at c.due or earlier: traffic only stamps, and
// the visit decides. The loop's goroutine owns it.
type wheel struct {
	heads    [wheelSlots]*Conn
	occupied [wheelSlots / 64]uint64
	at       int64 // the tick visited last, or being visited
}

// add puts c, which must not be in the wheel, into the slot of c.due, which is
// after the tick being visited.
func (w *wheel) add(c *Conn) {
	t := (c.due + wheelTick - 1) / wheelTick
	t = min(max(t, w.at+1), w.at+wheelSlots-1)
	s := uint16(t % wheelSlots)
	c.wheelSlot, c.wheelNext, c.wheelPrev = s, w.heads[s], nil
	if c.wheelNext != nil {
		c.wheelNext.wheelPrev = c
	}
	w.heads[s] = c
	w.occupied[s/64] |= 1 << (s % 64)
	c.flags |= flagTimed
}

// remove takes c out, if it is in.
func (w *wheel) remove(c *Conn) {
	if c.flags&flagTimed == 0 {
		return
	}
	c.flags &^= flagTimed
	if c.wheelNext != nil {
		c.wheelNext.wheelPrev = c.wheelPrev
	}
	if c.wheelPrev != nil {
		c.wheelPrev.wheelNext = c.wheelNext
	} else if s := c.wheelSlot; c.wheelNext == nil {
		w.heads[s] = nil
		w.occupied[s/64] &^= 1 << (s % 64)
	} else {
		w.heads[s] = c.wheelNext
	}
	c.wheelNext, c.wheelPrev = nil, nil
}

// pop takes out a connection whose slot's time has come by now; nil when there
// is none left.
func (w *wheel) pop(now int64) *Conn {
	for end := now / wheelTick; ; {
		if c := w.heads[w.at%wheelSlots]; c != nil {
			w.remove(c)
			return c
		}
		if w.at >= end {
			return nil
		}
		w.at = min(w.next(), end)
	}
}

// next is the first tick after the visited one whose slot is occupied, or one
// round later.
func (w *wheel) next() int64 {
	first := w.at + 1
	s := uint64(first % wheelSlots)
	word := w.occupied[s/64] >> (s % 64)
	if word != 0 {
		return first + int64(bits.TrailingZeros64(word))
	}
	t := first + int64(64-s%64)
	for range wheelSlots / 64 {
		if word := w.occupied[t%wheelSlots/64]; word != 0 {
			return t + int64(bits.TrailingZeros64(word))
		}
		t += 64
	}
	return first + wheelSlots
}
