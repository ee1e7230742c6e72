package faulttest

import "syscall"

// endWithParent has the kernel kill a process whose parent's thread ends.
func endWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
