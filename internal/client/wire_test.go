package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// wire is the gateway's side of a conversation: attempts to connect that wait for
// their answer, and the one connection at hand.
type wire struct {
	t     *testing.T
	tasks sync.WaitGroup

	mu       sync.Mutex
	attempts []*attempt
	pending  *attempt // the one that a step took
	conn     net.Conn // nil: there was none yet
	frames   []any    // of the client, not taken yet
	gone     bool     // the client ended the connection
	code     uint16   // its close code
}

type attempt struct {
	conn net.Conn
	head []byte
	req  *http.Request
}

func newWire(t *testing.T) *wire { return &wire{t: t} }

// dial is the client's NetDial.
func (w *wire) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	w.tasks.Go(func() {
		var head bytes.Buffer
		req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(far, &head)))
		if err != nil {
			far.Close()
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.attempts = append(w.attempts, &attempt{conn: far, head: head.Bytes(), req: req})
	})
	return near, nil
}

func (w *wire) close() {
	w.mu.Lock()
	ends := w.attempts
	if w.pending != nil {
		ends = append(ends, w.pending)
	}
	if w.conn != nil {
		ends = append(ends, &attempt{conn: w.conn})
	}
	w.mu.Unlock()
	for _, a := range ends {
		a.conn.Close()
	}
	w.tasks.Wait()
}

func (w *wire) quiet() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case len(w.attempts) > 0:
		return errors.New("the client connects")
	case len(w.frames) > 0:
		return fmt.Errorf("frame %v", w.frames[0])
	}
	return nil
}

// gateway takes a step that is the gateway's.
func (k *talk) gateway(s step) error {
	w := k.wire
	switch {
	case s.Dial != nil:
		return w.dialed(s.Dial.After, s.Dial.Within, k.filled(s.Dial.Token).(string))
	case s.Refuse != nil:
		w.pending.conn.Close()
		w.pending = nil
		return nil
	case s.Welcome != nil:
		return w.welcome(*s.Welcome)
	case s.Send != nil:
		s.Send["version"] = 1
		return w.write(frame.OpText, encoded(k.filled(s.Send)))
	case s.Recv != nil:
		got, err := w.received(s.NotBefore, s.Within)
		if err != nil {
			return err
		}
		return k.match(s.Recv, got)
	case s.Close != nil:
		return w.write(frame.OpClose, frame.AppendCloseBody(nil, s.Close.Code, s.Close.Reason))
	case s.Cut:
		return w.conn.Close()
	case s.Ends != nil:
		return w.ended(s.Ends.Code, s.Ends.Within)
	}
	return errors.New("the step says nothing that is known")
}

// met waits until there is what is looked for: not before so many milliseconds
// and not after so many.
func met(notBefore, within int, there func() bool) error {
	if notBefore > 0 {
		after(ms(notBefore - 1))
		if there() {
			return errors.New("too early")
		}
		after(ms(1))
	}
	for n := notBefore; !there(); n++ {
		if n >= within {
			return fmt.Errorf("not there after %d ms", n)
		}
		after(ms(1))
	}
	return nil
}

func (w *wire) dialed(after, within int, token string) error {
	err := met(after, max(within, after+1), func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.attempts) > 0
	})
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending, w.attempts = w.attempts[0], w.attempts[1:]
	if len(w.frames) > 0 {
		return fmt.Errorf("before it came the frame %v", w.frames[0])
	}
	if got := w.pending.req.Header.Get("Authorization"); token != "" && got != "Bearer "+token {
		return fmt.Errorf("it shows %q", got)
	}
	return nil
}

func (w *wire) welcome(with map[string]any) error {
	a := w.pending
	w.pending = nil
	upgrader := ws.Upgrader{Protocol: func(p []byte) bool { return string(p) == protocol.Subprotocol }}
	var answer bytes.Buffer
	_, err := upgrader.Upgrade(struct {
		io.Reader
		io.Writer
	}{bytes.NewReader(a.head), &answer})
	if err != nil {
		return err
	}
	payload := map[string]any{
		"connection": "c1", "user": "guest-1", "gateway": "gw",
		"heartbeat": map[string]any{"interval_ms": 25000, "timeout_ms": 60000},
		"limits":    map[string]any{"message_bytes": 65536, "rooms": 100},
	}
	for name, value := range with {
		payload[name] = value
	}
	w.mu.Lock()
	w.conn, w.gone, w.code = a.conn, false, 0
	w.mu.Unlock()
	w.tasks.Go(func() { w.read(a.conn) })
	if _, err := a.conn.Write(answer.Bytes()); err != nil {
		return err
	}
	return w.write(frame.OpText, encoded(map[string]any{"type": "welcome", "version": 1, "payload": payload}))
}

