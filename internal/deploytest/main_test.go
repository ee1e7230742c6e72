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

// built are the programs of this repository that tests start, each built once.
var built = struct {
	mu       sync.Mutex
	dir      string            // guarded by mu
	programs map[string]string // guarded by mu
}{programs: make(map[string]string)}

// binary is the path of the gateway.
func binary(t *testing.T) string {
	t.Helper()
	return build(t, "./cmd/fanfare")
}

// build is the path of a program of the repository, by its package.
func build(t *testing.T, pkg string) string {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	if path := built.programs[pkg]; path != "" {
		return path
	}
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "fanfare-deploy-")
		if err != nil {
			t.Fatal(err)
		}
		built.dir = dir
	}
	path := filepath.Join(built.dir, filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-o", path, pkg)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	built.programs[pkg] = path
	return path
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
