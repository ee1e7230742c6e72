package redis

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

// patience is how long tests wait for what must come.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	// The client's look at a server that refused it sleeps for a second before it sees
	// that its pool is closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// ports are those that were given to servers of this process.
var ports sync.Map

// server is a redis-server of a test's own.
type server struct {
	t    testing.TB
	dir  string
	port int
	args []string
	cmd  *exec.Cmd
	// conn talks to it beside the broker.
	conn *goredis.Client
}

// require skips where a program of Redis is not there; in CI that is a failure.
func require(t testing.TB, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal(program + " is missing")
	}
	t.Skip(program + " is missing: apt-get install redis-server")
}

// freePort is one that was free a moment ago, below the ports of outgoing
// connections so that none takes it.
func freePort(t testing.TB) int {
	t.Helper()
	for port := 21000 + os.Getpid()*37%9000; port < 32000; port++ {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		l.Close()
		if _, taken := ports.LoadOrStore(port, true); !taken {
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// startServer runs a redis-server that keeps nothing, unless args say otherwise.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	require(t, "redis-server")
	s := &server{t: t, dir: t.TempDir(), port: freePort(t), args: args}
	s.conn = goredis.NewClient(&goredis.Options{
		Addr: s.addr(), Protocol: 2, MaxRetries: -1, DisableIdentity: true, ReadTimeout: 10 * time.Second,
	})
	t.Cleanup(func() {
		s.conn.Close()
		s.kill()
	})
	s.start()
	return s
}

func (s *server) addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }
func (s *server) url() string  { return "redis://" + s.addr() }

func (s *server) start() {
	s.t.Helper()
	args := append([]string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "no",
		"--logfile", filepath.Join(s.dir, "log"), "--daemonize", "no", "--enable-debug-command", "yes",
	}, s.args...)
	s.cmd = exec.Command("redis-server", args...)
	s.cmd.Stdout, s.cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "redis-server answers", func() bool { return s.conn.Ping(context.Background()).Err() == nil })
}

// kill ends the server at once.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	s.signal(syscall.SIGKILL)
	s.cmd.Wait()
	s.cmd = nil
}

func (s *server) signal(sig syscall.Signal) { _ = s.cmd.Process.Signal(sig) }

// do runs a command that must succeed.
func (s *server) do(args ...any) any {
	s.t.Helper()
	v, err := s.conn.Do(context.Background(), args...).Result()
	if err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	return v
}

// connections is how many the server has taken.
func (s *server) connections() int {
	_, rest, _ := strings.Cut(s.conn.Info(context.Background(), "stats").Val(), "total_connections_received:")
	digits, _, _ := strings.Cut(rest, "\r")
	n, err := strconv.Atoi(digits)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// eventually waits until cond holds, looking now and then.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	ticks := time.NewTicker(10 * time.Millisecond)
	defer ticks.Stop()
	for !cond() {
		select {
		case <-ticks.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
