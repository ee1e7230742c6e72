package team

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Child is an agent that runs as a process of this machine, and ends with this
// one.
type Child struct {
	*Remote
	cmd   *exec.Cmd
	stdin io.Closer
}

// childStarts is how long a child may take to tell its address.
const childStarts = 10 * time.Second

// NewChild starts this binary once more, with the arguments of an agent that
// prints its address and ends when its stdin does.
func NewChild(args ...string) (*Child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, args...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start an agent: %w", err)
	}
	c := &Child{cmd: cmd, stdin: stdin}
	late := time.AfterFunc(childStarts, func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	late.Stop()
	if err == nil {
		_, err = netip.ParseAddrPort(strings.TrimSpace(line))
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("an agent did not start: %w", err)
	}
	c.Remote = NewRemote(strings.TrimSpace(line), "")
	return c, nil
}

// Close ends the run and the process.
func (c *Child) Close() error {
	return errors.Join(c.Remote.Close(), c.stdin.Close(), c.cmd.Wait())
}
