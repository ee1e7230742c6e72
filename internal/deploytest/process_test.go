package deploytest

import (
	"bytes"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a program that a test started. It ends with the test, if not before.
type process struct {
	t     *testing.T
	name  string
	args  []string
	env   []string
	log   journal
	cmd   *exec.Cmd
	ended chan struct{} // closed when it is gone
}

// journal is what a process wrote.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// newProcess makes one that is not started. Of a developer's environment it has
// nothing that is for a gateway.
func newProcess(t *testing.T, name string, env []string, args ...string) *process {
	p := &process{t: t, name: name, args: args, env: slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "FANFARE_") })}
	p.env = append(p.env, env...)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			said := p.log.String()
			t.Logf("%s wrote:\n%s", name, said[max(0, len(said)-4000):])
		}
	})
	return p
}

// start starts it, again after it ended.
func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = p.env, &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended, cmd := make(chan struct{}), p.cmd
	p.ended = ended
	go func() {
		_ = cmd.Wait() // why it ended is in its log
		close(ended)
	}()
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// kill ends it at once.
func (p *process) kill() {
	if p.ended == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// end asks it to end and waits for it: one that has children has to end them.
func (p *process) end() {
	if p.ended == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	<-p.ended
}

// listens waits until something accepts connections at an address.
func (p *process) listens(addr string) {
	p.t.Helper()
	eventually(p.t, p.name+" listens", func() error {
		select {
		case <-p.ended:
			p.t.Fatalf("%s ended: %v", p.name, p.cmd.ProcessState)
		default:
		}
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err
	})
}

var ports sync.Map // that were given

// freeAddr is an address of the loopback interface that nothing listens on, below the
// ports that outgoing connections have: whoever is restarted finds its own free.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 1000 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(12000+rand.IntN(9000)))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		l.Close()
		if _, taken := ports.LoadOrStore(addr, true); !taken {
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}
