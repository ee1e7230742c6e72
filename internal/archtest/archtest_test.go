// Package archtest holds the tests of the architecture: which package may
// import which, and who may read the environment. It has no code of its own.
package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/fanfare-ws/fanfare/"

// edges are the imports that are allowed between our packages, those of section
// 2 of the design. A package that is not here fails the test, so that its place
// is decided when it is made.
var edges = map[string][]string{
	// The one binary: besides what it runs, it makes the broker, the metrics and the
	// room classes from the configuration, which no other package may read.
	"cmd/fanfare": {
		"internal/api", "internal/gateway", "internal/client", "internal/config",
		"internal/auth", "internal/broker", "internal/broker/memory", "internal/broker/redis", "internal/metrics", "internal/room",
		"internal/tracing",
	},
	"internal/api": {
		"internal/gateway", "internal/auth", "internal/protocol", "internal/webclient", "internal/metrics",
		"internal/protocol/schema", // which it serves
		"internal/broker",          // what it asks of the gateway has the broker's values
		"internal/tracing",         // what a request says of the trace that it is of
		"internal/frame",           // as who serves events it is a client of its own gateway
	},
	// A token's subject is a user's name by the protocol's rule.
	"internal/auth":              {"internal/metrics", "internal/pattern", "internal/protocol"},
	"internal/broker":            {},
	"internal/broker/brokertest": {"internal/broker"},
	"internal/broker/memory":     {"internal/broker", "internal/metrics"},
	"internal/broker/redis":      {"internal/broker", "internal/metrics"},
	"internal/client":            {"internal/protocol", "internal/frame"},
	"internal/config":            {},
	"internal/frame":             {},
	"internal/gateway": {
		"internal/loop", "internal/room", "internal/broker", "internal/protocol", "internal/frame", "internal/auth",
		"internal/metrics", "internal/pattern",
		"internal/tracing", // who has a message knows when its part of the way begins and ends
	},
	"internal/loop":     {"internal/poll", "internal/frame", "internal/metrics"},
	"internal/metrics":  {},
	"internal/pattern":  {},
	"internal/poll":     {},
	"internal/protocol": {},
	// Files alone; its tests hold them to the protocol.
	"internal/protocol/schema": {},
	// A room counts what it drops where it drops it.
	"internal/room": {"internal/metrics"},
	// Spans that are lost are counted.
	"internal/tracing":   {"internal/metrics"},
	"internal/webclient": {},

	// The load generator speaks the protocol with clients of its own, on an epoll
	// loop: internal/client has a goroutine for each connection, which is what a
	// generator of very many must not have. Nothing of a gateway's own is used, so
	// that the two cannot be wrong in the same way.
	"loadtest": {
		"loadtest/internal/bar", "loadtest/internal/floor", "loadtest/internal/plan", "loadtest/internal/report", "loadtest/internal/result",
		"loadtest/internal/server", "loadtest/internal/swarm", "loadtest/internal/team",
	},
	"loadtest/internal/account": {"internal/protocol"},
	"loadtest/internal/bar":     {"loadtest/internal/floor", "loadtest/internal/result"},
	// The floor is served through the same system calls as a gateway's loops.
	"loadtest/internal/floor":   {"internal/poll", "loadtest/internal/plan", "loadtest/internal/result", "loadtest/internal/server", "loadtest/internal/swarm"},
	"loadtest/internal/latency": {},
	"loadtest/internal/plan":    {},
	"loadtest/internal/result":  {"loadtest/internal/account", "loadtest/internal/latency", "loadtest/internal/plan"},
	"loadtest/internal/report":  {"internal/chromiumtest", "loadtest/internal/latency", "loadtest/internal/result"},
	"loadtest/internal/server":  {"loadtest/internal/result"},
	"loadtest/internal/swarm": {
		"internal/frame", "internal/poll", "internal/protocol",
		"loadtest/internal/account", "loadtest/internal/latency", "loadtest/internal/plan", "loadtest/internal/result",
	},
	"loadtest/internal/team": {
		"loadtest/internal/account", "loadtest/internal/plan", "loadtest/internal/result", "loadtest/internal/swarm",
	},
	// Tests alone: a gateway that breaks promises.
	"loadtest/internal/faulty": {"internal/protocol"},

	"internal/archtest":     {},
	"internal/certtest":     {},
	"internal/chromiumtest": {},
	// A command that writes files; nothing that is built into the gateway imports it.
	"internal/dashboards":  {},
	"internal/deploytest":  {},
	"internal/foreigntest": {},
	// Tests alone: clients that speak the protocol, and what they are held to.
	"internal/faulttest":    {"internal/frame", "internal/protocol"},
	"internal/gatewaybench": {},
	"internal/tracetest":    {},
}

