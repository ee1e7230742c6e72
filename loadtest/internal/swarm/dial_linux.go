package swarm

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fanfare-ws/fanfare/internal/poll"
)

// connect begins a connection from source, where that is valid, with a receive
// buffer of that size; 0 leaves the system's. None of its system calls can block,
// so none enters the scheduler, whose monitor would look every 20 µs whether it
// hangs.
func connect(source netip.Addr, target netip.AddrPort, receive int) (int, error) {
	family := unix.AF_INET
	if target.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	_ = setOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if receive > 0 {
		_ = setOption(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receive)
	}
	if source.IsValid() {
		// The port is chosen at connect, where it must be free only towards this
		// target: 28,000 connections from each source, and not in all.
		if err = setOption(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err == nil {
			err = withAddress(unix.SYS_BIND, fd, netip.AddrPortFrom(source, 0))
		}
	}
	if err == nil {
		err = withAddress(unix.SYS_CONNECT, fd, target)
	}
	if err != nil && err != unix.EINPROGRESS {
		_ = poll.Close(fd)
		return -1, err
	}
	return fd, nil
}

func setOption(fd, level, name, value int) error {
	v := int32(value)
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&v)), unsafe.Sizeof(v), 0)
	return failed(errno)
}

// withAddress is bind or connect.
func withAddress(call uintptr, fd int, a netip.AddrPort) error {
	var port uint16 // in the network's order
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&port))[:], a.Port())
	if a.Addr().Is4() {
		v4 := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port, Addr: a.Addr().As4()}
		_, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&v4)), unsafe.Sizeof(v4))
		return failed(errno)
	}
	v6 := unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Addr: a.Addr().As16()}
	_, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&v6)), unsafe.Sizeof(v6))
	return failed(errno)
}

func failed(errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

// failure is why a connection could not be made; nil: it was.
func failure(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if code != 0 {
		return unix.Errno(code)
	}
	return nil
}

// processorTime is what this process has used so far, in seconds.
func processorTime() (user, system float64) {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0, 0
	}
	return float64(u.Utime.Nano()) / 1e9, float64(u.Stime.Nano()) / 1e9
}

// descriptors is how many the process may have.
func descriptors() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(limit.Cur, 1<<30))
}