func (w *wire) write(op frame.Opcode, payload []byte) error {
	_, err := w.conn.Write(frame.AppendFrame(nil, op, payload))
	return err
}

// read takes what the client sends until it ends the connection.
func (w *wire) read(conn net.Conn) {
	var frames frame.Reader
	var in []byte
	buffer := make([]byte, 4096)
	for {
		e, n, err := frames.Next(in, &frame.ReaderConfig{})
		in = in[n:]
		switch {
		case err != nil:
			w.t.Errorf("the client sent a bad frame: %v", err)
			return
		case e.Kind == frame.Text:
			var got any
			if err := json.Unmarshal(e.Payload, &got); err != nil {
				w.t.Errorf("the client sent no JSON: %v", err)
			}
			w.mu.Lock()
			w.frames = append(w.frames, got)
			w.mu.Unlock()
		case e.Kind == frame.Close:
			w.mu.Lock()
			w.gone, w.code = true, e.Code
			w.mu.Unlock()
			_, _ = conn.Write(frame.AppendClose(nil, e.Code, ""))
			conn.Close()
			return
		case e.Kind == frame.NeedMore:
			got, err := conn.Read(buffer)
			if err != nil {
				w.mu.Lock()
				w.gone = true
				w.mu.Unlock()
				conn.Close()
				return
			}
			in = bytes.Clone(buffer[:got])
		}
	}
}

func (w *wire) received(notBefore, within int) (any, error) {
	err := met(notBefore, within, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.frames) > 0
	})
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.frames[0]
	w.frames = w.frames[1:]
	return got, nil
}

func (w *wire) ended(code uint16, within int) error {
	err := met(0, within, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.pending != nil { // no welcome was sent: the attempt is what ends
			_ = w.pending.conn.SetReadDeadline(time.Now())
			_, err := w.pending.conn.Read(make([]byte, 1))
			return errors.Is(err, io.EOF)
		}
		return w.gone
	})
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pending != nil {
		w.pending.conn.Close()
		w.pending = nil
		return nil
	}
	if code != 0 && code != w.code {
		return fmt.Errorf("it ended with %d", w.code)
	}
	return nil
}

func encoded(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // it was JSON
	}
	return text
}

// filled is what is sent, with what each $name stands for.
func (k *talk) filled(v any) any {
	switch v := v.(type) {
	case string:
		if known, ok := k.bound[v]; ok {
			return known
		}
	case []string:
		filled := make([]string, len(v))
		for i, value := range v {
			filled[i] = k.filled(value).(string)
		}
		return filled
	case map[string]any:
		filled := map[string]any{}
		for name, value := range v {
			filled[name] = k.filled(value)
		}
		return filled
	}
	return v
}

// match tells what of want is not in got, and learns what each $name stands for.
func (k *talk) match(want, got any) error {
	var plain any
	if err := json.Unmarshal(encoded(got), &plain); err != nil {
		return err
	}
	if err := k.found("", want, plain); err != nil {
		return fmt.Errorf("%w: got %s", err, encoded(got))
	}
	return nil
}

func (k *talk) found(where string, want, got any) error {
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is no object", where)
		}
		for name, value := range want {
			there, ok := object[name]
			if value == nil && ok {
				return fmt.Errorf("%s.%s is there", where, name)
			}
			if value == nil {
				continue
			}
			if err := k.found(where+"."+name, value, there); err != nil {
				return err
			}
		}
		return nil
	case []any:
		array, ok := got.([]any)
		if !ok || len(array) != len(want) {
			return fmt.Errorf("%s is no array of %d", where, len(want))
		}
		for i := range want {
			if err := k.found(fmt.Sprintf("%s[%d]", where, i), want[i], array[i]); err != nil {
				return err
			}
		}
		return nil
	case string:
		text, ok := got.(string)
		if known, is := k.bound[want]; is {
			want = known
		} else if strings.HasPrefix(want, "$") && ok && text != "" {
			k.bound[want] = text
			return nil
		}
		if text != want {
			return fmt.Errorf("%s is not %q", where, want)
		}
		return nil
	}
	if !reflect.DeepEqual(want, got) {
		return fmt.Errorf("%s is not %v", where, want)
	}
	return nil
}
