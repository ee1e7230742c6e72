package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/gateway"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

const (
	// insideBuffer is what one read from the gateway takes.
	insideBuffer = 4 << 10
	// insideWait bounds the gateway's answers; a join waits for its room's log.
	insideWait = 15 * time.Second
	// insideID is that of the one request.
	insideID = "1"
)

// inside is a connection to the own gateway, as a client's. It belongs to the
// goroutine that serves that client; only Close may be called from others.
type inside struct {
	net.Conn
	reader    frame.ClientReader
	in        []byte // was read and has not been parsed
	buf       []byte
	out       []byte
	heartbeat heartbeat
	// messageBytes is the limit of a message to the gateway; 0: none.
	messageBytes int64
	code         uint16 // of the gateway's close frame; 0: none came
	reason       string
}

// heartbeat is what the welcome says of it.
type heartbeat struct{ interval, timeout time.Duration }

// errEnded is that the gateway has closed the connection.
var errEnded = errors.New("the gateway has ended the connection")

// dialInside opens a connection and waits for the welcome. A refused handshake is
// a problem.
func dialInside(r *http.Request) (*inside, *problem) {
	conn, err := gateway.Attach(r)
	if err != nil {
		return nil, unavailable("this gateway takes no more")
	}
	c := &inside{Conn: conn, buf: make([]byte, insideBuffer)}
	_ = conn.SetDeadline(time.Now().Add(insideWait)) // what follows tells if it failed
	if p := c.handshake(r); p != nil {
		_ = conn.Close()
		return nil, p
	}
	m, err := c.next()
	if err != nil || m.Type != protocol.ServerWelcome {
		_ = conn.Close()
		return nil, unavailable("this gateway does not answer")
	}
	c.heartbeat = heartbeat{interval: m.Welcome.HeartbeatInterval, timeout: m.Welcome.HeartbeatTimeout}
	c.messageBytes = m.Welcome.MessageBytes
	return c, nil
}

// handshake passes on who the client says that it is, and from which page.
func (c *inside) handshake(r *http.Request) *problem {
	query := r.URL.Query()
	for _, ours := range []string{"room", "since", "last", "presence"} {
		query.Del(ours)
	}
	target := url.URL{Path: gateway.PathWS, RawQuery: query.Encode()}
	header := http.Header{
		"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"},
		// Nobody is between the two who has to be convinced.
		"Sec-Websocket-Key": {"ZmFuZmFyZSBpbnNpZGUuLg=="}, "Sec-Websocket-Protocol": {protocol.Subprotocol},
	}
	for _, name := range []string{"Origin", "Authorization"} {
		if values := r.Header.Values(name); len(values) > 0 {
			header[name] = values
		}
	}
	if proto := gateway.ForwardedProto(r); proto != "" {
		header.Set("X-Forwarded-Proto", proto)
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "GET %s HTTP/1.1\r\nHost: %s\r\n", target.RequestURI(), r.Host)
	_ = header.Write(&head) // to memory
	head.WriteString("\r\n")
	if _, err := c.Write(head.Bytes()); err != nil {
		return unavailable("this gateway takes no more")
	}
	read := bufio.NewReaderSize(c, insideBuffer)
	answer, err := http.ReadResponse(read, nil)
	if err != nil {
		return unavailable("this gateway takes no more")
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return refusedInside(answer)
	}
	early, _ := read.Peek(read.Buffered())
	c.in = early
	return nil
}

// codes are those of section 2 for what a handshake is refused with. Too many is
// limit_exceeded where the gateway says so.
var codes = map[int]protocol.Code{
	http.StatusBadRequest:      protocol.InvalidRequest,
	http.StatusUnauthorized:    protocol.Unauthorized,
	http.StatusForbidden:       protocol.Forbidden,
	http.StatusTooManyRequests: protocol.RateLimited,
}

