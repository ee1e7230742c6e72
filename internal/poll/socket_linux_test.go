//go:build linux && !portable

package poll

import (
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

// segments is how many TCP segments have come in.
func segments(t *testing.T, fd int) uint32 {
	t.Helper()
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		t.Fatal(err)
	}
	return info.Segs_in
}

func TestTheLastBytesBringTheEndWithThem(t *testing.T) {
	client, fd, _ := pair(t, SocketOptions{NoDelay: true})
	file, err := client.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	before := segments(t, int(file.Fd()))
	if n, err := WriteLast(fd, []byte("bye")); n != 3 || err != nil {
		t.Fatalf("wrote %d: %v", n, err)
	}
	if err := CloseWrite(fd); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(client); err != nil || string(got) != "bye" {
		t.Fatalf("got %q, %v", got, err)
	}
	if n := segments(t, int(file.Fd())) - before; n != 1 {
		t.Errorf("%d segments", n)
	}
}
