//go:build unix && !linux

package poll

import (
	"time"

	"golang.org/x/sys/unix"
)

// inherits: what a listener accepts has its socket options.
const inherits = false

func accept(fd int) (int, unix.Sockaddr, error) {
	s, from, err := unix.Accept(fd)
	if err != nil {
		return -1, nil, err
	}
	unix.CloseOnExec(s)
	if err := unix.SetNonblock(s, true); err != nil {
		unix.Close(s)
		return -1, nil, err
	}
	return s, from, nil
}

// setUserTimeout has no equal here; the heartbeat ends what is half-open.
func setUserTimeout(int, time.Duration) error { return nil }