// testEdges are what tests may import besides. Nothing that is built depends on
// them, so a test may stand above its package: it puts the real parts together
// instead of fakes of them.
var testEdges = map[string][]string{
	// The whole service, as clients and operators meet it.
	"cmd/fanfare":              {"internal/certtest", "internal/chromiumtest", "internal/foreigntest", "internal/protocol", "internal/frame", "internal/tracetest"},
	"internal/foreigntest":     {"internal/certtest", "internal/chromiumtest", "internal/gateway", "internal/broker/memory", "internal/client", "internal/webclient", "internal/metrics", "internal/room"},
	"internal/protocol/schema": {"internal/protocol"},
	// A broker passes the contract of all brokers.
	"internal/broker/memory":    {"internal/broker/brokertest"},
	"internal/broker/redis":     {"internal/broker/brokertest"},
	"loadtest":                  {"internal/certtest"}, // it speaks TLS to what stands before a fleet
	"loadtest/internal/account": {"internal/frame"},
	"loadtest/internal/report":  {"loadtest/internal/account", "loadtest/internal/plan"},
	"loadtest/internal/team":    {"internal/poll", "loadtest/internal/faulty"},
	// Clients through the balancers; what the operator's book says of metrics; pictures
	// of the dashboards.
	"internal/deploytest":   {"internal/client", "internal/metrics", "internal/chromiumtest"},
	"internal/gatewaybench": {"internal/certtest", "internal/frame", "internal/poll", "internal/protocol"},
	// The calls, before a whole gateway.
	"internal/api":     {"internal/chromiumtest", "internal/broker/memory", "internal/room", "internal/tracetest"},
	"internal/loop":    {"internal/certtest"},
	"internal/tracing": {"internal/tracetest"},
	// A gateway needs a broker and a client to be a gateway.
	"internal/gateway": {"internal/certtest", "internal/broker/memory", "internal/client", "internal/foreigntest", "internal/tracetest"},
	"internal/client":  {"internal/gateway", "internal/broker/memory", "internal/metrics", "internal/room", "internal/broker"},
	// The demo page runs in a browser, against a gateway.
	"internal/webclient": {"internal/gateway", "internal/broker/memory", "internal/foreigntest", "internal/metrics"},
}

// pkg is what go list says of a package.
type pkg struct {
	Dir          string
	ImportPath   string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func (p pkg) name() string { return strings.TrimPrefix(p.ImportPath, module) }

// builds are the sets of files that are ever built.
var builds = []struct {
	name string
	args []string
	env  []string
}{
	{name: "linux", env: []string{"GOOS=linux"}},
	{name: "portable", args: []string{"-tags", "portable"}, env: []string{"GOOS=linux"}},
	{name: "darwin", env: []string{"GOOS=darwin"}},
}

func list(t *testing.T, args, env []string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append(append([]string{"list", "-json=Dir,ImportPath,GoFiles,Imports,TestImports,XTestImports"}, args...), "./...")...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, stderr.Bytes())
	}
	var pkgs []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// violations returns a line for each import that is not allowed.
