package foreigntest

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// scriptTimeout bounds one script of testdata; each wait inside has a shorter one of its own.
const scriptTimeout = 60 * time.Second

// scenarios are what each foreign library is put through, by the same names in testdata/client.py and client.mjs.
var scenarios = []string{"echo", "ping", "chat", "errors", "close"}

func TestPythonWebsockets(t *testing.T) {
	const python = "/usr/bin/python3" // Debian's own: another python3 in PATH does not see Debian's modules
	needProgram(t, python)
	need(t, "python3-websockets", exec.Command(python, "-c", "import websockets").Run() == nil)
	runScenarios(t, python, filepath.Join("testdata", "client.py"))
}

func TestNodeWS(t *testing.T) {
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
	g := start(t)
	for _, compression := range []string{"plain", "deflate"} {
		for _, scenario := range scenarios {
			t.Run(scenario+"/"+compression, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), scriptTimeout)
				defer cancel()
				out, err := exec.CommandContext(ctx, interpreter, script, "ws://"+g.addr, scenario, compression).CombinedOutput()
				if err != nil {
					t.Errorf("%s %s: %v\n%s", script, scenario, err, out)
				}
			})
		}
	}
}

// TestFanfareJSComesBack kills the gateway under fanfare.js, which runs in Node on npm's ws: it comes back by itself,
// says that the room's log began anew (the embedded broker kept nothing), and what was published meanwhile arrives.
func TestFanfareJSComesBack(t *testing.T) {
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
