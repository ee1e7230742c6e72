package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

// machine is where this runs.
func machine() result.Machine {
	m := result.Machine{System: runtime.GOOS + "/" + runtime.GOARCH, Processors: runtime.NumCPU(), Go: runtime.Version()}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.Model = after(string(text), "model name")
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(text))
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && len(s.Value) >= 12:
				m.Revision = s.Value[:12]
			case s.Key == "vcs.modified" && s.Value == "true":
				m.Revision += " and changes" // it comes behind the revision
			}
		}
	}
	return m
}

// after returns the value of the first "name : value" line.
func after(text, name string) string {
	_, rest, ok := strings.Cut(text, name)
	if !ok {
		return ""
	}
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(strings.TrimLeft(line, "\t :"))
}
