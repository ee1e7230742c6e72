package gateway

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// client is a WebSocket client that reads only when it is told to.
type client struct {
	t       testing.TB
	conn    net.Conn
	reader  frame.ClientReader
	config  frame.ReaderConfig
	buf     []byte
	in      []byte // read and not yet parsed
	out     []byte
	raw     []byte // the payload of what next returned
	pongs   int
	code    uint16 // of the close frame; 0: none yet
	ended   bool   // nothing more will come
	welcome protocol.Welcome
	ledger  *ledger // made by ledgerOf
}

// dialing is how a client connects.
type dialing struct {
	path    string // and query; empty: /ws
	headers []string
	deflate bool
	small   bool // a small receive buffer
}

func (d dialing) request(host string) string {
	if d.path == "" {
		d.path = PathWS
	}
	lines := append([]string{"GET " + d.path + " HTTP/1.1", "Host: " + host, "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}, d.headers...)
	if d.deflate {
		lines = append(lines, "Sec-WebSocket-Extensions: permessage-deflate")
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// quiet connects and sends the handshake, and does not wait for the answer.
func (s *service) quiet(d dialing) (*client, error) {
	dialer := net.Dialer{Timeout: patience}
	if d.small {
		dialer.Control = func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
		}
	}
	conn, err := s.reach(dialer)
	if err != nil {
		return nil, err
	}
	if _, err = io.WriteString(conn, d.request(s.addr)); err != nil {
		conn.Close()
	}
	return &client{t: s.t, conn: conn, buf: make([]byte, 16<<10), config: frame.ReaderConfig{Binary: true, Deflate: d.deflate}}, err
}

// reach connects as the gateway has it, by TLS or not, with a deadline.
func (s *service) reach(dialer net.Dialer) (net.Conn, error) {
	conn, err := dialer.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if s.tls == nil {
		return conn, nil
	}
	secure := tls.Client(conn, s.tls)
	if err := secure.Handshake(); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// raw is a connection on which nothing has been said.
func (s *service) raw() net.Conn {
	s.t.Helper()
	conn, err := s.reach(net.Dialer{Timeout: patience})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

// web is a client of HTTP that keeps no connection.
func (s *service) web() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: s.tls}, Timeout: patience}
}

// handshake connects and returns the answer, whatever it is.
func (s *service) handshake(d dialing) (*client, *http.Response) {
	s.t.Helper()
	c, err := s.quiet(d)
	if err != nil {
		s.t.Fatal(err)
	}
	conn := c.conn
	s.t.Cleanup(func() { conn.Close() })
	res, err := c.answer()
	if err != nil {
		s.t.Fatalf("answer of the handshake: %v", err)
	}
	return c, res
}

// answer reads the answer of the handshake.
func (c *client) answer() (*http.Response, error) {
	r := bufio.NewReaderSize(c.conn, 4096)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		buffered, _ := r.Peek(r.Buffered())
		c.in = bytes.Clone(buffered)
		return res, nil
	}
	defer c.conn.Close()
	c.raw, err = io.ReadAll(res.Body)
	return res, err
}

// connect is a handshake that must succeed, and the welcome.
func (s *service) connect(d dialing) *client {
	s.t.Helper()
	c, res := s.handshake(d)
	if res.StatusCode != http.StatusSwitchingProtocols {
		s.t.Fatalf("handshake: %s %s", res.Status, c.raw)
	}
	m := c.expect("welcome")
	c.welcome = m.Welcome
	return c
}

func (s *service) dial() *client {
	s.t.Helper()
	return s.connect(dialing{})
}

// write sends one frame.
func (c *client) write(op frame.Opcode, payload []byte) error {
	c.out = frame.AppendMasked(c.out[:0], op, payload, [4]byte{1, 2, 3, 4})
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := c.conn.Write(c.out)
	return err
}

func (c *client) send(text string) {
	c.t.Helper()
	if err := c.write(frame.OpText, []byte(text)); err != nil {
		c.t.Fatalf("send %.80s: %v", text, err)
	}
}

func (c *client) sendf(format string, args ...any) {
	c.t.Helper()
	c.send(fmt.Sprintf(format, args...))
}

// errQuiet says that nothing came within the time.
var errQuiet = errors.New("quiet")

// poll returns the next message, io.EOF when the connection has ended, or errQuiet.
func (c *client) poll(wait time.Duration) (protocol.Server, error) {
	for deadline := time.Now().Add(wait); ; {
		m, ok, err := c.parse()
		if ok || err != nil {
			return m, err
		}
		if c.ended || c.code != 0 {
			return m, io.EOF
		}
		_ = c.conn.SetReadDeadline(deadline)
		n, err := c.conn.Read(c.buf)
		c.in = append(c.in, c.buf[:n]...)
		switch {
		case n > 0:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return m, errQuiet
		default:
			c.ended = true
		}
	}
}

// parse takes one message out of what was read.
func (c *client) parse() (m protocol.Server, ok bool, err error) {
	for len(c.in) > 0 {
		ev, n, err := c.reader.Next(c.in, &c.config)
		if err != nil {
			return m, false, fmt.Errorf("the gateway violated RFC 6455: %w", err)
		}
		c.in = c.in[n:]
		switch ev.Kind {
		case frame.Text, frame.Binary:
			if c.code != 0 {
				return m, false, errors.New("a message after the close frame")
			}
			c.raw = append(c.raw[:0], ev.Payload...)
			if c.config.MessageBytes != 0 { // raw: the echo endpoint
				return m, true, nil
			}
			m, err = protocol.DecodeServer(ev.Payload)
			return m, err == nil, err
		case frame.Pong:
			c.pongs++
		case frame.Ping:
			_ = c.write(frame.OpPong, ev.Payload)
		case frame.Close:
			c.code = ev.Code
		}
	}
	return m, false, nil
}

// next is the next message, which must come.
func (c *client) next() protocol.Server {
	c.t.Helper()
	m, err := c.poll(patience)
	if err != nil {
		c.t.Fatalf("no message: %v (close code %d)", err, c.code)
	}
	return m
}

// expect is the next message, which must be of this type.
func (c *client) expect(kind string) protocol.Server {
	c.t.Helper()
	m := c.next()
	if m.Type != kind {
		c.t.Fatalf("want %s, got %.300s", kind, c.raw)
	}
	return m
}

// reply reads up to the reply with this request_id.
func (c *client) reply(id string) protocol.Server {
	c.t.Helper()
	for {
		if m := c.next(); m.ID == id {
			return m
		}
	}
}

// sync waits until all that was sent before it has been answered, and fails if
// anything else comes.
func (c *client) sync() {
	c.t.Helper()
	c.send(`{"type":"ping","request_id":"sync"}`)
	if m := c.expect("pong"); m.ID != "sync" {
		c.t.Fatalf("want the pong of sync, got %s", c.raw)
	}
}

// closed reads to the end and wants this close code.
func (c *client) closed(code uint16) {
	c.t.Helper()
	for {
		_, err := c.poll(patience)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.t.Fatalf("the connection did not end: %v", err)
		}
		if c.code != 0 {
			break
		}
	}
	if c.code != code {
		c.t.Fatalf("close code %d, want %d", c.code, code)
	}
}

