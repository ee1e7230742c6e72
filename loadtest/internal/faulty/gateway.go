// Package faulty is a gateway that breaks promises on demand: what an account must
// find is planted here. Only tests use it. It keeps rooms in memory, has one
// goroutine for each connection and one that accepts, and Close waits for all.
package faulty

import (
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// Fault is what happens to the message of one seq, for every member.
type Fault string

const (
	None       Fault = ""
	Drop       Fault = "drop"        // not sent, and nothing said
	Silence    Fault = "silence"     // it and all behind it are not sent
	Duplicate  Fault = "duplicate"   // sent twice
	Reorder    Fault = "reorder"     // sent after the one behind it
	Gap        Fault = "gap"         // not sent, and a gap says so
	Alter      Fault = "alter"       // a byte of its data is another
	Stray      Fault = "stray"       // sent as of a room that nobody joined
	StoreTwice Fault = "store twice" // stored and sent again as the next seq
	NoAck      Fault = "no ack"
	WrongAck   Fault = "wrong ack" // acknowledged at another place
	Cut        Fault = "cut"       // the connection is reset in its place; the log has it
	Close      Fault = "close"     // closed with 1012 behind a reconnect
	Forget     Fault = "forget"    // closed, and the log forgets it: who resumes does not get it
	Reset      Fault = "reset"     // the log begins anew, and a reset says so
	Unsaid     Fault = "unsaid"    // the log begins anew, and nobody says so
	NotFor     Fault = "sent away" // closed with 4005, for good
	Refuse     Fault = "refuse"    // the publication is refused, for good
	Postpone   Fault = "postpone"  // it is refused for a moment
)

// Gateway is the server.
type Gateway struct {
	ln      net.Listener
	working sync.WaitGroup
	fault   Fault
	at      uint64

	mu    sync.Mutex
	rooms map[string]*room
	conns map[*conn]bool
	done  bool // the fault has been
}

type room struct {
	name    string
	epoch   int
	log     []protocol.Message // of the epoch, from seq 1
	members map[*conn]bool
	held    *protocol.Message // of a Reorder
}

type conn struct{ net.Conn }

// Start starts one that plants a fault at a seq of every room.
func Start(fault Fault, at uint64) (*Gateway, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &Gateway{ln: ln, fault: fault, at: at, rooms: make(map[string]*room), conns: make(map[*conn]bool)}
	g.working.Go(g.accept)
	return g, nil
}

// URL is where it listens.
func (g *Gateway) URL() string { return "ws://" + g.ln.Addr().String() }

// Close ends it.
func (g *Gateway) Close() {
	_ = g.ln.Close()
	g.mu.Lock()
	for c := range g.conns {
		_ = c.Conn.Close()
	}
	g.mu.Unlock()
	g.working.Wait()
}

func (g *Gateway) accept() {
	for {
		nc, err := g.ln.Accept()
		if err != nil {
			return
		}
		c := &conn{Conn: nc}
		g.mu.Lock()
		g.conns[c] = true
		g.mu.Unlock()
		g.working.Go(func() {
			g.serve(c)
			g.mu.Lock()
			defer g.mu.Unlock()
			g.drop(c)
		})
	}
}

func (g *Gateway) drop(c *conn) {
	delete(g.conns, c)
	for _, r := range g.rooms {
		delete(r.members, c)
	}
	_ = c.Conn.Close()
}

func (g *Gateway) serve(c *conn) {
	upgrader := ws.Upgrader{Protocol: func(p []byte) bool { return string(p) == protocol.Subprotocol }}
	if _, err := upgrader.Upgrade(c.Conn); err != nil {
		return
	}
	send(c, protocol.AppendWelcome(nil, protocol.Welcome{Connection: "c", User: "u", Gateway: "faulty", HeartbeatInterval: time.Minute, HeartbeatTimeout: 2 * time.Minute}))
	var decoder protocol.Decoder
	for {
		text, op, err := wsutil.ReadClientData(c.Conn)
		if err != nil || op == ws.OpClose {
			return
		}
		var q protocol.Request
		if refusal := decoder.Decode(text, &q); refusal != nil {
			return
		}
		g.mu.Lock()
		g.handle(c, &q)
		g.mu.Unlock()
	}
}

func send(c *conn, text []byte) { _ = wsutil.WriteServerText(c.Conn, text) }

func (g *Gateway) room(name string) *room {
	r := g.rooms[name]
	if r == nil {
		r = &room{name: name, members: make(map[*conn]bool)}
		g.rooms[name] = r
	}
	return r
}

func (r *room) position() protocol.Position {
	return protocol.Position{Epoch: "e" + strconv.Itoa(r.epoch), Seq: uint64(len(r.log))}
}
