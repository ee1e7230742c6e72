//go:build linux && !portable

package poll

import (
	"io"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Read reads what is there. ErrAgain: nothing; io.EOF: the peer has closed its
// writing side. One system call, which cannot block and so does not enter the
// scheduler.
func Read(fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
			uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			if n == 0 && len(b) > 0 {
				return 0, io.EOF
			}
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, ErrAgain
		default:
			return 0, errno
		}
	}
}

// Write writes what the socket takes; fewer bytes than b, without an error, mean
// that it is full. ErrAgain: it took nothing. One system call, as Read.
func Write(fd int, b []byte) (int, error) { return send(fd, b, 0) }

// WriteLast is Write before a Close that comes at once: the end goes out with b, in
// one segment.
func WriteLast(fd int, b []byte) (int, error) { return send(fd, b, unix.MSG_MORE) }

func send(fd int, b []byte, flags uintptr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
			uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL|flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, ErrAgain
		default:
			return 0, errno
		}
	}
}

// Close closes fd, a socket; what was written still goes out. One system call, as
// Read: one that enters the scheduler has the runtime look every 20 µs whether it
// hangs, which was 9 % of a gateway's processor time while clients came and went.
func Close(fd int) error {
	// Whatever it says, the descriptor is free (close(2)).
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0); errno != 0 {
		return errno
	}
	return nil
}
