package gatewaybench

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/poll"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

const (
	slowMembers = 1000
	slowRate    = 25 // messages a second
	slowTime    = 6 * time.Second
	slowPayload = 4 << 10
)

// stream publishes at a steady rate and returns how long each delivery took from
// the time its message was due.
func (s *subject) stream() (latencies []time.Duration, messages int, err error) {
	pad := strings.Repeat("x", slowPayload)
	begun := time.Now()
	due := begun
	for end := begun.Add(slowTime); ; {
		now := time.Now()
		if now.After(due) && now.Before(end) {
			text := `{"type":"publish","payload":{"room":"bench","data":"T` + strconv.FormatInt(due.UnixNano(), 10) + pad + `"}}`
			if _, err := unix.Write(s.publisher, frame.AppendMasked(nil, frame.OpText, []byte(text), [4]byte{1, 2, 3, 4})); err != nil {
				return nil, 0, err
			}
			messages++
			due = due.Add(time.Second / slowRate)
		}
		if len(latencies) == messages*slowMembers && now.After(end) {
			return latencies, messages, nil
		}
		if now.After(end.Add(10 * time.Second)) {
			return nil, 0, fmt.Errorf("%d deliveries of %d", len(latencies), messages*slowMembers)
		}
		err := s.members.each(func(read []byte) {
			for {
				_, after, ok := bytes.Cut(read, []byte(`"data":"T`))
				if !ok {
					return
				}
				sent, _ := strconv.ParseInt(string(after[:19]), 10, 64)
				latencies = append(latencies, time.Since(time.Unix(0, sent)))
				read = after
			}
		})
		if err != nil {
			return nil, 0, err
		}
	}
}

// stalled joins a socket with a small buffer that nobody reads.
func stalled(addr netip.AddrPort) (int, error) {
	fd, err := open(addr, "/ws?room=bench", "joined")
	if err != nil {
		return 0, err
	}
	return fd, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096)
}

// account reads what a stalled socket was sent and returns how many messages it
// got and how many its gaps name, up to the message with the seq last.
func account(fd int, last uint64) (delivered, named uint64, err error) {
	if err := unix.SetNonblock(fd, false); err != nil {
		return 0, 0, err
	}
	var reader frame.ClientReader
	config := &frame.ReaderConfig{}
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(fd, buf)
		if n <= 0 || err != nil {
			return delivered, named, fmt.Errorf("the stalled socket ended: %w", err)
		}
		for in := buf[:n]; len(in) > 0; {
			event, used, err := reader.Next(in, config)
			if err != nil {
				return delivered, named, err
			}
			in = in[used:]
			if event.Kind == frame.Close {
				return delivered, named, fmt.Errorf("closed with %d %s", event.Code, event.Payload)
			}
			if event.Kind != frame.Text {
				continue
			}
			m, err := protocol.DecodeServer(event.Payload)
			if err != nil {
				return delivered, named, err
			}
			switch m.Type {
			case protocol.ServerMessage:
				delivered++
			case protocol.ServerGap:
				named += m.Gap.To - m.Gap.From + 1
			}
			if m.Message.Seq == last || m.Gap.To == last {
				return delivered, named, nil
			}
		}
	}
}

// BenchmarkSlowReader shows that a reader that has stopped is its own problem:
// the others' latency with it and without it, in turn; and that it is told of
// every message that it does not get.
func BenchmarkSlowReader(b *testing.B) {
	defer pin(b)()
	s, addr := startGateway(b, "--rooms", "[{match: bench, slow: {window_messages: 16}}]")
	if err := s.join(addr, slowMembers); err != nil {
		b.Fatal(err)
	}
	var with, without []time.Duration
	seq, lost := 0, uint64(0)
	memory := 0
	for range rounds {
		latencies, n, err := s.stream()
		if err != nil {
			b.Fatal(err)
		}
		seq += n
		without = append(without, p99(latencies))
		if memory == 0 {
			memory = s.resident()
		}
		fd, err := stalled(addr)
		if err != nil {
			b.Fatal(err)
		}
		if latencies, n, err = s.stream(); err != nil {
			b.Fatal(err)
		}
		seq += n
		with = append(with, p99(latencies))
		delivered, named, err := account(fd, uint64(seq))
		if err != nil || delivered+named != uint64(n) || named == 0 {
			b.Fatalf("of %d messages the stalled reader got %d and its gaps name %d: %v", n, delivered, named, err)
		}
		lost += named
		_ = poll.Close(fd)
	}
	grown := s.resident() - memory
	slices.Sort(with)
	slices.Sort(without)
	ratio := float64(with[rounds/2]) / float64(without[rounds/2])
	fmt.Printf("\n%d members, %d messages of %d bytes a second, one reader stopped: p99 of the others %v, without it %v (%.2f), medians of %d rounds in turn;"+
		" all %d messages that it did not get are named by its gaps; resident memory grew by %d KiB\n",
		slowMembers, slowRate, slowPayload, with[rounds/2].Round(10*time.Microsecond), without[rounds/2].Round(10*time.Microsecond), ratio, rounds, lost, grown>>10)
	b.ReportMetric(ratio, "p99-ratio")
	b.ReportMetric(0, "ns/op")
}

func p99(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	return ds[len(ds)*99/100]
}
