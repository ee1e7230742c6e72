package gateway

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// Rooms are let go after they have lingered, and their memory with them; who
// comes back before that finds the log as it was.
func TestARoomWithoutMembersLingersAndIsLetGo(t *testing.T) {
	s := run(t, func(c *setup) { c.Loops = 2 })
	c, d := s.dial(), s.dial()
	epoch := c.join("r", "").Epoch
	d.join("r", "")
	s.storeN("r", 5, 1000)
	for _, m := range []*client{c, d} {
		m.messages("r", 1, 5)
		m.send(`{"type":"leave","request_id":"l","payload":{"room":"r"}}`)
		m.expect("left")
	}
	s.storeN("r", 1, 1000)
	if j := c.join("r", since(epoch, 5)); j.Recovery != protocol.Recovered {
		t.Errorf("joined %+v", j)
	}
	c.messages("r", 6, 6)
	s.letGo() // which must not take a room with members
	s.store("r", "7")
	c.messages("r", 7, 7)
	c.conn.Close()
	s.untilMetric("fanfare_memberships", 0)
	until(t, "the room is released", func() bool { s.letGo(); return s.metric("fanfare_rooms") == 0 })
	if v := s.metric("fanfare_room_log_bytes"); v != 0 {
		t.Errorf("%v bytes of logs are left", v)
	}
	if j := d.join("r", `,"last":3`); j.Epoch != epoch || j.Seq != 4 {
		t.Errorf("joined anew %+v", j)
	}
	d.messages("r", 5, 7)
}

// What comes for a room that was let go is not appended to its log: the memory
// would be counted for good.
func TestALogThatWasLetGoTakesNothing(t *testing.T) {
	s := run(t)
	c := s.dial()
	c.join("r", "")
	s.store("r", "1")
	c.messages("r", 1, 1)
	r := s.gw.hub.find("r")
	c.conn.Close()
	s.untilMetric("fanfare_memberships", 0)
	until(t, "the room is released", func() bool { s.letGo(); return s.metric("fanfare_rooms") == 0 })
	p, err := s.memory.Range(context.Background(), queryAll("r"))
	if err != nil {
		t.Fatal(err)
	}
	m := p.Messages[0]
	m.Seq = 2
	r.accept(new(encoder), append(p.Messages[:0:0], m))
	r.reset(s.tail("r"), &s.set.LogBytes)
	if v := s.metric("fanfare_room_log_bytes"); v != 0 {
		t.Errorf("%v bytes of logs are left", v)
	}
}

// Connections join, leave, rejoin and vanish at any point, while their rooms are
// read; nothing of them stays.
func TestConnectionsThatVanishLeaveNothing(t *testing.T) {
	s := run(t, func(c *setup) { c.Loops = 2; c.Limits.RoomsPerConn = 3 })
	s.storeN("r0", 50, 3000)
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			for round := range 25 {
				d := dialing{path: "/ws?room=r0&room=mine"}
				if round%2 == 0 {
					d.path = "/ws"
				}
				conn, err := s.quiet(d)
				if err != nil {
					t.Error(err)
					return
				}
				for k := range round % 7 {
					room := fmt.Sprintf("r%d", (i+round+k)%3)
					_ = conn.write(1, fmt.Appendf(nil, `{"type":"join","payload":{"room":%q,"last":%d}}`, room, 10*k))
					if k%3 > 0 {
						_ = conn.write(1, fmt.Appendf(nil, `{"type":"publish","payload":{"room":%q,"data":1}}`, room))
						_ = conn.write(1, fmt.Appendf(nil, `{"type":"leave","payload":{"room":%q}}`, room))
					}
				}
				if round%3 == 0 {
					_, _ = conn.conn.Read(conn.buf)
				}
				conn.conn.Close()
			}
		})
	}
	clients.Wait()
	s.untilMetric("fanfare_connections", 0)
	s.untilMetric("fanfare_memberships", 0)
	until(t, "the rooms are released", func() bool { s.letGo(); return s.metric("fanfare_rooms") == 0 })
	for _, name := range []string{"fanfare_room_log_bytes", "fanfare_queued_reply_bytes"} {
		if v := s.metric(name); v != 0 {
			t.Errorf("%s is %v", name, v)
		}
	}
	if n := s.gw.backlogBytes.Load(); n != 0 {
		t.Errorf("%d bytes of backlog", n)
	}
}

// A connection that ends while its join waits for the log is no member later.
func TestAConnectionThatEndsDuringItsJoinIsNoMember(t *testing.T) {
	free := make(chan struct{})
	s := run(t, func(c *setup) { c.tap.reading = gate(t, "r", free) })
	c, d := s.dial(), s.dial()
	c.send(`{"type":"join","payload":{"room":"r"}}`)
	c.sync()
	c.conn.Close()
	s.untilMetric("fanfare_connections", 1)
	d.send(`{"type":"join","request_id":"1","payload":{"room":"r"}}`)
	d.send(`{"type":"leave","request_id":"2","payload":{"room":"r"}}`)
	d.send(`{"type":"join","request_id":"3","payload":{"room":"r"}}`)
	d.send(`{"type":"join","request_id":"4","payload":{"room":"r"}}`)
	d.sync()
	close(free)
	for i, want := range []string{"joined", "left", "joined", "joined"} {
		if m := d.expect(want); m.ID != fmt.Sprint(i+1) || want == "joined" && m.Joined.Members != 1 {
			t.Errorf("%s: %s", want, d.raw)
		}
	}
	s.store("r", "1")
	d.messages("r", 1, 1)
	d.sync()
	if v := s.metric("fanfare_memberships"); v != 1 {
		t.Errorf("%v memberships", v)
	}
}

// All rooms of a connection go with it, however it ends.
func TestMembershipsEndWithTheConnection(t *testing.T) {
	s := run(t, func(c *setup) { c.Loops = 3 })
	var clients []*client
	for range 9 {
		c := s.dial()
		for r := range 10 {
			c.join(fmt.Sprint(r), "")
		}
		clients = append(clients, c)
	}
	if v := s.metric("fanfare_memberships"); v != 90 {
		t.Errorf("%v memberships", v)
	}
	if v := s.metric("fanfare_rooms"); v != 10 {
		t.Errorf("%v rooms", v)
	}
	for i, c := range clients {
		switch i % 3 {
		case 0:
			c.conn.Close()
		case 1:
			_ = c.write(8, []byte{3, 232})
		case 2:
			_ = c.write(2, nil)
		}
		s.untilMetric("fanfare_memberships", float64(90-10*(i+1)))
	}
}
