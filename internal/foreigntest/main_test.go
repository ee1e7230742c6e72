package foreigntest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binary is the program under test.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if binary = os.Getenv("FOREIGNTEST_BINARY"); binary != "" || testing.Short() {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "fanfare-foreign-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "fanfare")
	build := exec.Command("go", "build", "-o", binary, "./cmd/fanfare")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build ./cmd/fanfare: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// need skips the test where a foreign program is missing, or fails it in CI, where it has to be there.
func need(t *testing.T, what string, present bool) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes: not with -short")
	}
	switch {
	case present:
	case os.Getenv("CI") != "":
		t.Fatalf("%s is needed in CI and is missing", what)
	default:
		t.Skipf("%s is missing", what)
	}
}

// needProgram is need for a program in PATH, or at a path; it returns where it is.
func needProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	need(t, name, err == nil)
	return path
}
