package gatewaybench

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rounds of what is measured in turn.
const rounds = 5

// subject is a gateway under test, and its members.
type subject struct {
	cmd       *exec.Cmd
	publisher int
	members   *members
}

// cpu is what the server's process has used so far (proc(5)).
func (s *subject) cpu() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * time.Second / 100
}

func (s *subject) end() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.members.close()
	_ = unix.Close(s.publisher)
}

// start runs a command on the first processor and finds the address it prints.
func start(b *testing.B, cmd *exec.Cmd, address *regexp.Regexp) (*subject, netip.AddrPort) {
	b.Helper()
	cmd.Args = append([]string{"taskset", "-c", "0"}, cmd.Args...)
	path, err := exec.LookPath("taskset")
	if err != nil {
		b.Skip("no taskset: processes cannot be kept apart")
	}
	cmd.Path = path
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	found := address.FindString(line)
	addr, err := netip.ParseAddrPort(found)
	if err != nil {
		b.Fatalf("no address in %q: %v", line, err)
	}
	s := &subject{cmd: cmd, publisher: -1}
	if s.members, err = newMembers(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.end)
	return s, addr
}

var address = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)

// startGateway starts a gateway and a publisher.
func startGateway(b *testing.B, more ...string) (*subject, netip.AddrPort) {
	s, addr := runGateway(b, more...)
	var err error
	if s.publisher, err = open(addr, "/ws", "welcome"); err != nil {
		b.Fatal(err)
	}
	return s, addr
}

// runGateway runs a gateway with one loop, its whole protocol on; but no ping
// comes while it is measured, as these members answer none.
func runGateway(b *testing.B, more ...string) (*subject, netip.AddrPort) {
	binary := filepath.Join(b.TempDir(), "fanfare")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/fanfare").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	args := append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--loops", "1",
		"--log-level", "warn", "--limits-messages-per-second", "0", "--limits-bytes-per-second", "0",
		"--limits-handshakes-per-address", "0", "--heartbeat-interval", "1h", "--heartbeat-timeout", "2h"}, more...)
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	return start(b, cmd, address)
}

// join adds n members of the room.
func (s *subject) join(addr netip.AddrPort, n int) error {
	for range n {
		fd, err := open(addr, "/ws?room=bench", "joined")
		if err == nil {
			err = s.members.add(fd)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// open makes a WebSocket and reads until a frame of the type has come.
func open(addr netip.AddrPort, path, until string) (int, error) {
	fd, err := dial(addr)
	if err != nil {
		return 0, err
	}
	if _, err = unix.Write(fd, upgrade(path)); err != nil {
		return 0, err
	}
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(got, []byte(`"type":"`+until+`"`)) || !bytes.HasSuffix(got, []byte("}}")) {
		n, err := unix.Read(fd, buf)
		if n <= 0 || err != nil {
			return 0, fmt.Errorf("after %q: %w", got, io.ErrUnexpectedEOF)
		}
		got = append(got, buf[:n]...)
	}
	return fd, nil
}

// upgrade is the request of a handshake.
func upgrade(path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
}

// pin keeps the receiving goroutine off the server's processor until it is undone.
func pin(b *testing.B) (undo func()) {
	if runtime.NumCPU() < 2 {
		b.Skip("needs two processors")
	}
	var one, all unix.CPUSet
	one.Set(1)
	runtime.LockOSThread()
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		b.Fatal(err)
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		b.Fatal(err)
	}
	return func() {
		_ = unix.SchedSetaffinity(0, &all)
		runtime.UnlockOSThread()
	}
}
