package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Redis is a redis-server that was started for a run, and keeps nothing.
type Redis struct {
	PID int
	URL string // redis://127.0.0.1:port

	address string
	cmd     *exec.Cmd
}

// StartRedis starts one and waits until it answers. processor is that which it is
// kept on; -1: any.
func StartRedis(ctx context.Context, binary string, processor int) (*Redis, error) {
	// Redis tells nobody which port it has got: one that is free is looked for.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := ln.Addr().String()
	_ = ln.Close()
	_, port, _ := net.SplitHostPort(address)
	args := []string{binary, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "warning"}
	if processor >= 0 {
		args = append([]string{"taskset", "-c", strconv.Itoa(processor)}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = EndWithParent()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a redis-server: %w", err)
	}
	r := &Redis{PID: cmd.Process.Pid, URL: "redis://" + address, address: address, cmd: cmd}
	ctx, cancel := context.WithTimeout(ctx, startsWithin)
	defer cancel()
	for {
		if _, err = r.Info("server"); err == nil {
			return r, nil
		}
		select {
		case <-ctx.Done():
			r.Stop()
			return nil, fmt.Errorf("the redis-server did not answer: %w", errors.Join(ctx.Err(), err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Info is a section of what Redis tells of itself, by the names of its lines.
func (r *Redis) Info(section string) (map[string]string, error) {
	conn, err := net.DialTimeout("tcp", r.address, scrapeTimeout)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(scrapeTimeout))
	if _, err := fmt.Fprintf(conn, "INFO %s\r\n", section); err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	var size int
	if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
		return nil, fmt.Errorf("redis: no bulk string: %w", err)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(in, text); err != nil {
		return nil, err
	}
	lines := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			lines[name] = value
		}
	}
	return lines, nil
}

// Calls is how often Redis was asked by one of its commands.
func (r *Redis) Calls(command string) (calls int, err error) {
	lines, err := r.Info("commandstats")
	if err != nil {
		return 0, err
	}
	for part := range strings.SplitSeq(lines["cmdstat_"+command], ",") {
		if n, ok := strings.CutPrefix(part, "calls="); ok {
			return strconv.Atoi(n)
		}
	}
	return 0, nil
}

// Stop ends it.
func (r *Redis) Stop() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}
