//go:build !linux

package swarm

import (
	"errors"
	"net/netip"
)

// errLinux is what every run ends with elsewhere: the clients stand on epoll and
// on choosing a source address without a port, and the figures on /proc.
var errLinux = errors.New("load is generated on Linux only: run it in a container, or on a machine with Linux; compare and report work here too")

func connect(netip.Addr, netip.AddrPort, int) (int, error) { return -1, errLinux }
func failure(int) error                                    { return errLinux }
func processorTime() (user, system float64)                { return 0, 0 }
func descriptors() int                                     { return 0 }
