package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// Gateway is a gateway that was started for a run.
type Gateway struct {
	Subject
	URL string // ws://127.0.0.1:port, or wss

	cmd   *exec.Cmd
	ended chan error // its one exit
}

// Launch says how to start a gateway.
type Launch struct {
	Name      string
	Binary    string
	Args      []string // besides those that every one gets; a later one counts
	Processor int      // that it is kept on; -1: any
	Loud      io.Writer
}

// arguments are those of a gateway under load from one machine: ports of its own,
// and none of the limits that hold back a single address or publisher.
var arguments = []string{
	"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-level", "warn", "--drain-period", "1s",
	"--limits-connections", "0", "--limits-handshakes", "0", "--limits-handshakes-per-address", "0",
	"--limits-messages-per-second", "0", "--limits-bytes-per-second", "0",
}

const (
	startsWithin = 20 * time.Second
	endsWithin   = 5 * time.Second
)

// readyLine is what a gateway prints once it takes traffic.
var readyLine = regexp.MustCompile(`open (http\S+) .*Metrics: (http\S+)`)

// Start starts a gateway and waits until it takes traffic.
func Start(ctx context.Context, l Launch) (*Gateway, error) {
	g := &Gateway{Subject: Subject{Name: l.Name}, ended: make(chan error, 1)}
	g.cmd = exec.Command(l.Binary, append(append([]string(nil), arguments...), l.Args...)...)
	g.cmd.Stderr = l.Loud
	g.cmd.SysProcAttr = EndWithParent()
	if l.Processor >= 0 {
		// One loop and one processor for the runtime, as in a container of one.
		g.cmd.Env = append(g.cmd.Environ(), "GOMAXPROCS=1")
		if path, err := exec.LookPath("taskset"); err == nil {
			g.cmd.Args = append([]string{"taskset", "-c", fmt.Sprint(l.Processor)}, g.cmd.Args...)
			g.cmd.Path = path
		} else {
			return nil, errors.New("no taskset (of util-linux), which keeps a gateway on its processor")
		}
	}
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the gateway: %w", err)
	}
	g.PID = g.cmd.Process.Pid
	ready := make(chan []string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if found := readyLine.FindStringSubmatch(lines.Text()); found != nil {
				ready <- found
			}
		}
		g.ended <- g.cmd.Wait()
	}()
	select {
	case found := <-ready:
		return g, g.found(found[1], found[2])
	case err := <-g.ended:
		return nil, fmt.Errorf("the gateway ended at once: %w", errors.Join(err))
	case <-time.After(startsWithin):
		err = fmt.Errorf("the gateway was not ready within %v", startsWithin)
	case <-ctx.Done():
		err = ctx.Err()
	}
	g.Stop()
	return nil, err
}

// found takes the addresses that the gateway told.
func (g *Gateway) found(page, metrics string) error {
	u, err := url.Parse(page)
	if err != nil {
		g.Stop()
		return fmt.Errorf("the gateway's address: %w", err)
	}
	// http becomes ws, and https wss.
	g.URL = "ws" + strings.TrimPrefix(u.Scheme, "http") + "://127.0.0.1:" + u.Port()
	g.Metrics = strings.TrimSuffix(metrics, ".")
	return nil
}

// Stop ends the gateway: first kindly, and it need not drain.
func (g *Gateway) Stop() {
	_ = g.cmd.Process.Signal(os.Interrupt)
	select {
	case <-g.ended:
		return
	case <-time.After(endsWithin):
	}
	_ = g.cmd.Process.Kill()
	<-g.ended
}
