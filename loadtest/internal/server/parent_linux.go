package server

import "syscall"

// EndWithParent has the kernel kill a process whose parent's thread ends, so that
// nothing outlives a generator that was killed.
func EndWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