// join joins and returns the reply.
func (c *client) join(name, more string) protocol.Joined {
	c.t.Helper()
	c.sendf(`{"type":"join","request_id":"j","payload":{"room":%q%s}}`, name, more)
	m := c.reply("j")
	if m.Type != "joined" || m.Joined.Room != name {
		c.t.Fatalf("join: %s", c.raw)
	}
	return m.Joined
}

// publish publishes and returns the position; the own messages in between are
// skipped.
func (c *client) publish(name, data string) protocol.Published {
	c.t.Helper()
	c.sendf(`{"type":"publish","request_id":"p","payload":{"room":%q,"data":%s}}`, name, data)
	m := c.reply("p")
	if m.Type != "published" {
		c.t.Fatalf("publish: %s", c.raw)
	}
	return m.Published
}

// fails sends a request and wants an error.
func (c *client) fails(request, code, field string) *protocol.Error {
	c.t.Helper()
	c.send(request)
	m := c.expect("error")
	if string(m.Err.Code) != code || m.Err.Field != field {
		c.t.Fatalf("%.100s: got %s, want code %q field %q", request, c.raw, code, field)
	}
	return m.Err
}

// messages wants the messages from..to of a room, and nothing between them.
func (c *client) messages(name string, from, to uint64) {
	c.t.Helper()
	for seq := from; seq <= to; seq++ {
		if m := c.expect("message"); m.Message.Room != name || m.Message.Seq != seq {
			c.t.Fatalf("want message %d of %s, got %.300s", seq, name, c.raw)
		}
	}
}

func since(epoch string, seq uint64) string {
	return `,"since":{"epoch":"` + epoch + `","seq":` + strconv.FormatUint(seq, 10) + `}`
}
