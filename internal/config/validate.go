package config

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Validate tells what is wrong with the values, each by itself and one beside
// the other, as an Error, or nil.
func (c *Config) Validate() error {
	var problems Error
	for _, o := range c.options() {
		if err := o.value.valid(); err != nil {
			problems = append(problems, &Problem{Source: c.source(o.key), Key: o.key, What: err.Error()})
		}
	}
	if len(problems) > 0 {
		return problems
	}
	problems = append(append(c.together(), c.authProblems()...), c.roomProblems()...)
	if len(problems) > 0 {
		return problems
	}
	return nil
}

func (c *Config) source(key string) string {
	if s, ok := c.sources[key]; ok {
		return s
	}
	return "default"
}

// conflict is the problem of keys whose values do not go together. Its source
// is that of the first that is not at its default.
func (c *Config) conflict(rule string, keys ...string) *Problem {
	p := &Problem{Source: "default"}
	values := make(map[string]string)
	for _, o := range c.options() {
		values[o.key] = o.shown(o.value.text())
	}
	var said []string
	for _, key := range keys {
		source := c.source(key)
		if p.Source == "default" {
			p.Source = source
		}
		said = append(said, fmt.Sprintf("%s is %s (%s)", key, values[key], source))
	}
	p.What = strings.Join(said, " and ") + ": " + rule
	return p
}

// together checks keys beside each other.
func (c *Config) together() Error {
	var problems Error
	conflict := func(rule string, keys ...string) { problems = append(problems, c.conflict(rule, keys...)) }
	if c.Heartbeat.Timeout <= c.Heartbeat.Interval {
		conflict("the timeout must be longer than the interval", "heartbeat.timeout", "heartbeat.interval")
	}
	if sameAddress(c.Listen, c.Admin.Listen) {
		conflict("they must differ, or not be of the same interface", "listen", "admin.listen")
	}
	if c.ProxyProtocol && len(c.TrustedProxies) == 0 {
		conflict("a PROXY header is taken from trusted_proxies alone, and there are none", "proxy_protocol")
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		conflict("one is of no use without the other", "tls.cert", "tls.key")
	}
	if c.Redis.Mode != "standalone" && !c.Redis.Shared() {
		conflict("a mode other than standalone needs redis.url or redis.addresses", "redis.mode")
	}
	return problems
}

// roomProblems tells of classes whose members' queues have no bound.
func (c *Config) roomProblems() Error {
	var problems Error
	for i, class := range c.Rooms {
		if class.Slow.WindowMessages > 0 || class.Slow.WindowBytes > 0 {
			continue
		}
		name := fmt.Sprintf("rooms[%d]", i)
		source, ok := c.sources[name]
		if !ok {
			source = c.source("rooms")
		}
		problems = append(problems, &Problem{Source: source, Key: name + ".slow",
			What: fmt.Sprintf("(match %q) has no bound: window_messages and window_bytes cannot both be 0", class.Match)})
	}
	return problems
}

// sameAddress tells whether two listeners cannot both have their addresses.
func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || everyInterface(hostA) || everyInterface(hostB)
}

func everyInterface(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}
