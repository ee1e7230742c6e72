package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
)

// process is `fanfare serve` as a process of its own.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	addr  string // of clients
	admin string
	log   *journal
}

// journal is what a process has written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *journal) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *journal) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// serving starts a gateway, on ports of the kernel's choice, and ends it with the
// test.
func serving(t *testing.T, flags ...string) *process {
	t.Helper()
	return servingOn(t, nil, flags...)
}

// servingOn is serving with something to read.
func servingOn(t *testing.T, stdin *os.File, flags ...string) *process {
	t.Helper()
	path, err := exec.LookPath("fanfare")
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, log: new(journal)}
	p.cmd = exec.Command(path, append([]string{"serve", "--admin-listen", "127.0.0.1:0", "--drain-period", "0"}, flags...)...)
	p.cmd.Stderr = p.log
	if stdin != nil {
		p.cmd.Stdin = stdin
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.end)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	urls := regexp.MustCompile(`https?://([^/ ]+)`).FindAllStringSubmatch(line, -1)
	if err != nil || len(urls) != 2 {
		t.Fatalf("the gateway said %q, %v: %s", line, err, p.log)
	}
	p.addr, p.admin = urls[0][1], urls[1][1]
	return p
}

// end has the process drain, which it must with 0.
func (p *process) end() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("it ended with %v: %s", err, p.log)
	}
}

func (p *process) hangUp() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		p.t.Fatal(err)
	}
}

// metric is one series of /metrics.
func (p *process) metric(name string) string {
	p.t.Helper()
	res, err := http.Get("http://" + p.admin + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	p.t.Fatalf("no series %s", name)
	return ""
}

// reloads waits until so many reloads have ended so.
func (p *process) reloads(result string, n int) {
	p.t.Helper()
	p.until(fmt.Sprintf("%d reloads %s", n, result), func() bool {
		return p.metric(`fanfare_config_reloads_total{result="`+result+`"}`) == fmt.Sprint(n)
	})
}

func (p *process) until(what string, ok func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	ticks := time.NewTicker(10 * time.Millisecond)
	defer ticks.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			p.t.Fatalf("not within %v: %s; it logged %s", patience, what, p.log)
		}
		<-ticks.C
	}
}

// logs waits until a line of the log has all of these words.
func (p *process) logs(words ...string) {
	p.t.Helper()
	p.until(fmt.Sprintf("a line with %q", words), func() bool {
		for line := range strings.Lines(p.log.String()) {
			all := true
			for _, word := range words {
				all = all && strings.Contains(line, word)
			}
			if all {
				return true
			}
		}
		return false
	})
}

// connect sends a handshake with more header lines and returns the status of the
// answer. The socket takes little, and nothing but that answer is read from it.
func (p *process) connect(lines ...string) (net.Conn, int) {
	p.t.Helper()
	dialer := net.Dialer{Timeout: patience, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}
	conn, err := dialer.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	lines = append([]string{"GET /ws HTTP/1.1", "Host: " + p.addr, "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}, lines...)
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		p.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return conn, res.StatusCode
}

// send sends a message of a client.
func (p *process) send(conn net.Conn, text string) {
	p.t.Helper()
	if _, err := conn.Write(frame.AppendMasked(nil, frame.OpText, []byte(text), [4]byte{1, 2, 3, 4})); err != nil {
		p.t.Fatal(err)
	}
}
