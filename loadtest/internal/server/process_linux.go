package server

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

// ticksPerSecond is the unit of times in /proc: USER_HZ, which is 100 on every
// architecture that Go runs on.
const ticksPerSecond = 100

// Process reads what a process has used so far (proc(5)).
func Process(pid int) (result.Usage, error) {
	var u result.Usage
	folder := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(folder + "/stat")
	if err != nil {
		return u, fmt.Errorf("process %d: %w", pid, err)
	}
	// The name, in parentheses, may contain anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 22 {
		return u, fmt.Errorf("process %d: %d fields in its stat", pid, len(fields))
	}
	number := func(i int) int64 {
		n, _ := strconv.ParseInt(string(fields[i]), 10, 64)
		return n
	}
	u.User = float64(number(11)) / ticksPerSecond
	u.System = float64(number(12)) / ticksPerSecond
	u.Memory = number(21) * int64(os.Getpagesize())
	u.Descriptors = descriptorsOf(folder + "/fd")
	return u, nil
}

// descriptorsOf counts the descriptors in a folder of proc(5): 0 where they cannot
// be seen, for they are another user's. Linux tells it as the folder's size since
// 6.2. Listing 5,000 four times a second took a tenth of what the generator has.
func descriptorsOf(folder string) int {
	if info, err := os.Stat(folder); err == nil && info.Size() > 0 {
		return int(info.Size())
	}
	open, _ := os.ReadDir(folder)
	return len(open)
}

// KeepOff keeps this process, with all its threads, off the first processors.
func KeepOff(processors int) error {
	var set unix.CPUSet
	for i := processors; i < runtime.NumCPU(); i++ {
		set.Set(i)
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("threads: %w", err)
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		// Threads to come inherit it from the one that makes them.
		if err := unix.SchedSetaffinity(id, &set); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("keep off the first %d processors: %w", processors, err)
		}
	}
	return nil
}
