package config

import (
	"fmt"
	"slices"
	"strings"
)

// option is one key: what it is, what its value may be, and why its default is
// what it is.
type option struct {
	key    string
	def    string
	value  setting
	secret bool // its value is shown nowhere
	live   bool // a gateway takes a change over while it runs
	file   bool // its value names files whose content counts
	what   string
	why    string // of the default
}

// flag is the option's name on the command line, without the dashes.
func (o option) flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(o.key) }

// variable is the option's name in the environment.
func (o option) variable() string {
	return prefix + strings.ToUpper(strings.ReplaceAll(o.key, ".", "_"))
}

// set takes a value as text. Its error goes on behind the key.
func (o option) set(text string) error {
	err := o.value.set(text)
	if err != nil && o.secret {
		return fmt.Errorf("cannot be what it is set to (not shown): it takes %s", o.value.wants())
	}
	return err
}

// shown is a value in words, unless it is a secret.
func (o option) shown(value string) string {
	if o.secret {
		return "what it is set to (not shown)"
	}
	return value
}

// live marks all options of a table.
func live(options []option) []option {
	for i := range options {
		options[i].live = true
	}
	return options
}

const maxCount = 1<<31 - 1 // of what an int counts

// options is the table of all keys but config, bound to the fields of c.
// Sections stand together.
func (c *Config) options() []option {
	return append([]option{
		{key: "listen", def: ":8080", value: address(&c.Listen),
			what: "address that clients connect to, host:port",
			why:  "every interface, since that is what a gateway is for; a port that needs no privilege"},
		{key: "admin.listen", def: "127.0.0.1:9090", value: address(&c.Admin.Listen),
			what: "address of health, readiness and metrics, host:port",
			why:  "this machine only: what it tells is not for clients"},
		{key: "admin.pprof", def: "false", value: boolean(&c.Admin.Pprof),
			what: "serve profiles under /debug/pprof/ on the admin address",
			why:  "a profile costs time and tells much"},
		{key: "loops", def: "0", value: integer(&c.Loops, 0, 1024),
			what: "event loops; 0 is one for each processor (GOMAXPROCS)",
			why:  "a loop is one busy goroutine: more than processors only wait for each other"},
		{key: "echo", def: "false", value: boolean(&c.Echo),
			what: "serve GET /echo, which sends every message back as it came",
			why:  "for conformance suites and connectivity checks, not for production"},
		{key: "log.level", def: "info", live: true, value: level(&c.Log.Level),
			what: "least level that is logged: debug, info, warn or error",
			why:  "what a connection does is debug, so info stays quiet under load"},
		{key: "log.format", def: "text", value: choice(&c.Log.Format, "text", "json"),
			what: "form of the log: text or json",
			why:  "read by people first; collectors want json"},
		{key: "heartbeat.interval", def: "25s", value: duration(&c.Heartbeat.Interval, minHeartbeat),
			what: "a connection that was silent for so long is pinged",
			why:  "below the 30 s and 60 s after which balancers and NATs forget an idle connection"},
		{key: "heartbeat.timeout", def: "60s", value: duration(&c.Heartbeat.Timeout, minHeartbeat),
			what: "a connection that was silent for so long is closed",
			why:  "two pings may be lost on a bad network before anyone is judged dead"},
		{key: "drain.period", def: "20s", value: duration(&c.Drain.Period, 0),
			what: "time over which connections are closed when the gateway goes away",
			why:  "clients come back spread out, and it ends within the 30 s that orchestrators grant"},
		{key: "compression.enabled", def: "true", value: boolean(&c.Compression.Enabled),
			what: "permessage-deflate for clients that offer it",
			why:  "a message is compressed once for all its receivers, so it costs little and saves traffic"},
	}, append(slices.Concat(live(c.authOptions()), c.apiOptions(), c.edgeOptions(), c.fleetOptions(), c.peopleOptions(), live(c.limitOptions())), []option{
		{key: "memory.bytes", def: "256MiB", value: size(&c.Memory.Bytes, 1<<20),
			what: "bytes that the embedded broker keeps of all rooms together; past it the history of those goes first that were used longest ago",
			why:  "leaves room for the rest in a container of 1 GiB; without Redis one process is the whole service"},
		{key: "dedup.window", def: "2m", value: duration(&c.Dedup.Window, 0),
			what: "time for which the id of a publish is remembered; 0 is not at all",
			why:  "longer than a client needs to reconnect and send again"},
		{key: "rooms", def: "[]", live: true, value: &roomsSetting{&c.Rooms},
			what: "classes of rooms; the first whose match fits decides, and what fits none has the defaults." +
				" match is the whole name, with * for any run of characters (quote it)",
			why: "one class for all rooms, whose values are explained here"},
	}...)...)
}

