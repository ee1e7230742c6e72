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
		{name: "a mode of no Redis", args: []string{"--redis-mode=cluster"},
			want: `--redis-mode: redis.mode is cluster (--redis-mode): a mode other than standalone needs redis.url or redis.addresses`},
		{name: "a PROXY header from nobody", args: []string{"--proxy-protocol"},
			want: `--proxy-protocol: proxy_protocol is true (--proxy-protocol): a PROXY header is taken from trusted_proxies alone, and there are none`},
		{name: "a PROXY header from someone", args: strings.Fields("--proxy-protocol --trusted-proxies=10.0.0.0/8,::1")},
		{name: "a certificate without its key", args: []string{"--tls-cert=c.pem"},
			want: `--tls-cert: tls.cert is c.pem (--tls-cert) and tls.key is  (default): one is of no use without the other`},
		{name: "a certificate and its key", args: strings.Fields("--tls-cert=c.pem --tls-key=k.pem")},
		{name: "a mode of some Redis", args: strings.Fields("--redis-mode=cluster --redis-addresses=127.0.0.1:7000,127.0.0.1:7001")},
		{name: "one address twice", file: "listen: \":9090\"\n",
			want: `f.yaml:1: listen is :9090 (f.yaml:1) and admin.listen is 127.0.0.1:9090 (default): they must differ, or not be of the same interface`},
		{name: "a queue without a bound", file: "rooms:\n  - match: a\n  - match: b\n    slow: {window_messages: 0, window_bytes: 0}\n",
			want: `f.yaml:3: rooms[1].slow (match "b") has no bound: window_messages and window_bytes cannot both be 0`},
		{name: "a queue without a bound, in a flag over a file", file: "rooms: [{match: b}]\n", args: []string{"--rooms", "[{match: a, slow: {window_messages: 0, window_bytes: 0}}]"},
			want: `--rooms: rooms[0].slow (match "a") has no bound: window_messages and window_bytes cannot both be 0`},
		{name: "one bound of a queue", file: "rooms:\n  - match: a\n    slow: {window_messages: 0}\n  - match: b\n    slow: {window_bytes: 0}\n"},
		{name: "messages larger than the queues", args: strings.Fields("--limits-message-bytes=64MiB")},
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
