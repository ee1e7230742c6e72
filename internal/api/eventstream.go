package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

const (
	// quietMost is after how long without an event a comment is sent: proxies end
	// what is quiet for longer, many after 30 s.
	quietMost = 25 * time.Second
	// Who is cut off comes back after a time from comebackLeast to that plus
	// comebackSpread, so that a gateway's streams do not all come at once.
	comebackLeast  = 500 * time.Millisecond
	comebackSpread = 2 * time.Second
	// eventsKept is the largest buffer that a stream keeps from one write to the next.
	eventsKept = 16 << 10
)

// eventStream is the answer to one request, written by its goroutine alone.
type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	out     []byte // not yet written
	quiet   time.Duration
	timeout time.Duration // in which the client has to take what is written
	written time.Time     // when something last was
}

func newEventStream(w http.ResponseWriter, h heartbeat) *eventStream {
	return &eventStream{w: w, control: http.NewResponseController(w), quiet: min(h.interval, quietMost), timeout: h.timeout}
}

// head begins the answer.
func (s *eventStream) head() {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx passes on what comes when it comes
	h.Set("X-Content-Type-Options", "nosniff")
	s.w.WriteHeader(http.StatusOK)
}

// serve writes what comes until one side ends.
func (s *eventStream) serve(ctx context.Context, conn *inside, j protocol.Joined) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	s.retry(comebackLeast + rand.N(comebackSpread))
	s.event("joined", j.Position, protocol.Payload(protocol.AppendJoined(nil, nil, j)))
	for {
		err := s.take(conn)
		if failed := s.flush(); failed != nil {
			return
		}
		if err == nil {
			err = s.await(conn)
		}
		if err != nil {
			s.farewell(conn, err)
			return
		}
	}
}

// take appends what has come from the gateway.
func (s *eventStream) take(conn *inside) error {
	for {
		m, payload, err := conn.parse()
		if err != nil || m.Type == "" {
			return err
		}
		if m.Type == protocol.ServerLeft {
			// Nobody has asked for it: who is in the room may not be any more. A stream
			// has no other room, and would be silent for ever.
			conn.leave(protocol.ClosePolicy, "joining this room is not allowed any more")
			return errEnded
		}
		s.message(&m, payload)
	}
}

// await waits for more, and says with a comment that there was nothing to write
// for long.
func (s *eventStream) await(conn *inside) error {
	_ = conn.SetReadDeadline(s.written.Add(s.quiet)) // Read tells if it failed
	err := conn.fill()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.out = append(s.out, ":\n\n"...)
		return nil
	}
	return err
}

// message appends what a message of the gateway is as an event. The id is where
// the stream then stands, so that Last-Event-ID resumes behind it.
func (s *eventStream) message(m *protocol.Server, payload []byte) {
	switch m.Type {
	case protocol.ServerMessage:
		s.event("", protocol.Position{Epoch: m.Message.Epoch, Seq: m.Message.Seq}, payload)
	case protocol.ServerGap:
		s.event(m.Type, protocol.Position{Epoch: m.Gap.Epoch, Seq: m.Gap.To}, payload)
	case protocol.ServerReset:
		s.event(m.Type, m.Reset.Position, payload)
	case protocol.ServerPresence:
		s.event(m.Type, protocol.Position{}, payload)
	case protocol.ServerReconnect:
		s.retry(m.Reconnect.After)
		s.event(m.Type, protocol.Position{}, payload)
	}
}

// closing is the data of the event close: a code of section 7 of the protocol.
type closing struct {
	Code   uint16 `json:"code"`
	Reason string `json:"reason"`
}

// farewell says why the gateway ended the stream, unless it has said so.
func (s *eventStream) farewell(conn *inside, err error) {
	if !errors.Is(err, errEnded) {
		return // the client has gone
	}
	if conn.code != 0 && conn.code != protocol.CloseRestart {
		text, _ := json.Marshal(closing{Code: conn.code, Reason: conn.reason}) // a number and a word
		s.event("close", protocol.Position{}, text)
	}
	_ = s.flush() // it is over in any case
}

// retry appends after how long the client is to come back.
func (s *eventStream) retry(after time.Duration) {
	s.out = append(s.out, "retry: "...)
	s.out = strconv.AppendInt(s.out, after.Milliseconds(), 10)
	s.out = append(s.out, "\n\n"...)
}

// event appends an event. An empty name is message; a position without an epoch
// is none.
func (s *eventStream) event(name string, at protocol.Position, data []byte) {
	if at.Epoch != "" {
		s.out = append(s.out, "id: "...)
		s.out = append(s.out, at.String()...)
		s.out = append(s.out, '\n')
	}
	if name != "" {
		s.out = append(s.out, "event: "...)
		s.out = append(s.out, name...)
		s.out = append(s.out, '\n')
	}
	s.out = appendData(s.out, data)
	s.out = append(s.out, '\n')
}

// appendData appends a line for each of data's. A line ends with LF, CR or both;
// the client joins them with LF, which in JSON is as good: there are none but
// between values.
func appendData(dst, data []byte) []byte {
	for more := true; more; {
		var line []byte
		end := bytes.IndexAny(data, "\r\n")
		if more = end >= 0; more {
			line = data[:end]
			if data[end] == '\r' && end+1 < len(data) && data[end+1] == '\n' {
				end++
			}
			data = data[end+1:]
		} else {
			line = data
		}
		dst = append(dst, "data: "...)
		dst = append(dst, line...)
		dst = append(dst, '\n')
	}
	return dst
}

// flush sends what there is. A client that does not take it in time is given up;
// the server's own timeout is that of short answers.
func (s *eventStream) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	s.written = time.Now()
	if err := s.control.SetWriteDeadline(s.written.Add(s.timeout)); err != nil {
		return err
	}
	_, err := s.w.Write(s.out)
	if s.out = s.out[:0]; cap(s.out) > eventsKept {
		s.out = nil
	}
	if err != nil {
		return err
	}
	return s.control.Flush()
}
