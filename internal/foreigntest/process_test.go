package foreigntest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/certtest"
)

// startTimeout bounds how long a process may take until it is ready, on a machine that is busy.
const startTimeout = 30 * time.Second

// gateway is one fanfare process. It is started by start, and ended by kill or at the end of the test.
type gateway struct {
	addr  string // host:port of the public listener
	admin string
	flags []string
	ca    string // file of who signed its certificate; empty: it speaks no TLS
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process is gone
}

// start runs a gateway on free ports and waits until it is ready.
func start(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{addr: freeAddr(t), admin: freeAddr(t)}
	g.run(t)
	return g
}

// startSecure is start of a gateway by TLS.
func startSecure(t *testing.T) *gateway {
	t.Helper()
	dir, authority := t.TempDir(), certtest.NewAuthority()
	ca, err := authority.WriteCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := certtest.WritePair(dir, authority.Sign(1, time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{addr: freeAddr(t), admin: freeAddr(t), ca: ca, flags: []string{"--tls-cert", cert, "--tls-key", key}}
	g.run(t)
	return g
}

// environment is that of a client of the gateway, which trusts who signed its
// certificate: OpenSSL and Node each by a variable of its own.
func (g *gateway) environment() []string {
	if g.ca == "" {
		return os.Environ()
	}
	return append(os.Environ(), "SSL_CERT_FILE="+g.ca, "NODE_EXTRA_CA_CERTS="+g.ca)
}

// url is where the gateway is, for a scheme of http or ws.
func (g *gateway) url(scheme string) string {
	if g.ca != "" {
		scheme += "s"
	}
	return scheme + "://" + g.addr
}

// restart runs a new process at the place of one that was killed.
func (g *gateway) restart(t *testing.T) *gateway {
	t.Helper()
	next := &gateway{addr: g.addr, admin: g.admin, flags: g.flags, ca: g.ca}
	next.run(t)
	return next
}

func (g *gateway) run(t *testing.T) {
	t.Helper()
	var output lockedBuffer
	g.cmd = exec.Command(binary, append([]string{"--listen", g.addr, "--admin-listen", g.admin, "--echo"}, g.flags...)...)
	// What a developer has set for a gateway of their own is not for this one.
	g.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "FANFARE_") })
	g.cmd.Stdout, g.cmd.Stderr = &output, &output
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g.ended = make(chan struct{})
	go func() {
		_ = g.cmd.Wait() // killed, as a rule; one that ends by itself shows in waitReady or in the clients
		close(g.ended)
	}()
	t.Cleanup(func() {
		g.kill()
		if t.Failed() {
			t.Logf("output of fanfare on %s:\n%s", g.addr, output.String())
		}
	})
	g.waitReady(t)
}

// kill ends the process at once and waits until it is gone, so that its ports are free again.
func (g *gateway) kill() {
	_ = g.cmd.Process.Kill()
	<-g.ended
}

func (g *gateway) waitReady(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.admin+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		if response, err := http.DefaultClient.Do(r); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-g.ended:
			t.Fatalf("fanfare ended before it was ready: %v", g.cmd.ProcessState)
		case <-ctx.Done():
			t.Fatalf("fanfare was not ready within %v", startTimeout)
		case <-tick.C:
		}
	}
}

// freeAddr finds a loopback port that nothing listens on, below the range of which outgoing connections take theirs:
// a gateway that is restarted finds its port free.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(12000)))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port found")
	return ""
}

// lockedBuffer takes what a process writes while the test may read it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
