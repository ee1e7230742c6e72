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
			what: "address of health, readiness, metrics and the calls of backends, host:port",
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
	}, append(slices.Concat(live(c.authOptions()), c.apiOptions(), c.edgeOptions(), c.fleetOptions(), c.peopleOptions(), c.tracingOptions(), live(c.limitOptions())), []option{
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
