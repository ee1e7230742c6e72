package fanoutbench

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
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanfare-ws/fanfare/internal/frame"
)

const (
	sockets     = 5000
	rounds      = 5
	roundTime   = 2 * time.Second
	outstanding = 16
	payload     = 128 // bytes of data
)

// subject is a server under test, and its members.
type subject struct {
	cmd       *exec.Cmd
	publisher int
	members   *members
	publish   []byte                  // what makes one broadcast
	size      func(broadcast int) int // bytes that a member gets for the broadcast of that number, from 1
	seq       int
}

// result is one round.
type result struct {
	deliveries int
	elapsed    time.Duration
	cpu        time.Duration // of the server
}

func (r result) perSecond() float64 { return float64(r.deliveries) / r.elapsed.Seconds() }
func (r result) cpuPerMillion() float64 {
	return r.cpu.Seconds() / float64(r.deliveries) * 1e6
}

// broadcast keeps so many broadcasts under way for the round's time.
func (s *subject) broadcast(underWay int) (result, error) {
	begun, cpu := time.Now(), s.cpu()
	sent, got, done, need := 0, 0, 0, 0
	for {
		for over := time.Since(begun) > roundTime; sent-done < underWay && !over; sent++ {
			if _, err := unix.Write(s.publisher, s.publish); err != nil {
				return result{}, err
			}
		}
		if sent == done {
			break
		}
		if need == 0 {
			need = sockets * s.size(s.seq+1)
		}
		n, err := s.members.read()
		if err != nil {
			return result{}, err
		}
		for got += n; need > 0 && got >= need; {
			got -= need
			done++
			s.seq++
			if need = 0; done < sent {
				need = sockets * s.size(s.seq+1)
			}
		}
	}
	return result{done * sockets, time.Since(begun), s.cpu() - cpu}, nil
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

// startFloor starts the floor, whose broadcasts are of the same size.
func startFloor(b *testing.B, size int) *subject {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "FLOOR=1", "GOMAXPROCS=1")
	s, addr := start(b, cmd, address)
	s.publish = make([]byte, size)
	s.size = func(int) int { return size }
	if s.publisher, err = dial(addr); err != nil {
		b.Fatal(err)
	}
	for range sockets {
		fd, err := dial(addr)
		if err == nil {
			err = s.members.add(fd)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	ready := []byte{sockets >> 8, sockets & 255, 0, 0}
	if _, err := unix.Write(s.publisher, ready); err != nil {
		b.Fatal(err)
	}
	if _, err := unix.Read(s.publisher, ready); err != nil {
		b.Fatal(err)
	}
	return s
}

// startGateway starts a gateway and a publisher.
func startGateway(b *testing.B, more ...string) (*subject, netip.AddrPort) {
	s, addr := runGateway(b, more...)
	var err error
	if s.publisher, err = open(addr, "/ws", "welcome"); err != nil {
		b.Fatal(err)
	}
	data := strings.Repeat("x", payload-2)
	s.publish = frame.AppendMasked(nil, frame.OpText, []byte(`{"type":"publish","payload":{"room":"bench","data":"`+data+`"}}`), [4]byte{1, 2, 3, 4})
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

// learnSize broadcasts once and works out how large a broadcast is: all of it is
// constant but the digits of seq.
func (s *subject) learnSize(b *testing.B) {
	if _, err := unix.Write(s.publisher, s.publish); err != nil {
		b.Fatal(err)
	}
	first := 0
	for quiet := time.Now().Add(time.Second); time.Now().Before(quiet); {
		n, err := s.members.read()
		if err != nil {
			b.Fatal(err)
		}
		if n > 0 {
			quiet = time.Now().Add(time.Second)
		}
		first += n
	}
	if first%sockets != 0 {
		b.Fatalf("%d bytes to %d sockets", first, sockets)
	}
	s.seq = 1
	s.size = func(seq int) int { return first/sockets - 1 + len(strconv.Itoa(seq)) }
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

func BenchmarkFanout(b *testing.B) {
	defer pin(b)()
	gateway, addr := startGateway(b)
	if err := gateway.join(addr, sockets); err != nil {
		b.Fatal(err)
	}
	gateway.learnSize(b)
	floor := startFloor(b, gateway.size(1000))

	runs := []struct {
		name     string
		subject  *subject
		underWay int
		results  []result
	}{
		{name: "floor, one at a time", subject: floor, underWay: 1},
		{name: "gateway, one at a time", subject: gateway, underWay: 1},
		{name: fmt.Sprintf("gateway, %d under way", outstanding), subject: gateway, underWay: outstanding},
	}
	for range rounds {
		for i := range runs {
			r, err := runs[i].subject.broadcast(runs[i].underWay)
			if err != nil {
				b.Fatalf("%s: %v", runs[i].name, err)
			}
			runs[i].results = append(runs[i].results, r)
		}
	}
	base := runs[0].results
	fmt.Printf("\n1 room x %d members, %d bytes of data, medians of %d interleaved rounds\n", sockets, payload, rounds)
	fmt.Printf("%-24s %14s %10s %16s %10s\n", "", "deliveries/s", "of floor", "CPU-s/million", "of floor")
	for _, r := range runs {
		rate, cpu := median(r.results, result.perSecond), median(r.results, result.cpuPerMillion)
		fmt.Printf("%-24s %14.0f %10.2f %16.2f %10.3f\n", r.name, rate, rate/median(base, result.perSecond),
			cpu, cpu/median(base, result.cpuPerMillion))
	}
	b.ReportMetric(median(runs[1].results, result.perSecond)/median(base, result.perSecond), "single/floor")
	b.ReportMetric(median(runs[2].results, result.perSecond)/median(base, result.perSecond), "saturated/floor")
	b.ReportMetric(0, "ns/op")
}

func median(rs []result, of func(result) float64) float64 {
	var xs []float64
	for _, r := range rs {
		xs = append(xs, of(r))
	}
	slices.Sort(xs)
	return xs[len(xs)/2]
}
