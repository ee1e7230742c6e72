package faulttest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Faults of one Redis. The first of w.redis is the one; each gateway has a proxy
// of its own before it. A fault that did not bite is an error: it would show
// nothing.

// killRedis ends Redis without a word and starts it again, with what it wrote to
// disk or without. Some clients lose their connections meanwhile, and find the
// gateways not ready.
func killRedis(keep bool) func(*world) error {
	return func(w *world) error {
		r, from := w.redis[0], w.fleet.clock()
		r.kill()
		w.pause(w.between(2*time.Second, 5*time.Second))
		w.severSome(10)
		w.pause(w.between(time.Second, 2*time.Second))
		if !keep {
			if err := r.forget(); err != nil {
				return err
			}
		}
		err := r.run()
		w.allBroken(from, w.fleet.clock())
		return err
	}
}

// severSome ends the connections of one in n clients.
func (w *world) severSome(n int) {
	for _, c := range w.fleet.clients {
		if w.random.IntN(n) == 0 {
			c.sever()
		}
	}
}

// freezeRedis stops Redis for a time and lets it go on.
func freezeRedis(w *world) error {
	from := w.fleet.clock()
	w.redis[0].signal(syscall.SIGSTOP)
	w.pause(w.between(17*time.Second, 20*time.Second))
	w.redis[0].signal(syscall.SIGCONT)
	w.allBroken(from, w.fleet.clock())
	return nil
}

// slowRedis delays all that passes between the gateways and Redis.
func slowRedis(w *world) error {
	for _, p := range w.proxies {
		p.slow(w.between(50*time.Millisecond, 500*time.Millisecond))
	}
	w.pause(w.between(5*time.Second, 8*time.Second))
	for _, p := range w.proxies {
		p.slow(0)
	}
	return nil
}

// holeBefore lets nothing pass between one gateway and Redis, and nobody is told.
// The other gateways must not notice.
func holeBefore(w *world) error {
	i, from := w.random.IntN(len(w.gateways)), w.fleet.clock()
	w.spare(true, w.gateways[i])
	w.proxies[i].hold()
	w.pause(w.between(17*time.Second, 20*time.Second))
	w.proxies[i].release()
	to := w.fleet.clock()
	for k, g := range w.gateways {
		if k == i {
			w.broken(g, from, to)
		} else {
			w.expected = append(w.expected, expectation{gateway: g.name, from: from, to: to, steady: true})
		}
	}
	return nil
}

// flushAll empties Redis.
func flushAll(w *world) error {
	_, err := ask(w.redis[0].addr(), "FLUSHALL")
	return err
}

// killSubscribers ends the connections that receive, several times.
func killSubscribers(w *world) error {
	for range 5 {
		n, err := ask(w.redis[0].addr(), "CLIENT", "KILL", "TYPE", "pubsub")
		if err != nil {
			return err
		}
		if n == int64(0) {
			w.logf("no subscriber to kill")
		}
		w.pause(w.between(200*time.Millisecond, 1500*time.Millisecond))
	}
	return nil
}

