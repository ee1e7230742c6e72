package config

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// envelopeBytes is more than the envelope around a message's data takes: names
// at their longest, each byte escaped.
const envelopeBytes = 4 << 10

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
	problems = append(c.together(), c.roomProblems()...)
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
	l := &c.Limits
	if l.MessageBytes == 0 {
		return problems
	}
	needs := l.MessageBytes + envelopeBytes
	if l.ReplyBytes != 0 && l.ReplyBytes < needs {
		conflict("one reply with a message and its envelope must fit, so the latter takes 0 (none) or at least "+formatSize(needs),
			"limits.message_bytes", "limits.reply_bytes")
	}
	if l.QueuedBytes != 0 && l.QueuedBytes < needs {
		conflict("one message and its envelope must fit, so the latter takes 0 (none) or at least "+formatSize(needs),
			"limits.message_bytes", "limits.queued_bytes")
	}
	if l.BytesPerSecond != 0 && 2*l.BytesPerSecond < needs {
		conflict("one message must fit into twice the latter, which takes 0 (none) or at least "+formatSize((needs+1)/2),
			"limits.message_bytes", "limits.bytes_per_second")
	}
	return problems
}

// roomProblems checks the classes beside each other and the limits.
func (c *Config) roomProblems() Error {
	var problems Error
	for i, class := range c.Rooms {
		name := fmt.Sprintf("rooms[%d]", i)
		source, ok := c.sources[name]
		if !ok {
			source = c.source("rooms")
		}
		for j, before := range c.Rooms[:i] {
			if before.matchesAll() || before.Match == class.Match {
				problems = append(problems, &Problem{Source: source, Key: name,
					What: fmt.Sprintf("(match %q) can never be reached: rooms[%d] (match %q) comes first", class.Match, j, before.Match)})
				break
			}
		}
		if problem := c.windowProblem(class, name, source); problem != nil {
			problems = append(problems, problem)
		}
	}
	return problems
}

// windowProblem tells of a window that the largest message does not fit into.
func (c *Config) windowProblem(class RoomClass, name, source string) *Problem {
	needs := c.Limits.MessageBytes + envelopeBytes
	if c.Limits.MessageBytes == 0 || class.Slow.WindowBytes >= needs {
		return nil
	}
	limit := c.source("limits.message_bytes")
	if source == "default" {
		source = limit
	}
	return &Problem{Source: source, Key: name + ".slow.window_bytes",
		What: fmt.Sprintf("(match %q) is %s and limits.message_bytes is %s (%s): a message and its envelope must fit, so the former takes at least %s",
			class.Match, formatSize(class.Slow.WindowBytes), formatSize(c.Limits.MessageBytes), limit, formatSize(needs))}
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
