package faulttest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

const (
	connectWait = 5 * time.Second
	// Of a client whose connections end: base and cap are small, so that a test is
	// quick; the rest is as PROTOCOL.md section 7 asks.
	backoffBase = 100 * time.Millisecond
	backoffCap  = 1500 * time.Millisecond
	lastedLong  = 2 * time.Second // the connection was good: back to the base
)

var readerConfig = frame.ReaderConfig{MessageBytes: 16 << 20, Fragments: 1 << 20}

// socket is a WebSocket as a client has it. Reading is one goroutine's; writing
// may come from any, a whole frame at a time.
type socket struct {
	net.Conn
	reader  frame.ClientReader
	in      []byte // buf's part that was not looked at
	buf     []byte
	silence time.Duration // longest silence that is not the end
}

// errRefused is an answer to the handshake that was not 101.
type errRefused struct{ status int }

func (e errRefused) Error() string { return fmt.Sprintf("handshake refused with %d", e.status) }

// connect dials and upgrades. query goes into the URL. receive bounds the
// kernel's receive buffer; 0 leaves it.
func connect(ctx context.Context, addr, query string, receive int) (*socket, error) {
	dialer := net.Dialer{Timeout: connectWait, KeepAlive: -1}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if receive > 0 {
		_ = conn.(*net.TCPConn).SetReadBuffer(receive)
	}
	s := &socket{Conn: conn, silence: connectWait}
	if err := s.upgrade(addr, query); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *socket) upgrade(addr, query string) error {
	_ = s.SetDeadline(time.Now().Add(connectWait))
	defer s.SetDeadline(time.Time{})
	if query != "" {
		query = "?" + query
	}
	_, err := fmt.Fprintf(s, "GET /ws%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: %s\r\n\r\n", query, addr, protocol.Subprotocol)
	if err != nil {
		return err
	}
	r := bufio.NewReaderSize(s.Conn, 4096)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return errRefused{answer.StatusCode}
	}
	s.buf = make([]byte, 4096)
	s.in = s.buf[:r.Buffered()]
	_, err = r.Read(s.in)
	if len(s.in) == 0 {
		err = nil
	}
	return err
}

// errClosed is a close frame.
type errClosed struct {
	code   uint16
	reason string
}

func (e errClosed) Error() string { return fmt.Sprintf("closed with %d %q", e.code, e.reason) }

var errSilent = errors.New("silent")

// next returns the next text message, valid until the next call. It answers pings.
func (s *socket) next() ([]byte, error) {
	for {
		for len(s.in) > 0 {
			ev, n, err := s.reader.Next(s.in, &readerConfig)
			if err != nil {
				return nil, err
			}
			s.in = s.in[n:]
			switch ev.Kind {
			case frame.Text:
				return ev.Payload, nil
			case frame.Ping:
				if err := s.send(frame.OpPong, ev.Payload); err != nil {
					return nil, err
				}
			case frame.Close:
				_ = s.send(frame.OpClose, frame.AppendCloseBody(nil, ev.Code, ""))
				return nil, errClosed{ev.Code, string(ev.Payload)}
			}
		}
		_ = s.SetReadDeadline(time.Now().Add(s.silence))
		n, err := s.Read(s.buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = errSilent
		}
		if n == 0 && err != nil {
			return nil, err
		}
		s.in = s.buf[:n]
	}
}

// send writes one frame.
func (s *socket) send(op frame.Opcode, payload []byte) error {
	var mask [4]byte
	b := rand.Uint32()
	mask[0], mask[1], mask[2], mask[3] = byte(b), byte(b>>8), byte(b>>16), byte(b>>24)
	_ = s.SetWriteDeadline(time.Now().Add(connectWait))
	_, err := s.Write(frame.AppendMasked(make([]byte, 0, len(payload)+16), op, payload, mask))
	return err
}

// resetByPeer ends the connection with an RST, which the gateway sees.
func (s *socket) sever() {
	_ = s.Conn.(*net.TCPConn).SetLinger(0)
	s.Close()
}

// backoff is the pause between attempts: full jitter up to a growing bound.
type backoff struct {
	attempt int
	random  *rand.Rand
}

// next is the pause after a connection that lasted so long; at least is what the
// gateway asked for.
func (b *backoff) next(lasted time.Duration, verdict protocol.Verdict, least time.Duration) time.Duration {
	if lasted > lastedLong && verdict != protocol.ComeBackLater {
		b.attempt = 0
	}
	most := min(backoffCap, backoffBase<<min(b.attempt, 10))
	b.attempt++
	return least + time.Duration(b.random.Int64N(int64(most)))
}

// wait pauses, unless ctx ends.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
