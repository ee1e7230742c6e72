//go:build !linux

package server

import "syscall"

// EndWithParent is not to be had here: what a killed generator started goes on.
func EndWithParent() *syscall.SysProcAttr { return nil }
