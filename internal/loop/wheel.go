package loop

import (
	"math/bits"
	"time"
)

const (
	wheelTick  = int64(25 * time.Millisecond)
	wheelSlots = 4096 // 102 s; what is due later is looked at on the way
)

// wheel is a hashed timing wheel of connections in lists by their slots. Each
// connection stands in it once, at c.due or earlier: traffic only stamps, and
// the visit decides. The loop's goroutine owns it.
type wheel struct {
	conns    *[]*Conn           // by slot
	heads    [wheelSlots]uint32 // links: one more than a slot; 0: nobody
	occupied [wheelSlots / 64]uint64
	at       int64 // the tick visited last, or being visited
}

// to is who a link leads to.
func (w *wheel) to(link uint32) *Conn { return (*w.conns)[link-1] }

// add puts c, which must not be in the wheel, into the slot of c.due, which is
// after the tick being visited.
func (w *wheel) add(c *Conn) {
	t := (c.due + wheelTick - 1) / wheelTick
	t = min(max(t, w.at+1), w.at+wheelSlots-1)
	s := uint16(t % wheelSlots)
	c.wheelSlot, c.wheelNext, c.wheelPrev = s, w.heads[s], 0
	if c.wheelNext != 0 {
		w.to(c.wheelNext).wheelPrev = c.slot + 1
	}
	w.heads[s] = c.slot + 1
	w.occupied[s/64] |= 1 << (s % 64)
	c.flags |= flagTimed
}

// remove takes c out, if it is in.
func (w *wheel) remove(c *Conn) {
	if c.flags&flagTimed == 0 {
		return
	}
	c.flags &^= flagTimed
	if c.wheelNext != 0 {
		w.to(c.wheelNext).wheelPrev = c.wheelPrev
	}
	if c.wheelPrev != 0 {
		w.to(c.wheelPrev).wheelNext = c.wheelNext
	} else if s := c.wheelSlot; c.wheelNext == 0 {
		w.heads[s] = 0
		w.occupied[s/64] &^= 1 << (s % 64)
	} else {
		w.heads[s] = c.wheelNext
	}
	c.wheelNext, c.wheelPrev = 0, 0
}

// pop takes out a connection whose slot's time has come by now; nil when there
// is none left.
func (w *wheel) pop(now int64) *Conn {
	for end := now / wheelTick; ; {
		if head := w.heads[w.at%wheelSlots]; head != 0 {
			c := w.to(head)
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
