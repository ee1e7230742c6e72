package gateway

import (
	"strconv"
	"testing"
)

func TestAMapIsMadeAnewOnceItIsMostlyEmpty(t *testing.T) {
	m, peak := map[string]int{}, 0
	for i := range 10_000 {
		m[strconv.Itoa(i)] = i
	}
	made := 0
	for i := range 9_990 {
		delete(m, strconv.Itoa(i))
		if was := peak; was > 0 {
			m, peak = shrunk(m, peak)
			if peak < was {
				made++
			}
			continue
		}
		m, peak = shrunk(m, peak)
	}
	if made < 2 || made > 5 || len(m) != 10 || m["9995"] != 9995 {
		t.Errorf("made anew %d times, %d are left", made, len(m))
	}
}
