package loop

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/fanfare-ws/fanfare/internal/frame"
)

// client is the other end, in plain bytes.
type client struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func (s *server) dial() *client {
	s.t.Helper()
	conn, err := s.tryDial()
	if err != nil {
		s.t.Fatal(err)
	}
	s.dialed++
	s.t.Cleanup(func() { conn.Close() })
	return &client{Conn: conn, t: s.t, r: bufio.NewReader(conn)}
}

// tryDial connects as the server has it, by TLS or not.
func (s *server) tryDial() (net.Conn, error) {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if s.terminator == nil {
		return conn, nil
	}
	secure := tls.Client(conn, clientTLS)
	if err := secure.Handshake(); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// headsBegun says whether all that was dialed is on the loop, and whatever is in
// its handshake has sent a part of it.
func (s *server) headsBegun() bool {
	for _, c := range s.loop.slots {
		if c != nil && c.state == handshaking && c.partial == nil {
			return false
		}
	}
	return connIDs.Load()-s.firstID == s.dialed
}

// request is a handshake, with more header lines.
func request(lines ...string) []byte {
	return []byte("GET /ws HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
		strings.Join(append(lines, "\r\n"), "\r\n"))
}

func init() {
	if !bytes.HasSuffix(request(), []byte("13\r\n\r\n")) {
		panic("a head that does not end")
	}
}

// connect returns an open client, and its connection on the loop.
func (s *server) connect() *client {
	s.t.Helper()
	c := s.dial()
	c.write(request())
	c.wantUpgrade()
	return c
}

func (c *client) write(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) send(op frame.Opcode, payload string) {
	c.t.Helper()
	c.write(masked(op, payload))
}

func masked(op frame.Opcode, payload string) []byte {
	return frame.AppendMasked(nil, op, []byte(payload), [4]byte{1, 2, 3, 4})
}

// head reads an HTTP response head.
func (c *client) head() string {
	c.t.Helper()
	var b strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("response head %q: %v", b.String(), err)
		}
		if line == "\r\n" {
			return b.String()
		}
		b.WriteString(line)
	}
}

func (c *client) wantUpgrade() {
	c.t.Helper()
	if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 101 ") || !strings.Contains(head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
		c.t.Fatalf("no upgrade: %q", head)
	}
}

// wantRefusal reads an HTTP answer and the socket's orderly end.
func (c *client) wantRefusal(status int, word string) {
	c.t.Helper()
	all, err := io.ReadAll(c.r)
	if err != nil {
		c.t.Fatalf("after %q: %v", all, err)
	}
	if !strings.HasPrefix(string(all), fmt.Sprintf("HTTP/1.1 %d ", status)) || !strings.Contains(string(all), word) {
		c.t.Fatalf("got %q, want %d with %q", all, status, word)
	}
}

func (c *client) frame() ws.Frame {
	c.t.Helper()
	f, err := readFrame(c.r)
	if err != nil {
		c.t.Fatalf("frame: %v", err)
	}
	return f
}

func (c *client) want(op frame.Opcode, payload string) {
	c.t.Helper()
	if f := c.frame(); f.Header.OpCode != op || string(f.Payload) != payload {
		c.t.Fatalf("got frame %x %q, want %x %q", f.Header.OpCode, f.Payload, op, payload)
	}
}

// wantClose reads a close frame. Code 1005 is one without a body.
func (c *client) wantClose(code uint16) {
	c.t.Helper()
	f := c.frame()
	got := frame.CodeNoStatus
	if len(f.Payload) > 0 {
		status, _ := ws.ParseCloseFrameData(f.Payload)
		got = uint16(status)
	}
	if f.Header.OpCode != frame.OpClose || got != code {
		c.t.Fatalf("got frame %x %q, want a close of %d", f.Header.OpCode, f.Payload, code)
	}
}

// wantEnd reads the socket's orderly end: no reset.
func (c *client) wantEnd() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		c.t.Fatalf("got byte %x, error %v, want the end", b, err)
	}
}

// readFrame reads a whole frame from the server.
func readFrame(r io.Reader) (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(r); err != nil {
		return f, err
	}
	f.Payload = make([]byte, f.Header.Length)
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}