// overflow has Redis end a subscriber that does not take what is published.
func overflow(w *world) error {
	addr := w.redis[0].addr()
	if _, err := ask(addr, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 256kb 128kb 1"); err != nil {
		return err
	}
	last := len(w.proxies) - 1
	stop := w.flood([]string{roomName(busyRooms), roomName(busyRooms + 1)}, 400, 16<<10)
	from := w.fleet.clock()
	w.proxies[last].hold()
	// It takes as long as the flood takes to fill what lies between: moments, or most of
	// a minute where the machine has other work. Then the gateway is right to be unready.
	err := until(time.Minute, "Redis has ended a subscriber", func() bool {
		return strings.Contains(w.redis[0].tail(64<<10), "overcoming of output buffer limits")
	})
	stop() // what it brings late is no part of the fault's end
	w.proxies[last].release()
	w.broken(w.gateways[last], from, w.fleet.clock())
	_, reset := ask(addr, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")
	if err == nil {
		err = reset
	}
	return err
}

// flushScripts makes Redis forget the scripts, under load.
func flushScripts(w *world) error {
	for range 10 {
		if _, err := ask(w.redis[0].addr(), "SCRIPT", "FLUSH"); err != nil {
			return err
		}
		w.pause(w.between(100*time.Millisecond, 500*time.Millisecond))
	}
	return nil
}

// outOfMemory has Redis refuse all that takes memory.
func outOfMemory(w *world) error {
	addr := w.redis[0].addr()
	if _, err := ask(addr, "CONFIG", "SET", "maxmemory", "1mb"); err != nil {
		return err
	}
	w.pause(w.between(4*time.Second, 7*time.Second))
	if n := info(addr, "errorstats", "errorstat_OOM"); n == "" {
		w.logf("no command was refused for want of memory")
	}
	_, err := ask(addr, "CONFIG", "SET", "maxmemory", "0")
	return err
}

// readOnly makes a replica of Redis whose master is nowhere, and a master again.
func readOnly(w *world) error {
	addr := w.redis[0].addr()
	if _, err := ask(addr, "REPLICAOF", "127.0.0.1", strconv.Itoa(freePort())); err != nil {
		return err
	}
	w.pause(w.between(4*time.Second, 7*time.Second))
	if n := info(addr, "errorstats", "errorstat_READONLY"); n == "" {
		w.logf("no command was refused by a replica")
	}
	_, err := ask(addr, "REPLICAOF", "NO", "ONE")
	return err
}

// loseSome drops one in a hundred of the messages that Redis pushes.
func loseSome(w *world) error {
	for _, p := range w.proxies {
		p.lose(0.01)
	}
	w.pause(w.between(6*time.Second, 9*time.Second))
	var dropped int64
	for _, p := range w.proxies {
		p.lose(0)
		dropped += p.dropped.Load()
	}
	w.logf("%d messages dropped", dropped)
	if dropped == 0 {
		return fmt.Errorf("no message was dropped")
	}
	return nil
}

// lateAnswers delays one gateway's Redis by more than its publishers wait, and
// ends publishers' connections: what was stored and not acknowledged comes again.
func lateAnswers(w *world) error {
	w.proxies[0].slow(answerWait/2 + w.between(200*time.Millisecond, 800*time.Millisecond))
	for range 6 {
		w.pause(w.between(time.Second, 1500*time.Millisecond))
		for _, x := range w.press.publishers {
			if w.random.IntN(2) == 0 {
				x.sever()
			}
		}
	}
	w.proxies[0].slow(0)
	return nil
}

// downAtStart has a gateway start while Redis is away: it is alive, not ready,
// refuses upgrades, and becomes ready without another start.
func downAtStart(w *world) error {
	r, g, from := w.redis[0], w.anyGateway(), w.fleet.clock()
	r.kill()
	g.kill()
	w.restarted[g] = true
	w.harm.back[g.addr] = w.fleet.clock()
	if err := g.start(); err != nil {
		return err
	}
	err := w.settled("the gateway is alive without Redis", func() bool {
		answer, err := admins.Get("http://" + g.admin + "/healthz")
		if err == nil {
			answer.Body.Close()
		}
		return err == nil && answer.StatusCode == http.StatusOK
	})
	if err != nil {
		return err
	}
	if g.ready() == isReady {
		w.problems = append(w.problems, violation{notReady, g.name + " is ready although it never saw Redis"})
	}
	w.refuses(g)
	w.pause(w.between(time.Second, 3*time.Second))
	if err := r.run(); err != nil {
		return err
	}
	w.allBroken(from, w.fleet.clock())
	return w.settled(g.name+" is ready by itself", func() bool { return g.ready() == isReady })
}

// refuses checks that a gateway answers an upgrade with 503 and Retry-After.
func (w *world) refuses(g *gateway) {
	request, err := http.NewRequest(http.MethodGet, "http://"+g.addr+"/ws", nil)
	if err != nil {
		w.problems = append(w.problems, violation{notReady, err.Error()})
		return
	}
	for name, value := range map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
		request.Header.Set(name, value)
	}
	answer, err := admins.Do(request)
	if err != nil {
		w.problems = append(w.problems, violation{notReady, g.name + ", not ready, answered an upgrade with: " + err.Error()})
		return
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		w.problems = append(w.problems, violation{notReady, fmt.Sprintf("%s, not ready, answered an upgrade with %s, Retry-After %q", g.name, answer.Status, answer.Header.Get("Retry-After"))})
	}
}

// junk has a foreign client write what we never would, to our channels and keys.
func junk(w *world) error {
	addr := w.redis[0].addr()
	channels, err := names(addr, "PUBSUB", "CHANNELS", "*")
	if err != nil {
		return err
	}
	keys, err := names(addr, "KEYS", "*")
	if err != nil {
		return err
	}
	if len(channels) == 0 || len(keys) == 0 {
		return fmt.Errorf("%d channels and %d keys to write to", len(channels), len(keys))
	}
	for range 300 {
		channel := channels[w.random.IntN(len(channels))]
		if _, err := ask(addr, "PUBLISH", channel, w.rubbish()); err != nil {
			return err
		}
	}
	// Most keys are the ids of publishes: every third stroke meets any key, the
	// others what rooms are made of.
	logs := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return strings.Contains(k, ":d:") })
	for i := range 18 {
		from := logs
		if i%3 == 0 || len(logs) == 0 {
			from = keys
		}
		w.spoil(addr, from[w.random.IntN(len(from))])
		w.pause(w.between(100*time.Millisecond, 300*time.Millisecond))
	}
	return nil
}

func names(addr string, args ...string) (found []string, err error) {
	v, err := ask(addr, args...)
	list, _ := v.([]reply)
	for _, x := range list {
		if s, ok := x.(string); ok {
			found = append(found, s)
		}
	}
	return found, err
}

// rubbish is a payload that begins like anything.
func (w *world) rubbish() string {
	heads := []string{"", "M", "R", "P", "{", "M E 1 ", "M 0 0 0 0 ", "R ", "R! 0", "\x00", "[[", `{"room":`, "M" + strings.Repeat("9", 40) + " "}
	b := make([]byte, w.random.IntN(200))
	for i := range b {
		b[i] = byte(w.random.Uint32())
	}
	return heads[w.random.IntN(len(heads))] + string(b)
}

// spoil writes to a key what does not belong there, in a way that its type takes.
func (w *world) spoil(addr, key string) {
	spoils := [][]string{
		{"DEL", key},
		{"SET", key, w.rubbish()},
		{"APPEND", key, "junk"},
		{"SETRANGE", key, "3", "junk"},
		{"XADD", key, "*", "junk", w.rubbish()},
		{"XTRIM", key, "MAXLEN", "1"},
		{"HSET", key, "s", "junk", "e", "!!"},
		{"LPUSH", key, "junk"},
		{"EXPIRE", key, "1"},
	}
	w.random.Shuffle(len(spoils), func(i, j int) { spoils[i], spoils[j] = spoils[j], spoils[i] })
	for _, args := range spoils {
		if _, err := ask(addr, args...); err == nil {
			w.logf("%.60q", args)
			return
		}
	}
}
