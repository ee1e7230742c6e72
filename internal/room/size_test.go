package room

import (
	"testing"
	"unsafe"
)

// What there is of each room, or each member, by the size classes of Go's allocator.
func TestWhatThereAreManyOfIsSmall(t *testing.T) {
	for _, tt := range []struct {
		what      string
		got, most uintptr
	}{
		{"a log", unsafe.Sizeof(Log{}), 96},
		{"a chunk without room", unsafe.Sizeof(chunk{}), 48},
		{"a cursor", unsafe.Sizeof(Cursor{}), 40},
	} {
		if tt.got > tt.most {
			t.Errorf("%s has %d bytes, want at most %d", tt.what, tt.got, tt.most)
		}
	}
}
