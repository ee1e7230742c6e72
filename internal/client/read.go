package client

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

var errNoWelcome = errors.New("the first frame is no welcome")

// read is the reader: it runs until the connection ends, and ends it.
func (c *Conn) read() {
	err := c.readAll()
	var fault *frame.CloseError
	if errors.As(err, &fault) {
		err = c.refuse(fault.Code, fault.Reason)
	}
	c.abort(err)
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.end()
	close(c.done)
}

// refuse ends the connection with a close code of this side's.
func (c *Conn) refuse(code uint16, reason string) error {
	err := &CloseError{Code: code, Reason: reason, Local: true}
	c.fail(err)
	_ = c.sendClose(c.ctx, code, reason)
	return err
}

func (c *Conn) readAll() error {
	in := c.nc.early
	buffer := make([]byte, c.cfg.ReadBuffer)
	for {
		for len(in) > 0 {
			event, n, err := c.frames.Next(in, &c.limits)
			in = in[n:]
			if err != nil {
				return err
			}
			if err := c.handle(event); err != nil {
				return err
			}
		}
		n, err := c.receive(buffer)
		if err != nil {
			return err
		}
		in = buffer[:n]
	}
}

// receive reads what there is, and watches the heartbeat meanwhile: after the
// interval without a byte it pings, after the timeout it gives up.
func (c *Conn) receive(buffer []byte) (int, error) {
	interval, timeout := c.welcome.HeartbeatInterval, c.welcome.HeartbeatTimeout
	wait, pinged := interval, false
	for {
		var deadline time.Time // none before the welcome: Dial has its own
		if interval > 0 {
			deadline = time.Now().Add(wait)
		}
		// Where it fails the socket has ended, and Read says how.
		_ = c.nc.SetReadDeadline(deadline)
		n, err := c.nc.Read(buffer)
		switch {
		case n > 0:
			return n, nil
		case err == io.EOF:
			return 0, io.ErrUnexpectedEOF // no close frame came before it
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return 0, err
		case time.Since(deadline) > time.Second:
			// This process stood still: what came meanwhile is read first.
		case pinged:
			return 0, ErrSilent
		default:
			if err := c.write(c.ctx, frame.OpText, protocol.AppendPing(nil, "")); err != nil {
				return 0, err
			}
			wait, pinged = max(timeout-interval, time.Second), true
		}
	}
}

func (c *Conn) handle(event frame.Event) error {
	switch event.Kind {
	case frame.Text:
		return c.text(event.Payload)
	case frame.Ping:
		if err := c.write(c.ctx, frame.OpPong, event.Payload); err != nil && !errors.Is(err, ErrClosed) {
			return err
		}
	case frame.Close:
		// RFC 6455 section 5.5.1: answered with the same code, then over.
		c.fail(&CloseError{Code: event.Code, Reason: string(event.Payload)})
		_ = c.sendClose(c.ctx, event.Code, "")
		return io.EOF
	}
	return nil
}

func (c *Conn) text(payload []byte) error {
	s, err := protocol.DecodeServer(payload)
	if !c.isWelcomed() {
		if err != nil || s.Type != protocol.ServerWelcome {
			return c.refuse(protocol.CloseProtocol, errNoWelcome.Error())
		}
		c.welcome = s.Welcome
		if key := s.Welcome.UsernameKey; key != "" {
			c.who.registered(s.Welcome.User, key)
		}
		c.emit(State{Status: Connected, Welcome: s.Welcome})
		close(c.welcomed)
		return nil
	}
	if err != nil {
		c.emit(Fault{Err: err})
		return nil
	}
	switch s.Type {
	case protocol.ServerMessage, protocol.ServerGap, protocol.ServerReset:
		events, ask := c.ledger.receive(s)
		c.emitAll(events)
		return c.fill(ask)
	case protocol.ServerPresence:
		c.emitAll(c.ledger.presence(s.Presence))
	case protocol.ServerRegistered:
		c.who.registered(s.Registered.Username, s.Registered.Key)
		c.emit(Registered{s.Registered})
	case protocol.ServerReconnect:
		c.log.Debug("gateway asks to reconnect", "after", s.Reconnect.After, "reason", s.Reconnect.Reason)
		c.reconnect.Store(int64(max(s.Reconnect.After, 1)))
	case protocol.ServerJoined:
		c.emitAll(c.ledger.joined(s.Joined))
	case protocol.ServerError:
		if s.ID == "" {
			c.emit(Fault{Err: fmt.Errorf("from the gateway: %w", s.Err)})
		}
	}
	if room, ok := c.filling[s.ID]; ok {
		return c.filled(room, s)
	}
	if s.ID != "" {
		c.answer(s)
	}
	return nil
}

// fill asks the history for what a gap lacks; nil: there is nothing to ask for.
func (c *Conn) fill(ask *protocol.HistoryRequest) error {
	if ask == nil {
		return nil
	}
	id := c.number()
	c.filling[id] = ask.Room
	err := c.write(c.ctx, frame.OpText, protocol.AppendHistoryRequest(nil, id, *ask))
	if errors.Is(err, ErrClosed) {
		return nil // what is on its way may still come
	}
	return err
}

// filled tells what a history has of a gap. It runs on the reader, so that what
// comes behind stays behind.
func (c *Conn) filled(room string, s protocol.Server) error {
	delete(c.filling, s.ID)
	var page *protocol.History
	if s.Type == protocol.ServerHistory {
		page = &s.History
	}
	events, ask := c.ledger.filled(room, page)
	c.emitAll(events)
	return c.fill(ask)
}

func (c *Conn) isWelcomed() bool {
	select {
	case <-c.welcomed:
		return true
	default:
		return false
	}
}

func (c *Conn) emitAll(events []Event) {
	for _, e := range events {
		c.emit(e)
	}
}

// answer gives a reply to who waits for it; nobody may any more.
func (c *Conn) answer(s protocol.Server) {
	c.mu.Lock()
	reply := c.pending[s.ID]
	delete(c.pending, s.ID)
	c.mu.Unlock()
	if reply != nil {
		reply <- s // has room for the one reply that there is
	}
}

// join is the joiner: it joins rooms, all at once, and again those for which
// the gateway had no time.
func (c *Conn) join(joins []protocol.Join) {
	wait := newBackoff(c.cfg)
	for len(joins) > 0 {
		again, after := c.joinAll(joins)
		if len(again) == 0 || sleep(c.ctx, max(after, wait.next())) != nil {
			return
		}
		joins = again
	}
}

func (c *Conn) joinAll(joins []protocol.Join) (again []protocol.Join, after time.Duration) {
	calls := make([]*call, 0, len(joins))
	for _, j := range joins {
		k, err := c.begin(c.ctx, func(dst []byte, id string) []byte { return protocol.AppendJoin(dst, id, j) })
		if err != nil {
			break // the connection ended, or is about to
		}
		calls = append(calls, k)
	}
	for i, k := range calls {
		_, err := k.wait(c.ctx)
		var refused *protocol.Error
		switch {
		case err == nil, !c.ledger.has(joins[i].Room): // or left meanwhile
		case !errors.As(err, &refused):
			k.forget()
		case passing(refused):
			again, after = append(again, joins[i]), max(after, refused.RetryAfter)
		default:
			c.ledger.remove(joins[i].Room)
			c.emit(Refused{Room: joins[i].Room, Err: refused})
		}
	}
	return again, after
}

// passing reports whether the same request may do better later.
func passing(e *protocol.Error) bool {
	return e.Code == protocol.Unavailable || e.Code == protocol.RateLimited
}
