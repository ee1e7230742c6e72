package gatewaybench

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/certtest"
)

const idleTLS = 2_000

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

// BenchmarkIdleTLS measures what a connection by TLS costs that has joined one room
// and does nothing, beside one without it: resident memory of the gateway's
// process, and the processor time of its handshake and join.
func BenchmarkIdleTLS(b *testing.B) {
	s, addr := runGateway(b)
	plain := s.idleCost(b, addr, " without TLS", idleTLS, s.join)
	cert, key, err := certtest.WritePair(b.TempDir(), certtest.NewAuthority().Sign(1, time.Now().Add(time.Hour)))
	if err != nil {
		b.Fatal(err)
	}
	s, addr = runGateway(b, "--tls-cert", cert, "--tls-key", key)
	secure := s.idleCost(b, addr, " by TLS", idleTLS, holdSecure(b))
	b.ReportMetric(secure, "B/conn")
	b.ReportMetric(secure-plain, "B/TLS")
	b.ReportMetric(0, "ns/op")
}

// idleCost is the resident memory of each of n connections that join makes.
func (s *subject) idleCost(b *testing.B, addr netip.AddrPort, how string, n int, join func(netip.AddrPort, int) error) (bytes float64) {
	b.Helper()
	if err := join(addr, 100); err != nil { // what every gateway has after its first clients
		b.Fatal(err)
	}
	memory, cpu := s.resident(), s.cpu()
	if err := join(addr, n); err != nil {
		b.Fatal(err)
	}
	cpu = s.cpu() - cpu
	<-time.After(time.Second) // the last handshakes' garbage
	bytes = float64(s.resident()-memory) / float64(n)
	fmt.Printf("\n%d idle connections in one room%s: %.0f bytes of resident memory each, %.0f µs of processor time to connect and join\n",
		n, how, bytes, float64(cpu.Microseconds())/float64(n))
	return bytes
}

// holdSecure makes members by TLS that are held until the benchmark is over.
func holdSecure(b *testing.B) func(netip.AddrPort, int) error {
	var held []*tls.Conn
	b.Cleanup(func() {
		for _, c := range held {
			c.Close()
		}
	})
	return func(addr netip.AddrPort, n int) error {
		for range n {
			c, err := tls.Dial("tcp", addr.String(), &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				return err
			}
			held = append(held, c)
			if _, err := c.Write(upgrade("/ws?room=bench")); err != nil {
				return err
			}
			if err := readUntil(c, "joined"); err != nil {
				return err
			}
		}
		return nil
	}
}

// readUntil reads until a frame of the type has come.
func readUntil(r io.Reader, kind string) error {
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(got, []byte(`"type":"`+kind+`"`)) || !bytes.HasSuffix(got, []byte("}}")) {
		n, err := r.Read(buf)
		if err != nil {
			return fmt.Errorf("after %q: %w", got, err)
		}
		got = append(got, buf[:n]...)
	}
	return nil
}
