//go:build !linux

package faulttest

import "syscall"

// endWithParent is not to be had here: a run that is cut off leaves processes.
func endWithParent() *syscall.SysProcAttr { return nil }
