package deploytest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// people is how many members there are: ten for each gateway.
const people = 30

// Both balancers, before three gateways of docker-compose.yml and its Redis: they
// spread connections, keep what they should not know out of their logs, say whom they
// speak for, and leave a gateway that drains or stands still, without a message lost.
func TestBalancers(t *testing.T) {
	for name, start := range map[string]func(*topology) (*process, string){"haproxy": (*topology).haproxy, "nginx": func(f *topology) (*process, string) { return f.nginx() }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program(t, name)
			f := newTopology(t)
			redis := f.redis()
			f.startGateways()
			balancer, addr := start(f)
			c := newCrowd(t, addr, people)
			if name == "haproxy" { // which is what docker-compose.yml has
				f.watched()
			}
			f.spread()
			f.sawAddresses()
			f.takesPages(addr)
			if name == "haproxy" {
				f.withoutRedis(c, redis, addr)
				f.byHand()
			}
			f.drained(c)
			f.stoodStill(c)
			c.hasAll()
			f.keptSecret(balancer)
		})
	}
}

// spread: each gateway has a third of the connections, give or take a tenth.
func (f *topology) spread() {
	f.t.Helper()
	const all = people + 1 // and who publishes
	eventually(f.t, "evenly spread", func() error {
		var each []float64
		for i := range f.gateways {
			each = append(each, f.metric(i, "fanfare_connections"))
		}
		for _, n := range each {
			if n < 0.9*people/3 || n > 1.1*all/3 {
				return fmt.Errorf("%v", each)
			}
		}
		return nil
	})
}

// sawAddresses: each client came from an address of its own, and gateways count those
// and not the balancer's.
func (f *topology) sawAddresses() {
	f.t.Helper()
	eventually(f.t, "the clients' addresses", func() error {
		sum := 0.0
		for i := range f.gateways {
			sum += f.metric(i, "fanfare_limit_addresses")
		}
		if sum != people+1 {
			return fmt.Errorf("%v addresses", sum)
		}
		return nil
	})
}

// withoutRedis: no gateway is ready, so nobody new is taken, and everybody stays who
// is there.
func (f *topology) withoutRedis(c *crowd, redis *process, addr string) {
	f.t.Helper()
	before := c.returned()
	redis.signal(syscall.SIGSTOP)
	eventually(f.t, "a new client is refused", func() error {
		status, header, err := upgrade(addr, "")
		if err == nil && status != http.StatusServiceUnavailable {
			err = fmt.Errorf("%d %v", status, header)
		}
		return err
	})
	redis.signal(syscall.SIGCONT)
	eventually(f.t, "a new client is taken", func() error {
		status, header, err := upgrade(addr, "")
		if err == nil && status != http.StatusSwitchingProtocols {
			err = fmt.Errorf("%d %v", status, header)
		}
		return err
	})
	for i := range f.gateways {
		f.ready(i)
	}
	c.more(10)
	c.hasAll()
	if n := c.returned() - before; n > 0 {
		f.t.Errorf("%d connections were cut while Redis was away", n)
	}
}

// takesPages: a page of the balancer's own address is one of the gateways' host, and
// one of another is not.
func (f *topology) takesPages(addr string) {
	f.t.Helper()
	for origin, want := range map[string]int{"http://" + addr: http.StatusSwitchingProtocols, "http://elsewhere.example": http.StatusForbidden} {
		if got, _, err := upgrade(addr, origin); err != nil || got != want {
			f.t.Errorf("a page of %s gets %d, %v; want %d", origin, got, err, want)
		}
	}
}

// upgrade asks for a WebSocket, for a page of an origin if there is one, and returns
// what the answer is.
func upgrade(addr, origin string) (int, http.Header, error) {
	r, err := http.NewRequest(http.MethodGet, "http://"+addr+"/ws", nil)
	if err != nil {
		return 0, nil, err
	}
	for name, value := range map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
		r.Header.Set(name, value)
	}
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	response, err := web.Do(r)
	if err != nil {
		return 0, nil, err
	}
	response.Body.Close()
	return response.StatusCode, response.Header, nil
}

// byHand: an operator takes a gateway out and back by HAProxy's own means.
func (f *topology) byHand() {
	f.t.Helper()
	for _, tt := range []struct{ state, status string }{{"drain", "DRAIN"}, {"ready", "UP"}} {
		conn, err := net.Dial("tcp", f.at["haproxy:8405"])
		if err != nil {
			f.t.Fatal(err)
		}
		_, _ = fmt.Fprintf(conn, "set server gateways/gateway3 state %s; show stat gateways 4 -1\n", tt.state)
		answer, err := io.ReadAll(conn)
		conn.Close()
		if err != nil || !strings.Contains(string(answer), ","+tt.status+",") {
			f.t.Errorf("gateway3 set to %s: %v, %s", tt.state, err, answer)
		}
	}
}

// drained: a gateway is told to end, as an upgrade does, and another takes its place.
func (f *topology) drained(c *crowd) {
	f.t.Helper()
	g, before := f.gateways[0], c.returned()
	g.signal(syscall.SIGTERM)
	select {
	case <-g.ended:
	case <-time.After(patience):
		f.t.Fatalf("%s did not end", g.name)
	}
	if code := g.cmd.ProcessState.ExitCode(); code != 0 {
		f.t.Errorf("%s ended with %d", g.name, code)
	}
	f.allAreBack(c)
	if n := c.returned() - before; n == 0 || n > people/2 {
		f.t.Errorf("%d members came back of those that %s had", n, g.name)
	}
	c.more(10)
	c.hasAll()
	g.start()
	f.ready(0)
}

// stoodStill: a gateway stops in its tracks; its connections are cut and go to others.
func (f *topology) stoodStill(c *crowd) {
	f.t.Helper()
	g, before := f.gateways[1], c.returned()
	had := int(f.metric(1, "fanfare_connections"))
	if had < people/4 {
		f.t.Fatalf("%s has %d connections", g.name, had)
	}
	g.signal(syscall.SIGSTOP)
	begun := time.Now()
	eventually(f.t, "its clients have gone elsewhere", func() error {
		if n := c.returned() - before; n < had-1 { // one of them may be who publishes
			return fmt.Errorf("%d of %d", n, had)
		}
		return nil
	})
	f.allAreBack(c)
	f.t.Logf("%d clients of a gateway that stands still were back after %v", had, time.Since(begun).Round(100*time.Millisecond))
	c.more(10)
	c.hasAll()
	g.signal(syscall.SIGCONT)
}

func (f *topology) allAreBack(c *crowd) {
	f.t.Helper()
	eventually(f.t, "all are back", func() error {
		if n := c.joined(); n < people {
			return fmt.Errorf("%d of %d", n, people)
		}
		return nil
	})
}

// keptSecret: what clients had in their query is in nobody's log, though their
// handshakes are. A log is written when a connection ends.
func (f *topology) keptSecret(balancer *process) {
	f.t.Helper()
	eventually(f.t, "handshakes are logged", func() error {
		if n := strings.Count(balancer.log.String(), `"GET /ws HTTP/1.1"`); n < people/6 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	for _, p := range append(f.gateways, balancer) {
		if strings.Contains(p.log.String(), secret) {
			f.t.Error(errors.New(p.name + " logs the query"))
		}
	}
}
