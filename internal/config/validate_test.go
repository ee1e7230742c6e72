package config

import (
	"strings"
	"testing"
)

func TestValuesThatDoNotGoTogether(t *testing.T) {
	for _, tt := range []struct {
		name string
		file string
		args []string
		want string
	}{
		{name: "timeout not above the interval", args: []string{"--heartbeat-interval=60s"},
			want: `--heartbeat-interval: heartbeat.timeout is 1m (default) and heartbeat.interval is 1m (--heartbeat-interval): the timeout must be longer than the interval`},
		{name: "one address twice", file: "listen: \":9090\"\n",
			want: `f.yaml:1: listen is :9090 (f.yaml:1) and admin.listen is 127.0.0.1:9090 (default): they must differ, or not be of the same interface`},
		{name: "a reply does not fit", args: []string{"--limits-reply-bytes=64KiB"},
			want: `--limits-reply-bytes: limits.message_bytes is 64KiB (default) and limits.reply_bytes is 64KiB (--limits-reply-bytes): one reply with a message and its envelope must fit, so the latter takes 0 (none) or at least 68KiB`},
		{name: "a message does not fit into the queues", args: []string{"--limits-queued-bytes=1KiB"},
			want: `--limits-queued-bytes: limits.message_bytes is 64KiB (default) and limits.queued_bytes is 1KiB (--limits-queued-bytes): one message and its envelope must fit, so the latter takes 0 (none) or at least 68KiB`},
		{name: "a message never passes the rate", args: []string{"--limits-bytes-per-second=33KiB"},
			want: `--limits-bytes-per-second: limits.message_bytes is 64KiB (default) and limits.bytes_per_second is 33KiB (--limits-bytes-per-second): one message must fit into twice the latter, which takes 0 (none) or at least 34KiB`},
		{name: "a window of a class", file: "rooms:\n  - match: a\n    slow: {window_bytes: 1KiB}\n",
			want: `f.yaml:2: rooms[0].slow.window_bytes (match "a") is 1KiB and limits.message_bytes is 64KiB (default): a message and its envelope must fit, so the former takes at least 68KiB`},
		{name: "the window of the default class", args: []string{"--limits-message-bytes=1020KiB", "--limits-reply-bytes=0"},
			want: ""},
		{name: "the window of the default class, by a byte", args: []string{"--limits-message-bytes=1044481", "--limits-reply-bytes=0"},
			want: `--limits-message-bytes: rooms[0].slow.window_bytes (match "*") is 1MiB and limits.message_bytes is 1044481 (--limits-message-bytes): a message and its envelope must fit, so the former takes at least 1048577`},
		{name: "a class behind one for all", file: "rooms:\n  - match: \"*\"\n  - match: a\n",
			want: `f.yaml:3: rooms[1] (match "a") can never be reached: rooms[0] (match "*") comes first`},
		{name: "a class twice", file: "rooms:\n  - match: a\n  - match: b\n  - match: a\n",
			want: `f.yaml:4: rooms[2] (match "a") can never be reached: rooms[0] (match "a") comes first`},
		{name: "a class twice, in a flag over a file", file: "rooms: [{match: b}, {match: c}]\n", args: []string{"--rooms", "[{match: a}, {match: a}]"},
			want: `--rooms: rooms[1] (match "a") can never be reached: rooms[0] (match "a") comes first`},
		{name: "no limits at all", args: strings.Fields("--limits-message-bytes=0 --limits-reply-bytes=1 --limits-queued-bytes=1 --limits-bytes-per-second=1")},
		{name: "no limits of what holds messages", args: strings.Fields("--limits-reply-bytes=0 --limits-queued-bytes=0 --limits-bytes-per-second=0")},
		{name: "a message just passes the rate", args: strings.Fields("--limits-bytes-per-second=34KiB")},
		{name: "same port of two interfaces", args: strings.Fields("--listen=127.0.0.1:9090 --admin-listen=127.0.0.2:9090")},
		{name: "ports that the kernel chooses", args: strings.Fields("--listen=:0 --admin-listen=:0")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want != "" {
				wantProblems(t, tt.file, nil, tt.args, []string{tt.want})
			} else {
				mustLoad(t, tt.file, nil, tt.args...)
			}
		})
	}
}

func TestValidateSeesFieldsThatWereSetInCode(t *testing.T) {
	for want, break_ := range map[string]func(*Config){
		`default: loops cannot be "-1": it takes a whole number from 0 to 1024`:                 func(c *Config) { c.Loops = -1 },
		`default: log.format cannot be "xml": it takes text or json`:                            func(c *Config) { c.Log.Format = "xml" },
		`default: drain.period cannot be "-1ns"`:                                                func(c *Config) { c.Drain.Period = -1 },
		`default: limits.message_bytes cannot be "-1"`:                                          func(c *Config) { c.Limits.MessageBytes = -1 },
		`default: origins cannot have "example.com"`:                                            func(c *Config) { c.Origins = []string{"example.com"} },
		`default: rooms has, in [0], slow.policy that cannot be "": it takes drop or conflate`:  func(c *Config) { c.Rooms[0].Slow.Policy = "" },
		`default: heartbeat.timeout is 25s (default) and heartbeat.interval is 25s (default): `: func(c *Config) { c.Heartbeat.Timeout = c.Heartbeat.Interval },
	} {
		c := Default()
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		break_(c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
