package faulttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

var binary string // the gateway, built once

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "fanfare-faults-binary-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "fanfare")
	code := m.Run()
	_ = os.RemoveAll(dir)
	// The one that starts processes lasts as long as they may.
	if err := goleak.Find(goleak.IgnoreAnyFunction("github.com/fanfare-ws/fanfare/internal/faulttest.startAll")); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func build(t *testing.T) {
	t.Helper()
	if b := os.Getenv("FAULTS_BINARY"); b != "" {
		binary = b
		return
	}
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/fanfare-ws/fanfare/cmd/fanfare").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
}

// need skips where a program is missing; in CI that is a failure.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if _, err := os.Stat("/usr/sbin/" + name); err == nil {
			continue // where Debian puts it, outside a user's PATH
		}
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed, and CI is set", name)
		}
		t.Skipf("%s is not installed: make deps installs it", name)
	}
}

// TestFaults breaks things. FAULTS_SEEDS is how many seeds each fault gets; without
// it, the short set gets one. FAULTS_ONLY is a part of the names to run, FAULTS_SEED
// the first seed, FAULTS_KEEP keeps the processes' logs, FAULTS_TABLE is a file for
// the table, FAULTS_BINARY a gateway that was built already.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("the fault suite takes minutes")
	}
	need(t, "redis-server", "redis-cli", "haproxy")
	if path, err := exec.LookPath(haproxyBinary); err != nil {
		haproxyBinary = "/usr/sbin/haproxy"
	} else {
		haproxyBinary = path
	}
	build(t)
	seeds := number(t, "FAULTS_SEEDS", 0)
	first := number(t, "FAULTS_SEED", 1)
	only := os.Getenv("FAULTS_ONLY")
	var sum report
	for i := range faults {
		f := &faults[i]
		if only != "" && !strings.Contains(f.name, only) || only == "" && seeds == 0 && !f.short {
			continue
		}
		for seed := first; seed < first+max(seeds, 1); seed++ {
			t.Run(fmt.Sprintf("%s/seed=%d", f.name, seed), func(t *testing.T) { runFault(t, f, uint64(seed), &sum) })
		}
	}
	table := sum.table(faults)
	t.Logf("\n%s", table)
	if file := os.Getenv("FAULTS_TABLE"); file != "" {
		if err := os.WriteFile(file, []byte(table), 0o644); err != nil {
			t.Error(err)
		}
	}
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q: a number of at least 1", name, v)
	}
	return n
}

// shown bounds the lines for each invariant that was violated.
const shown = 5

func runFault(t *testing.T, f *fault, seed uint64, sum *report) {
	w, err := newWorld(f, seed, binary, t.Logf)
	if w == nil {
		t.Fatal(err)
	}
	defer func() {
		keep := t.Failed() || os.Getenv("FAULTS_KEEP") != ""
		w.close(keep)
		if keep {
			t.Logf("logs are in %s", w.dir)
		}
	}()
	var r result
	if err == nil {
		r, err = w.run()
	}
	if err != nil {
		for _, g := range w.gateways {
			t.Logf("%s: %s\n%s", g.name, g.why(), g.tail(2000))
		}
		t.Fatal(err)
	}
	counts := make(map[string]int)
	for _, v := range r.violations {
		if counts[v.invariant]++; counts[v.invariant] <= shown {
			t.Errorf("%s: %s", v.invariant, v.detail)
		}
	}
	for name, n := range counts {
		if n > shown {
			t.Errorf("%s: %d in all", name, n)
		}
	}
	t.Logf("%d acknowledged, %d deliveries, %d checked, %d lost, %d gaps over %d, %d resets over %d, %d refused, %d reconnects, caught up in %.1fs, slowest answer %.1fs, names taken %d times, lists true in %.1fs, %d MiB, %.0fs",
		r.acked, r.deliveries, r.owed, r.losses, r.gaps, r.gapped, r.resets, r.behind, r.refused, r.reconnects, r.catchUp.Seconds(), r.slowest.Seconds(), r.tenures, r.agreed.Seconds(), r.memory>>20, r.took.Seconds())
	if t.Failed() || testing.Verbose() {
		t.Logf("why connections ended: %v", w.fleet.reasons)
	}
	sum.add(f.name, r, t.Failed())
}
