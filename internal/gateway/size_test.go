package gateway

import (
	"testing"
	"unsafe"
)

// What there are very many of, by the size classes of Go's allocator.
func TestWhatThereAreManyOfIsSmall(t *testing.T) {
	for _, tt := range []struct {
		what      string
		got, most uintptr
	}{
		{"a session", unsafe.Sizeof(session{}), 96},
		{"a membership", unsafe.Sizeof(membership{}), 16},
		{"a member", unsafe.Sizeof(member{}), 48},
		{"a room", unsafe.Sizeof(hubRoom{}), 208},
		{"a loop's mark of a room", unsafe.Sizeof(mark{}), 16},
		{"a loop's part of a room", unsafe.Sizeof(localRoom{}), 80},
	} {
		if tt.got > tt.most {
			t.Errorf("%s has %d bytes, want at most %d", tt.what, tt.got, tt.most)
		}
	}
}
