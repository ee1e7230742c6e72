package poll

import (
	"time"

	"golang.org/x/sys/unix"
)

func userTimeout(fd int) (time.Duration, error) {
	v, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	return time.Duration(v) * time.Millisecond, err
}