func (c *Config) limitOptions() []option {
	l := &c.Limits
	return []option{
		{key: "limits.connections", def: "100000", value: integer(&l.Connections, 0, maxCount),
			what: "connections in all; 0 is no limit",
			why:  "idle ones cost about 100 MiB then, and the kernel's memory for sockets some times that"},
		{key: "limits.message_bytes", def: "64KiB", value: size(&l.MessageBytes, 0),
			what: "bytes of one message, also once inflated; 0 is no limit",
			why:  "far above a chat message; what is larger belongs elsewhere, with its address in the message"},
		{key: "limits.message_fragments", def: "1024", value: integer(&l.MessageFragments, 0, maxCount),
			what: "frames that one message may come in; 0 is no limit",
			why:  "clients stream in pieces of some KiB; a flood of tiny pieces costs more than it carries"},
		{key: "limits.rooms_per_connection", def: "128", value: integer(&l.RoomsPerConnection, 0, maxCount),
			what: "rooms that one connection may have joined; 0 is no limit",
			why:  "each is a place in a room's log that is kept; enough for a page with many widgets"},
		{key: "limits.members_per_room", def: "0", value: integer(&l.MembersPerRoom, 0, maxCount),
			what: "connections that may have joined one room; 0 is no limit",
			why:  "broadcast to everyone in one room is what Fanfare is for"},
		{key: "limits.queued_bytes", def: "512MiB", value: size(&l.QueuedBytes, 0),
			what: "bytes that wait for single connections, in all: unread replies, and what they missed; past it those that hold the most and take nothing are closed; 0 is no limit",
			why:  "leaves room for the connections and the rooms in a container of 1 GiB"},
		{key: "limits.reply_bytes", def: "1MiB", value: size(&l.ReplyBytes, 0),
			what: "unread replies of one connection, which is closed past it; 0 is no limit",
			why:  "replies are never dropped, so who does not read them must go; room for 16 of the largest"},
		{key: "limits.messages_per_second", def: "10000", value: integer(&l.MessagesPerSecond, 0, maxCount),
			what: "messages and control frames of one connection in a second, twice that at once; 0 is no limit",
			why:  "no person or page sends so much; a program that publishes in bulk may"},
		{key: "limits.bytes_per_second", def: "64MiB", value: size(&l.BytesPerSecond, 0),
			what: "bytes received of one connection in a second, twice that at once; 0 is no limit",
			why:  "half a gigabit: a publisher in bulk is not slowed, and one connection alone cannot fill the usual link"},
		{key: "limits.handshakes", def: "10000", value: integer(&l.Handshakes, 0, maxCount),
			what: "unfinished handshakes, and HTTP requests that are being answered, in all; 0 is no limit",
			why:  "a fleet that reconnects at once fits; at 16 KiB each they hold no more than 160 MiB"},
		{key: "limits.handshakes_per_address", def: "1000", value: integer(&l.HandshakesPerAddress, 0, maxCount),
			what: "the same of one address (of one /64 in IPv6); 0 is no limit",
			why:  "many clients come from one NAT or balancer; one address still cannot take all of limits.handshakes"},
		{key: "limits.handshake_timeout", def: "10s", value: duration(&l.HandshakeTimeout, 0),
			what: "time for the whole request head; 0 is no limit",
			why:  "ample for a bad mobile link, short for who holds sockets open"},
		{key: "limits.handshake_bytes", def: "16KiB", value: size(&l.HandshakeBytes, 0),
			what: "bytes of one request head; 0 is no limit",
			why:  "cookies and a token fit; balancers take about as much"},
		{key: "limits.handshake_headers", def: "100", value: integer(&l.HandshakeHeaders, 0, maxCount),
			what: "header lines of one request head; 0 is no limit",
			why:  "far more than a browser sends and several proxies add"},
	}
}
