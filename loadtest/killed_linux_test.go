package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/loadtest/internal/server"
)

// children are the processes that a process has started.
func children(pid int) (pids []int) {
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, thread := range threads {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, thread.Name()))
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// lives reports whether a process does more than wait for its parent to hear of its
// end.
func lives(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}

func TestAGatewayEndsWithAKilledGenerator(t *testing.T) {
	if _, err := os.Stat("/proc/self/task/" + strconv.Itoa(os.Getpid()) + "/children"); err != nil {
		t.Skip("this kernel does not tell whose children are whose: ", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "fanout", "--start", gatewayBinary(t), "--members", "100", "--duration", "10m", "--quiet")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	defer func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}()
	gateway := 0
	// Not before it has told that it is ready: that it could not would end it too.
	eventually(t, "a gateway has the members", func() bool {
		for _, pid := range children(cmd.Process.Pid) {
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			if strings.TrimSpace(string(name)) == "fanfare" {
				gateway = pid
			}
		}
		if gateway == 0 {
			return false
		}
		u, err := server.Process(gateway)
		return err == nil && u.Descriptors >= 100
	})
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	ended = true
	eventually(t, "the gateway is gone", func() bool { return !lives(gateway) })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticks := time.NewTicker(10 * time.Millisecond)
	defer ticks.Stop()
	for end := time.Now().Add(time.Minute); !ok(); <-ticks.C {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