// refusedInside is a handshake's refusal as the answer to the request.
func refusedInside(answer *http.Response) *problem {
	var body struct {
		Error struct{ Code, Message string }
	}
	err := json.NewDecoder(answer.Body).Decode(&body)
	_ = answer.Body.Close()
	code, ok := codes[answer.StatusCode]
	if err != nil || !ok {
		return unavailable(body.Error.Message)
	}
	if body.Error.Code == string(protocol.LimitExceeded) {
		code = protocol.LimitExceeded
	}
	p := &problem{status: answer.StatusCode, code: code, detail: body.Error.Message}
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil {
		p.retryAfter = time.Duration(seconds) * time.Second
	}
	if challenge := answer.Header.Get("WWW-Authenticate"); challenge != "" {
		p.header, p.value = "WWW-Authenticate", challenge
	}
	return p
}

// join joins the room; what follows in it comes from parse and fill, in its own
// time.
func (c *inside) join(j protocol.Join) (protocol.Joined, *problem) {
	_ = c.SetDeadline(time.Now().Add(insideWait)) // what follows tells if it failed
	defer func() { _ = c.SetDeadline(time.Time{}) }()
	if err := c.send(frame.OpText, protocol.AppendJoin(nil, insideID, j)); err != nil {
		return protocol.Joined{}, unavailable("this gateway takes no more")
	}
	m, p := c.reply()
	return m.Joined, p
}

// reply waits for the reply to the one request.
func (c *inside) reply() (protocol.Server, *problem) {
	for {
		m, err := c.next()
		switch {
		case err != nil, m.Type == protocol.ServerReconnect:
			return m, unavailable("this gateway is going away")
		case m.ID == insideID && m.Err != nil:
			p := refused(m.Err)
			if m.Err.Code == protocol.LimitExceeded {
				p.status = http.StatusTooManyRequests // of connections, not of bytes
			}
			return m, p
		case m.ID == insideID:
			return m, nil
		}
	}
}

// next returns the next message of the gateway. errEnded: it has said goodbye, or
// gone.
func (c *inside) next() (protocol.Server, error) {
	for {
		m, _, err := c.parse()
		if err != nil || m.Type != "" {
			return m, err
		}
		if err := c.fill(); err != nil {
			return m, err
		}
	}
}

// parse returns the next message of what was read, and its payload as it stands,
// which is valid until fill. One without a type is none: there is no more. It
// answers pings.
func (c *inside) parse() (m protocol.Server, payload []byte, err error) {
	for len(c.in) > 0 {
		event, n, err := c.reader.Next(c.in, &frame.ReaderConfig{})
		c.in = c.in[n:]
		if err != nil {
			return m, nil, err
		}
		if event.Kind == frame.Text {
			m, err := protocol.DecodeServer(event.Payload)
			return m, protocol.Payload(event.Payload), err
		}
		if err := c.control(event); err != nil {
			return m, nil, err
		}
	}
	return m, nil, nil
}

// fill reads what there is.
func (c *inside) fill() error {
	n, err := c.Read(c.buf)
	c.in = c.buf[:n]
	if n > 0 {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return errEnded
	}
	return err
}

func (c *inside) control(event frame.Event) error {
	switch event.Kind {
	case frame.Ping:
		return c.send(frame.OpPong, event.Payload)
	case frame.Close:
		c.code, c.reason = event.Code, string(event.Payload)
		_ = c.send(frame.OpClose, frame.AppendCloseBody(nil, event.Code, "")) // it ends in any case
		return errEnded
	}
	return nil
}

// send sends one frame. The gateway reads whatever comes, so that it does not
// wait. The mask, which keeps what scripts send from being taken for a request by
// a proxy (RFC 6455 section 10.3), has no one to guard against here.
func (c *inside) send(op frame.Opcode, payload []byte) error {
	c.out = frame.AppendMasked(c.out[:0], op, payload, [4]byte{})
	_, err := c.Write(c.out)
	return err
}

// leave ends what the gateway has left open, for the reason that it would close with.
func (c *inside) leave(code uint16, reason string) {
	c.goodbye()
	c.code, c.reason = code, reason
}

// end says goodbye, as a page does that goes away, and closes.
func (c *inside) end() {
	if c.code == 0 {
		c.goodbye()
	}
	_ = c.Close()
}

func (c *inside) goodbye() {
	_ = c.SetDeadline(time.Now().Add(time.Second)) // Write tells if it failed
	_ = c.send(frame.OpClose, frame.AppendCloseBody(nil, protocol.CloseGoingAway, ""))
}
