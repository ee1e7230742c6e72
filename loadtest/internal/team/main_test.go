package team

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/fanfare-ws/fanfare/internal/poll"
)

// TestMain fails where the tests leave a goroutine or a descriptor behind.
func TestMain(m *testing.M) {
	// The runtime's own poller and its descriptors stay for good.
	if p, err := poll.New(); err == nil {
		p.Close()
	}
	before := openDescriptors()
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Println(err)
		code = 1
	}
	if after := openDescriptors(); before != after && code == 0 {
		fmt.Printf("descriptors open: %d before the tests, %d after\n", before, after)
		code = 1
	}
	os.Exit(code)
}

func openDescriptors() int {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		panic(err)
	}
	return len(entries)
}
