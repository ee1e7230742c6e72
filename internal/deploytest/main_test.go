package deploytest

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const (
	root = "../.."
	// patience is how long tests wait for what must come, on a machine that is busy.
	patience = 60 * time.Second
)

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// web keeps no connections: they would be seen among the clients', and as leaks.
var web = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// built is the gateway, built once.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// binary is the path of the program under test.
func binary(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "fanfare-deploy-"); built.err != nil {
			return
		}
		build := exec.Command("go", "build", "-o", built.dir+"/fanfare", "./cmd/fanfare")
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("go build ./cmd/fanfare: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "fanfare")
}

// program is the path of a program that a test needs. Without it the test is skipped,
// and fails in CI.
func program(t *testing.T, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes: not with -short")
	}
	path, err := exec.LookPath(name)
	if err != nil {
		path = "/usr/sbin/" + name // where Debian puts servers, outside a user's PATH
		if _, err = os.Stat(path); err == nil {
			return path
		}
	}
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatalf("%s is not installed, and CI is set", name)
	default:
		t.Skipf("%s is not installed: make deps installs it", name)
	}
	return path
}

// eventually waits until ok says nil, and fails with what it said last.
func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	last := time.After(patience)
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-ticks.C:
		case <-last:
			t.Fatalf("not within %v: %s: %v", patience, what, err)
		}
	}
}
