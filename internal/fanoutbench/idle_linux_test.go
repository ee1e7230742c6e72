package fanoutbench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

const idle = 10_000

// resident is the server's resident memory in bytes (proc(5), VmRSS).
func (s *subject) resident() int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(status, []byte("VmRSS:"))
	kib, _ := strconv.Atoi(string(bytes.Fields(rest)[0]))
	return kib << 10
}

// BenchmarkIdle measures what a connection costs that has joined one room and
// does nothing: resident memory of the gateway's process, and the processor time
// of its handshake and join.
func BenchmarkIdle(b *testing.B) {
	s, addr := startGateway(b)
	if err := s.join(addr, 100); err != nil { // what every gateway has after its first clients
		b.Fatal(err)
	}
	memory, cpu := s.resident(), s.cpu()
	if err := s.join(addr, idle); err != nil {
		b.Fatal(err)
	}
	cpu = s.cpu() - cpu
	<-time.After(time.Second) // the last handshakes' garbage
	per := float64(s.resident()-memory) / idle
	fmt.Printf("\n%d idle connections in one room: %.0f bytes of resident memory each, %.0f µs of processor time to connect and join\n",
		idle, per, float64(cpu.Microseconds())/idle)
	b.ReportMetric(per, "B/conn")
	b.ReportMetric(0, "ns/op")
}
