package api

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	benchCallers = 64 // connections, each with one call under way
	benchBatch   = 100
	benchRounds  = 5
	benchTime    = 2 * time.Second
	// floorVariable makes the test's binary the floor.
	floorVariable = "FANFARE_HTTP_FLOOR"
)

// floor is what nothing on net/http can be below: it reads the body and answers
// with as many bytes as a publish does.
func floor() {
	server := NewAdminServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body [4 << 10]byte
		for {
			if _, err := r.Body.Read(body[:]); err != nil {
				break
			}
		}
		w.Header()["Content-Type"] = jsonType
		_, _ = w.Write([]byte(`{"room":"bench","epoch":"q8r4ywee6dc13hvt","seq":1000}`))
	}), slog.New(slog.DiscardHandler))
	l, err := ListenAdmin("127.0.0.1:0")
	if err == nil {
		fmt.Printf("http://%s/\n", l.Addr())
		err = server.Serve(l)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// target is a server on the first processor, and connections to it.
type target struct {
	name     string
	cmd      *exec.Cmd
	conns    []int
	request  []byte
	messages int // that one request publishes
	results  []benchResult
}

type benchResult struct {
	messages int
	elapsed  time.Duration
	cpu      time.Duration // of the server
}

func (r benchResult) perSecond() float64 { return float64(r.messages) / r.elapsed.Seconds() }
func (r benchResult) cpuEach() float64 {
	return float64(r.cpu.Microseconds()) / float64(r.messages)
}

// startOn runs a command on the first processor and returns the last address that
// its first line has.
func startOn(b *testing.B, cmd *exec.Cmd) (*exec.Cmd, netip.AddrPort) {
	b.Helper()
	path, err := exec.LookPath("taskset")
	if err != nil {
		b.Skip("no taskset: processes cannot be kept apart")
	}
	cmd.Path, cmd.Args = path, append([]string{"taskset", "-c", "0", cmd.Path}, cmd.Args[1:]...)
	cmd.Env = append(append(os.Environ(), cmd.Env...), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	found := regexp.MustCompile(`127\.0\.0\.1:[0-9]+`).FindAllString(line, -1)
	if err != nil || len(found) == 0 {
		b.Fatalf("no address in %q: %v", line, err)
	}
	return cmd, netip.MustParseAddrPort(found[len(found)-1])
}

func newTarget(b *testing.B, name string, cmd *exec.Cmd, addr netip.AddrPort, path, body string, messages int) *target {
	b.Helper()
	t := &target{name: name, cmd: cmd, messages: messages}
	t.request = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path, keyAll, len(body), body)
	for range benchCallers {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = unix.Close(fd) })
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
			b.Fatal(err)
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		t.conns = append(t.conns, fd)
	}
	return t
}

// round keeps a call under way on each connection for a round's time.
func (t *target) round() (benchResult, error) {
	buf := make([]byte, 64<<10)
	begun, cpu, done := time.Now(), t.cpu(), 0
	for _, fd := range t.conns {
		if _, err := unix.Write(fd, t.request); err != nil {
			return benchResult{}, err
		}
	}
	for over := false; !over; {
		over = time.Since(begun) > benchTime
		for _, fd := range t.conns {
			if err := answered200(fd, buf); err != nil {
				return benchResult{}, err
			}
			done++
			if over {
				continue
			}
			if _, err := unix.Write(fd, t.request); err != nil {
				return benchResult{}, err
			}
		}
	}
	return benchResult{done * t.messages, time.Since(begun), t.cpu() - cpu}, nil
}

var lengthHeader = []byte("\r\nContent-Length: ")

// answered200 reads one answer, which must be 200.
func answered200(fd int, buf []byte) error {
	for n, whole := 0, -1; ; {
		m, err := unix.Read(fd, buf[n:])
		if m <= 0 || err != nil {
			return fmt.Errorf("after %q: %w", buf[:n], err)
		}
		n += m
		if head := bytes.Index(buf[:n], []byte("\r\n\r\n")); whole < 0 && head >= 0 {
			at := bytes.Index(buf[:head], lengthHeader)
			if at < 0 || !bytes.HasPrefix(buf, []byte("HTTP/1.1 200 ")) {
				return fmt.Errorf("answered %q", buf[:n])
			}
			digits, _, _ := bytes.Cut(buf[at+len(lengthHeader):head+2], []byte("\r\n"))
			length, err := strconv.Atoi(string(digits))
			if err != nil {
				return err
			}
			whole = head + 4 + length
		}
		if whole >= 0 && n >= whole {
			return nil
		}
	}
}

// cpu is what the server's process has used so far (proc(5)).
func (t *target) cpu() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", t.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * time.Second / 100
}

// BenchmarkHTTPPublish publishes to a whole gateway with the embedded broker, a
// message a call and many a call, and calls a server that does nothing: each on one
// processor, called from another over connections that are kept.
func BenchmarkHTTPPublish(b *testing.B) {
	if runtime.NumCPU() < 2 {
		b.Skip("needs two processors")
	}
	binary, keys := filepath.Join(b.TempDir(), "fanfare"), filepath.Join(b.TempDir(), "keys.yaml")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/fanfare").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	if err := os.WriteFile(keys, []byte(keysFile), 0o600); err != nil {
		b.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	idle := exec.Command(self)
	idle.Env = []string{floorVariable + "=1", "GOGC=50"} // as fanfare sets it
	idle, floorAddr := startOn(b, idle)
	gateway, addr := startOn(b, exec.Command(binary, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--loops", "1",
		"--log-level", "warn", "--api-keys-file", keys))
	data := `"` + strings.Repeat("x", 126) + `"`
	one := `{"data":` + data + `}`
	many := "[" + strings.Repeat(`{"room":"bench","data":`+data+`},`, benchBatch-1) + `{"room":"bench","data":` + data + `}]`
	targets := []*target{
		newTarget(b, "a server that does nothing", idle, floorAddr, "/", one, 1),
		newTarget(b, "a message a call", gateway, addr, "/v1/rooms/bench/messages", one, 1),
		newTarget(b, fmt.Sprintf("%d messages a call", benchBatch), gateway, addr, "/v1/messages", many, benchBatch),
	}
	defer pinSecond(b)()
	for range benchRounds {
		for _, t := range targets {
			r, err := t.round()
			if err != nil {
				b.Fatalf("%s: %v", t.name, err)
			}
			t.results = append(t.results, r)
		}
	}
	fmt.Printf("\n%d connections, 128 bytes of data, one processor, medians of %d interleaved rounds\n", benchCallers, benchRounds)
	fmt.Printf("%-28s %14s %18s\n", "", "messages/s", "CPU us a message")
	for _, t := range targets {
		fmt.Printf("%-28s %14.0f %18.1f\n", t.name, middle(t.results, benchResult.perSecond), middle(t.results, benchResult.cpuEach))
	}
	b.ReportMetric(middle(targets[1].results, benchResult.perSecond), "messages/s")
	b.ReportMetric(middle(targets[1].results, benchResult.cpuEach), "cpu-us/message")
	b.ReportMetric(0, "ns/op")
}

func middle(rs []benchResult, of func(benchResult) float64) float64 {
	var xs []float64
	for _, r := range rs {
		xs = append(xs, of(r))
	}
	slices.Sort(xs)
	return xs[len(xs)/2]
}

// pinSecond keeps the caller off the servers' processor until it is undone.
func pinSecond(b *testing.B) (undo func()) {
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