func violations(pkgs []pkg) []string {
	var found []string
	for _, p := range pkgs {
		name := p.name()
		allowed, ok := edges[name]
		if !ok {
			found = append(found, name+" is not in the table of packages")
			continue
		}
		for _, to := range ours(p.Imports) {
			if !slices.Contains(allowed, to) {
				found = append(found, fmt.Sprintf("%s imports %s", name, to))
			}
		}
		// Tests of another package than the one they test also import that one.
		allowed = append(append([]string{name}, allowed...), testEdges[name]...)
		for _, to := range ours(append(p.TestImports, p.XTestImports...)) {
			if !slices.Contains(allowed, to) {
				found = append(found, fmt.Sprintf("a test of %s imports %s", name, to))
			}
		}
	}
	return found
}

// ours returns our own packages among the imports.
func ours(imports []string) []string {
	var names []string
	for _, path := range imports {
		if name, ok := strings.CutPrefix(path, module); ok {
			names = append(names, name)
		}
	}
	return names
}

func TestImportsRunOneWay(t *testing.T) {
	for _, b := range builds {
		pkgs := list(t, b.args, b.env)
		if !slices.ContainsFunc(pkgs, func(p pkg) bool { return p.name() == "internal/config" }) {
			t.Fatalf("%s: go list found %d packages, and internal/config is not among them", b.name, len(pkgs))
		}
		for _, v := range violations(pkgs) {
			t.Errorf("%s: %s", b.name, v)
		}
	}
}

func TestWrongImportsAreFound(t *testing.T) {
	got := violations([]pkg{
		{ImportPath: module + "internal/room", Imports: []string{"fmt", module + "internal/loop"}},
		{ImportPath: module + "internal/gateway", Imports: []string{module + "internal/room", module + "internal/config"},
			TestImports: []string{module + "internal/broker/memory"}, XTestImports: []string{module + "internal/gateway", module + "internal/config"}},
		{ImportPath: module + "internal/gateway/util"},
		{ImportPath: module + "cmd/fanfare", Imports: []string{module + "internal/config", module + "internal/foreigntest"}},
	})
	want := []string{
		"internal/room imports internal/loop",
		"internal/gateway imports internal/config",
		"a test of internal/gateway imports internal/config",
		"internal/gateway/util is not in the table of packages",
		"cmd/fanfare imports internal/foreigntest",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Only the command reads the environment, and hands it to config.
func TestOnlyTheCommandReadsTheEnvironment(t *testing.T) {
	readers := 0
	for _, p := range list(t, nil, nil) {
		for _, file := range p.GoFiles {
			for _, call := range environmentCalls(t, filepath.Join(p.Dir, file), nil) {
				readers++
				// What only tests use may ask whether it runs in CI, and start processes.
				if name := p.name(); name != "cmd/fanfare" && name != "internal/foreigntest" && name != "internal/faulttest" && name != "internal/chromiumtest" {
					t.Errorf("%s: %s", name, call)
				}
			}
		}
	}
	if readers == 0 {
		t.Error("nobody reads the environment, not even the command: the test is blind")
	}
}

func TestReadingTheEnvironmentIsFound(t *testing.T) {
	const source = "package p\nimport \"os\"\nvar a, b = os.Getenv(\"A\"), os.Getpid()\n"
	if got := environmentCalls(t, "p.go", source); len(got) != 1 || got[0] != "p.go:3:12: os.Getenv" {
		t.Errorf("got %q", got)
	}
}

// environmentCalls returns the places where a file uses the environment.
func environmentCalls(t *testing.T, name string, source any) []string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		from, ok := sel.X.(*ast.Ident)
		if ok && from.Name == "os" && slices.Contains([]string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, sel.Sel.Name) {
			found = append(found, fmt.Sprintf("%s: os.%s", files.Position(sel.Pos()), sel.Sel.Name))
		}
		return true
	})
	return found
}
