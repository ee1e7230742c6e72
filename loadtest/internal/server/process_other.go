//go:build !linux

package server

import (
	"errors"

	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

var errLinux = errors.New("processes are watched and pinned on Linux only; --metrics works everywhere")

// Process reads what a process has used so far; on Linux only.
func Process(int) (result.Usage, error) { return result.Usage{}, errLinux }

// KeepOff keeps this process off the first processors; on Linux only.
func KeepOff(int) error { return errLinux }
