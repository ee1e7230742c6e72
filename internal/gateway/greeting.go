package gateway

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"

	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// greeting is what a connection asked for in its URL, kept until it is open, with
// what the client sends before that.
type greeting struct {
	rooms         []string
	since         *protocol.Position
	username, key string // empty: not asked for

	early      [][]byte
	earlyBytes int
}

// What is kept of who does not wait for the welcome.
const (
	earlyMost      = 64
	earlyBytesMost = 16 << 10
	tooEarly       = "too much before the welcome"
)

// parseGreeting reads what the query asks for once the connection is open.
// Parameters that it does not know are ignored. problem is for people; empty: none.
func parseGreeting(values url.Values) (g *greeting, problem string) {
	if len(values) == 0 {
		return nil, ""
	}
	g = &greeting{rooms: values["room"]}
	for _, name := range g.rooms {
		if !protocol.ValidRoom(name) {
			return nil, "room: 1 to " + strconv.Itoa(protocol.MaxRoom) + " characters of A-Z a-z 0-9 _ - . : @ /"
		}
	}
	if problem := g.parseUsername(values); problem != "" {
		return nil, problem
	}
	since, ok := values["since"]
	switch {
	case !ok && len(g.rooms) == 0 && g.username == "":
		return nil, ""
	case !ok:
		return g, ""
	case len(since) != 1 || len(g.rooms) != 1:
		return nil, "since: once, with exactly one room"
	}
	p, err := protocol.ParsePosition(since[0])
	if err != nil {
		return nil, "since: EPOCH:SEQ"
	}
	g.since = &p
	return g, ""
}

func (g *greeting) parseUsername(values url.Values) (problem string) {
	names, keys := values["username"], values["username_key"]
	if len(names) == 0 {
		return ""
	}
	name, ok := protocol.NormalizeUser(names[0])
	if !ok || len(names) > 1 {
		return "username: once, 1 to " + strconv.Itoa(protocol.MaxUser) + " letters, digits and _ - . @"
	}
	g.username = strings.Clone(name) // it outlives the request
	if len(keys) == 0 {
		return ""
	}
	if len(keys) > 1 || !protocol.ValidUserKey(keys[0]) {
		return "username_key: once, 1 to " + strconv.Itoa(protocol.MaxUserKey) + " characters of A-Z a-z 0-9 _ -"
	}
	g.key = strings.Clone(keys[0])
	return ""
}

// greet opens the session, once it has the name that its URL asks for.
func (ses *session) greet() {
	g := ses.greeting
	switch {
	case g == nil || g.username == "":
		ses.open(nil)
	case ses.caller != nil:
		ses.open(errNameToken)
	default:
		ses.claim(nil, g.username, g.key)
	}
}

// early keeps what comes before the welcome, which nothing goes before.
func (ses *session) early(payload []byte) {
	g := ses.greeting
	g.earlyBytes += len(payload)
	if len(g.early) >= earlyMost || g.earlyBytes > earlyBytesMost {
		ses.conn.Close(protocol.CloseRate, tooEarly, metrics.CloseRateLimit)
		return
	}
	g.early = append(g.early, bytes.Clone(payload))
}

// open welcomes the connection, joins what its URL asks for, and answers what came
// early. problem is why it has not got its name; nil: it has, or asked for none.
func (ses *session) open(problem *protocol.Error) {
	s, cfg := ses.shard, &ses.shard.gw.cfg
	limits := &s.gw.live().Limits
	welcome := protocol.Welcome{
		Connection: ses.name("c-"), User: ses.user(), Gateway: cfg.ID,
		HeartbeatInterval: cfg.HeartbeatInterval, HeartbeatTimeout: cfg.HeartbeatTimeout,
		MessageBytes: limits.MessageBytes, Rooms: limits.RoomsPerConn,
	}
	if ses.caller != nil {
		welcome.UsernameKey = ses.caller.key
	}
	s.payload = protocol.AppendWelcome(s.payload[:0], welcome)
	s.send(ses.conn, s.payload)
	s.gw.people.connected(ses)
	if problem != nil {
		ses.fail(nil, problem)
	}
	g := ses.greeting
	ses.greeting = nil
	if g == nil {
		return
	}
	for _, name := range g.rooms {
		s.request = protocol.Request{Type: protocol.TypeJoin, Room: []byte(name), Last: -1}
		if g.since != nil {
			s.request.HasSince = true
			s.request.SinceEpoch, s.request.SinceSeq = []byte(g.since.Epoch), g.since.Seq
		}
		ses.join(&s.request)
	}
	s.wait = 0 // what came early has been counted as it came
	for _, payload := range g.early {
		ses.message(payload)
	}
}
