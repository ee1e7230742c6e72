package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeGateway answers what a client dials, over in-memory pipes, so that a test
// inside a synctest bubble has the clock in hand. Each socket goes to the next
// of its scripts; past the last one, dialing fails.
type fakeGateway struct {
	t       *testing.T
	mu      sync.Mutex
	scripts []func(*fakeConn)
	dialed  []time.Time
	tasks   sync.WaitGroup
}

var errNoScript = errors.New("connection refused")

// gateway makes a fake gateway and a configuration that dials it.
func gateway(t *testing.T, scripts ...func(*fakeConn)) (*fakeGateway, Config) {
	g := &fakeGateway{t: t, scripts: scripts}
	t.Cleanup(g.tasks.Wait)
	return g, Config{
		URL: "http://gateway.test",
		NetDial: func(context.Context, string, string) (net.Conn, error) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.dialed = append(g.dialed, time.Now())
			if len(g.scripts) == 0 {
				return nil, errNoScript
			}
			script := g.scripts[0]
			g.scripts = g.scripts[1:]
			near, far := net.Pipe()
			g.tasks.Go(func() {
				defer far.Close()
				script(&fakeConn{t: t, Conn: far})
			})
			return near, nil
		},
		// The longest wait that is allowed, so that tests can tell it.
		Jitter: func(ceiling time.Duration) time.Duration { return ceiling },
	}
}

// waits returns the times between the attempts so far.
func (g *fakeGateway) waits() []time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	var ds []time.Duration
	for i := 1; i < len(g.dialed); i++ {
		ds = append(ds, g.dialed[i].Sub(g.dialed[i-1]))
	}
	return ds
}

// fakeConn is the gateway's end of one connection.
type fakeConn struct {
	net.Conn
	t       *testing.T
	head    *http.Request
	frames  frame.Reader
	in      []byte
	decoder protocol.Decoder
}

// upgrade answers the handshake; behind goes out in the same write.
func (f *fakeConn) upgrade(behind ...byte) {
	var answer bytes.Buffer
	upgrader := ws.Upgrader{
		Protocol: func(p []byte) bool { return string(p) == protocol.Subprotocol },
	}
	var head bytes.Buffer
	_, err := upgrader.Upgrade(struct {
		io.Reader
		io.Writer
	}{io.TeeReader(f.Conn, &head), &answer})
	if err != nil {
		f.t.Errorf("upgrade: %v", err)
	}
	f.head, _ = http.ReadRequest(bufio.NewReader(&head))
	f.write(append(answer.Bytes(), behind...))
}

func (f *fakeConn) refuse(answer string) {
	if _, err := http.ReadRequest(bufio.NewReader(f.Conn)); err != nil {
		f.t.Errorf("request: %v", err)
	}
	f.write([]byte(answer))
}

// welcome upgrades and says welcome, with a heartbeat of 25 and 60 seconds.
func (f *fakeConn) welcome() {
	f.upgrade(text(protocol.AppendWelcome(nil, welcome))...)
}

var welcome = protocol.Welcome{Connection: "c1", Gateway: "gw", HeartbeatInterval: 25 * time.Second,
	HeartbeatTimeout: 60 * time.Second, MessageBytes: 1000}

func text(envelope []byte) []byte { return frame.AppendFrame(nil, frame.OpText, envelope) }

func (f *fakeConn) write(b []byte) {
	_, _ = f.Conn.Write(b) // a client that has gone is the test's affair
}

// send sends envelopes in one write.
func (f *fakeConn) send(envelopes ...[]byte) {
	var b []byte
	for _, e := range envelopes {
		b = frame.AppendFrame(b, frame.OpText, e)
	}
	f.write(b)
}

func (f *fakeConn) message(room string, seq uint64) {
	f.send(message(room, "e1", seq))
}

func message(room, epoch string, seq uint64) []byte {
	return protocol.AppendMessage(nil, &protocol.Message{Room: room, Epoch: epoch, Seq: seq, From: "u", Data: []byte("1")})
}

// frame returns the next frame of the client; Close when it has gone.
func (f *fakeConn) frame() frame.Event {
	buffer := make([]byte, 4096)
	for {
		e, n, err := f.frames.Next(f.in, &frame.ReaderConfig{})
		f.in = f.in[n:]
		if err != nil {
			f.t.Errorf("the client sent a bad frame: %v", err)
			return frame.Event{Kind: frame.Close}
		}
		if e.Kind != frame.NeedMore {
			return e
		}
		got, err := f.Read(buffer)
		if err != nil {
			return frame.Event{Kind: frame.Close, Code: protocol.CloseAbnormal}
		}
		f.in = bytes.Clone(buffer[:got])
	}
}

// request returns the next request of the client, which must be of that type.
func (f *fakeConn) request(want protocol.Type) protocol.Request {
	e := f.frame()
	var r protocol.Request
	if e.Kind != frame.Text {
		f.t.Errorf("got a frame of kind %d code %d, want %v", e.Kind, e.Code, want)
		return r
	}
	if err := f.decoder.Decode(bytes.Clone(e.Payload), &r); err != nil || r.Type != want {
		f.t.Errorf("got %s, %v, want %v", e.Payload, err, want)
	}
	return r
}

// joined answers a join with where the connection then stands.
func (f *fakeConn) joined(at protocol.Position, recovery protocol.Recovery) protocol.Request {
	r := f.request(protocol.TypeJoin)
	f.send(protocol.AppendJoined(nil, r.ID, protocol.Joined{Room: string(r.Room), Position: at, Recovery: recovery}))
	return r
}

func (f *fakeConn) close(code uint16) {
	f.write(frame.AppendClose(nil, code, "test"))
	if e := f.untilGone(); e.Code != code {
		f.t.Errorf("close %d was answered with %d", code, e.Code)
	}
}

// untilGone reads, and answers a close, until the client has
// gone; it returns that close.
func (f *fakeConn) untilGone() frame.Event {
	for {
		e := f.frame()
		if e.Kind == frame.Close {
			if e.Code != protocol.CloseAbnormal {
				f.write(frame.AppendClose(nil, e.Code, ""))
			}
			return e
		}
	}
}

// record collects events.
type record struct {
	mu     sync.Mutex
	events []Event
}

func (r *record) add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// of returns the events of one type.
func of[E Event](r *record) []E {
	r.mu.Lock()
	defer r.mu.Unlock()
	var es []E
	for _, e := range r.events {
		if e, ok := e.(E); ok {
			es = append(es, e)
		}
	}
	return es
}

func seqs(r *record) []uint64 {
	var ns []uint64
	for _, m := range of[Message](r) {
		ns = append(ns, m.Seq)
	}
	return ns
}

// run runs a client until the test has looked, and returns Run's error.
func run(t *testing.T, g *fakeGateway, cfg Config, look func(c *Client)) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- c.Run(ctx) }()
	synctest.Wait()
	look(c)
	cancel()
	err = <-result
	g.tasks.Wait() // so that the test may read what its scripts wrote
	return err
}

// after lets the bubble's clock advance.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
