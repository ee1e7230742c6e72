package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"fanfare": main})
}

// TestScripts runs the commands as a shell would. A script finds $READY, a
// gateway's admin address that is ready, $DRAINING, one that is not, $HANGING,
// which never answers, $EVIL, which refuses with controls of a terminal, and $NOBODY, where nobody listens.
func TestScripts(t *testing.T) {
	ready := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(ready.Close)
	draining := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, "{\n  \"ready\": false\n}\n")
	}))
	t.Cleanup(draining.Close)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"error":{"code":"forbidden","message":"\u001b[31mred\u009b2J"}}`)
	}))
	t.Cleanup(evil.Close)
	hanging := listen(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                scriptCommands(),
		Condition:           condition,
		Setup: func(env *testscript.Env) error {
			env.Values[gatewayKey{}] = new(running)
			env.Values[redisKey{}] = new(exec.Cmd)
			env.Setenv("READY", strings.TrimPrefix(ready.URL, "http://"))
			env.Setenv("DRAINING", strings.TrimPrefix(draining.URL, "http://"))
			env.Setenv("EVIL", strings.TrimPrefix(evil.URL, "http://"))
			env.Setenv("HANGING", hanging.Addr().String())
			env.Setenv("NOBODY", "127.0.0.1:1") // no test beside is ever given this port
			return nil
		},
	})
}

// listen returns a listener that nobody accepts from.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestHealthcheckAsksTheAdminAddressOnThisMachine(t *testing.T) {
	for address, want := range map[string]string{
		":9090": "http://127.0.0.1:9090/readyz", "0.0.0.0:1": "http://127.0.0.1:1/readyz", "[::]:1": "http://[::1]:1/readyz",
		"10.0.0.1:1": "http://10.0.0.1:1/readyz", "[fe80::1]:1": "http://[fe80::1]:1/readyz", "localhost:1": "http://localhost:1/readyz",
	} {
		if got, err := readyURL(address); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", address, got, err, want)
		}
	}
}
