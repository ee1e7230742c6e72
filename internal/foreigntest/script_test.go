package foreigntest

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// scriptTimeout bounds one script of testdata; each wait inside has a shorter one of its own.
const scriptTimeout = 60 * time.Second

// scenarios are what each foreign library is put through, by the same names in testdata/client.py and client.mjs.
var scenarios = []string{"echo", "ping", "chat", "errors", "close"}

func TestPythonWebsockets(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3" // Debian's own: another python3 in PATH does not see Debian's modules
	needProgram(t, python)
	need(t, "python3-websockets", exec.Command(python, "-c", "import websockets").Run() == nil)
	runScenarios(t, python, filepath.Join("testdata", "client.py"))
}

func TestNodeWS(t *testing.T) {
	t.Parallel()
	runScenarios(t, needNodeWS(t), filepath.Join("testdata", "client.mjs"))
}

func needNodeWS(t *testing.T) string {
	t.Helper()
	node := needProgram(t, "node")
	_, err := os.Stat(filepath.Join("node_modules", "ws", "package.json"))
	need(t, "npm's ws in internal/foreigntest/node_modules", err == nil)
	return node
}

func runScenarios(t *testing.T, interpreter, script string) {
	open, secure := start(t), startSecure(t)
	for _, way := range []struct {
		name, compression string
		gateway           *gateway
	}{{"plain", "plain", open}, {"deflate", "deflate", open}, {"tls", "plain", secure}} {
		for _, scenario := range scenarios {
			t.Run(scenario+"/"+way.name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), scriptTimeout)
				defer cancel()
				cmd := exec.CommandContext(ctx, interpreter, script, way.gateway.url("ws"), scenario, way.compression)
				cmd.Env = way.gateway.environment()
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s %s: %v\n%s", script, scenario, err, out)
				}
			})
		}
	}
}

// TestCurlByTLS fetches the page and reads a room's events with curl, which checks the certificate.
func TestCurlByTLS(t *testing.T) {
	t.Parallel()
	curl := needProgram(t, "curl")
	g := startSecure(t)
	fetch := func(args ...string) (string, error) {
		out, err := exec.Command(curl, append([]string{"--silent", "--show-error", "--max-time", "10", "--http1.1"}, args...)...).CombinedOutput()
		return string(out), err
	}
	if page, err := fetch("--cacert", g.ca, g.url("http")+"/"); err != nil || !strings.Contains(page, "<html") {
		t.Errorf("the page: %v\n%s", err, page)
	}
	if said, err := fetch(g.url("http") + "/"); err == nil || !strings.Contains(said, "certificate") {
		t.Errorf("a certificate that nobody knows: %v\n%s", err, said)
	}
	if said, err := fetch("http://" + g.addr + "/"); err != nil || !strings.Contains(said, "tls_required") {
		t.Errorf("without TLS: %v\n%s", err, said)
	}
	if out, err := exec.Command(binary, "publish", "lobby", `"hello"`, "--url", g.url("http"), "--ca-file", g.ca).CombinedOutput(); err != nil {
		t.Fatalf("publish: %v\n%s", err, out)
	}
	// A stream has no end: curl ends it itself.
	if events, _ := fetch("--cacert", g.ca, "--no-buffer", "--max-time", "2", g.url("http")+"/rooms/lobby/events?last=1"); !strings.Contains(events, `"hello"`) {
		t.Errorf("events: %s", events)
	}
}

// TestFanfareJSRunsUnchanged runs the same script, which imports fanfare.js as it is, in what is here of the runtimes:
// Node on npm's ws, and on its own WebSocket or, where it has none as Node 20, on streams; Deno and Bun on theirs, which
// are no part of CI.
func TestFanfareJSRunsUnchanged(t *testing.T) {
	t.Parallel()
	script := filepath.Join("testdata", "clientjs.mjs")
	node := needNodeWS(t)
	g := start(t)
	run := func(t *testing.T, environment string, args ...string) {
		ctx, cancel := context.WithTimeout(t.Context(), scriptTimeout)
		defer cancel()
		cmd := exec.CommandContext(ctx, args[0], append(args[1:], script)...)
		cmd.Env = append(g.environment(), "FANFARE_URL="+g.url("ws")+"/ws", environment)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", args[0], err, out)
		}
	}
	t.Run("node", func(t *testing.T) { run(t, "", node, "--test") })
	t.Run("node with ws", func(t *testing.T) { run(t, "FANFARE_WS=1", node, "--test") })
	for _, other := range [][]string{{"deno", "run", "--no-config", "--allow-env", "--allow-net"}, {"bun", "run"}} {
		t.Run(other[0], func(t *testing.T) {
			path, err := exec.LookPath(other[0])
			if err != nil {
				t.Skipf("%s is not installed", other[0])
			}
			run(t, "", append([]string{path}, other[1:]...)...)
		})
	}
}

// TestFanfareJSComesBack kills the gateway under fanfare.js, which runs in Node on npm's ws: it comes back by itself,
// says that the room's log began anew (the embedded broker kept nothing), and what was published meanwhile arrives.
func TestFanfareJSComesBack(t *testing.T) {
	t.Parallel()
	node := needNodeWS(t)
	g := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), scriptTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, filepath.Join("testdata", "comeback.mjs"), "ws://"+g.addr+"/ws")
	var stderr lockedBuffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	expect := func(want string) {
		t.Helper()
		if lines.Scan(); lines.Text() != want {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Fatalf("the client said %q, want %q\n%s", lines.Text(), want, stderr.String())
		}
	}
	expect("message first")
	g.kill()
	expect("waiting")
	if _, err := io.WriteString(stdin, "publish second\n"); err != nil {
		t.Fatal(err)
	}
	g.restart(t)
	expect("reset")
	expect("message second")
	stdin.Close()
	expect("closed")
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, stderr.String())
	}
}
