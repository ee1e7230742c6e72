package main

import "testing"

func TestMemoryIsTidiedOnceItIsQuietAfterABurst(t *testing.T) {
	const live = 64 << 20
	tidied := func(t *tidier, looks int, allocated uint64) (n int) {
		for range looks {
			if t.look(allocated, live, 0) {
				n++
			}
		}
		return n
	}
	m := new(tidier)
	for burst := range uint64(10) {
		if m.look((burst+1)*live/8, live, live) {
			t.Fatal("tidied in a burst")
		}
	}
	after := uint64(10 * live / 8)
	if n := tidied(m, 60, after); n != 1 {
		t.Errorf("tidied %d times in the minute after the burst", n)
	}
	// What was let go only after that is given back too, once there is enough of it.
	if m.look(after, live, live/32) {
		t.Error("tidied for next to nothing")
	}
	if !m.look(after, live, live/8) || tidied(m, 60, after) != 0 {
		t.Error("what was let go later is not given back, or for ever")
	}
	// Heartbeats, scrapes: now and then it has come to enough.
	n := 0
	for range 600 {
		after += live / 1000
		n += tidied(m, 1, after)
	}
	if n < 5 || n > 10 {
		t.Errorf("tidied %d times while next to nothing was allocated", n)
	}
}
