//go:build unix && (!linux || portable)

package poll

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// Read reads what is there. ErrAgain: nothing; io.EOF: the peer has closed its
// writing side.
func Read(fd int, b []byte) (int, error) {
	n, err := retry(func() (int, error) { return unix.Read(fd, b) })
	if err == nil && n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, err
}

// Write writes what the socket takes; fewer bytes than b, without an error, mean
// that it is full. ErrAgain: it took nothing.
func Write(fd int, b []byte) (int, error) {
	return retry(func() (int, error) { return unix.Write(fd, b) })
}

// WriteLast is Write before a Close that comes at once.
func WriteLast(fd int, b []byte) (int, error) { return Write(fd, b) }

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return 0, ErrAgain
		default:
			return 0, err
		}
	}
}

// Close closes fd; what was written still goes out.
func Close(fd int) error { return unix.Close(fd) }
