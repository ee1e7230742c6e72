package memory

import (
	"testing"
	"unsafe"
)

// What there is of each room, by the size classes of Go's allocator.
func TestARoomIsSmall(t *testing.T) {
	if got := unsafe.Sizeof(users{}); got > 32 {
		t.Errorf("who is in a room has %d bytes, want at most 32", got)
	}
	if got := unsafe.Sizeof(room{}); got > 80 {
		t.Errorf("a room has %d bytes, want at most 80", got)
	}
	if got := unsafe.Sizeof(stock{}); got > 96 {
		t.Errorf("a room's stock has %d bytes, want at most 96", got)
	}
}
