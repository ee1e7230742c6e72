package faulttest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a program that a world started. It is only ever signalled by its own
// process id, and not after it was waited for.
type process struct {
	name string
	args []string
	dir  string // its working directory, and where its log is
	cmd  *exec.Cmd
	gone chan struct{}
	err  error // of Wait, once gone is closed
}

// starts are processes to be started on one thread that lasts: the kernel ends
// them with the thread that started them, so that a test run that is cut off
// leaves none behind.
var starts = sync.OnceValue(func() chan<- func() {
	c := make(chan func())
	go startAll(c)
	return c
})

func startAll(c <-chan func()) {
	runtime.LockOSThread()
	for f := range c {
		f()
	}
}

// start runs a program. Its output goes to NAME.log in dir, behind what is there.
func (p *process) start() error {
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = p.dir, log, log
	// What a developer has set for a gateway of their own is not for this one.
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "FANFARE_") {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	p.cmd.SysProcAttr = endWithParent()
	begun := make(chan error)
	starts() <- func() { begun <- p.cmd.Start() }
	if err := <-begun; err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	gone, cmd := make(chan struct{}), p.cmd
	p.gone = gone
	go func() {
		p.err = cmd.Wait()
		close(gone)
	}()
	return nil
}

func (p *process) logFile() string { return filepath.Join(p.dir, p.name+".log") }

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) running() bool {
	if p.gone == nil {
		return false
	}
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// signal sends a signal; to one that is gone it does nothing.
func (p *process) signal(s syscall.Signal) {
	if p.running() {
		_ = p.cmd.Process.Signal(s)
	}
}

// kill ends the process at once and waits for its end.
func (p *process) kill() {
	if p.running() {
		p.signal(syscall.SIGKILL)
		<-p.gone
	}
}

// end asks the process to end, and returns how it did. It is killed after within.
func (p *process) end(within time.Duration) error {
	if !p.running() {
		return nil
	}
	p.signal(syscall.SIGCONT)
	p.signal(syscall.SIGTERM)
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-p.gone:
		return p.err
	case <-t.C:
		p.kill()
		return fmt.Errorf("%s did not end within %s of SIGTERM", p.name, within)
	}
}

// tail is the end of the process's log.
func (p *process) tail(n int64) string {
	f, err := os.Open(p.logFile())
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if end, _ := f.Seek(0, io.SeekEnd); end > n {
		_, _ = f.Seek(-n, io.SeekEnd)
	} else {
		_, _ = f.Seek(0, io.SeekStart)
	}
	b, _ := io.ReadAll(f)
	return string(b)
}

// Ports are taken from below those that the kernel gives to outgoing connections,
// so that a process can be restarted at its own. busOffset is where a node of a
// Redis Cluster has its second port.
const (
	portLow   = 11000
	portHigh  = 21000
	busOffset = 10000
)

var ports struct {
	mu    sync.Mutex
	given map[int]bool
}

// freePort returns a port of the loopback interface that is free now, and gives
// it to no one else.
func freePort() int {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	if ports.given == nil {
		ports.given = make(map[int]bool)
	}
	for {
		port := portLow + rand.IntN(portHigh-portLow)
		if !ports.given[port] && free(port) && free(port+busOffset) {
			ports.given[port] = true
			return port
		}
	}
}

func free(port int) bool {
	l, err := net.Listen("tcp", local(port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

var errTooLong = errors.New("did not happen in time")

// until asks ok again and again, for so long.
func until(within time.Duration, what string, ok func() bool) error {
	last := time.NewTimer(within)
	defer last.Stop()
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for !ok() {
		select {
		case <-ticks.C:
		case <-last.C:
			if ok() {
				return nil
			}
			return fmt.Errorf("%s: %w (%s)", what, errTooLong, within)
		}
	}
	return nil
}
