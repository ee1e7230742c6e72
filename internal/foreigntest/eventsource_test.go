package foreigntest

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/chromiumtest"
)

// cutter passes connections on to an address until they are cut.
type cutter struct {
	net.Listener
	to    string
	tasks sync.WaitGroup
	away  atomic.Bool // what comes is ended at once
	mu    sync.Mutex
	open  map[net.Conn]struct{} // guarded by mu
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l, to: to, open: make(map[net.Conn]struct{})}
	c.tasks.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			c.tasks.Go(func() { c.pass(near) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.cut()
		c.tasks.Wait()
	})
	return c
}

// pass ends both ends when either has ended.
func (c *cutter) pass(near net.Conn) {
	defer near.Close()
	if c.away.Load() {
		return
	}
	far, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	c.mu.Lock()
	c.open[near] = struct{}{}
	c.mu.Unlock()
	c.tasks.Go(func() {
		_, _ = io.Copy(far, near)
		far.Close()
	})
	_, _ = io.Copy(near, far)
	far.Close()
	c.mu.Lock()
	delete(c.open, near)
	c.mu.Unlock()
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		conn.Close()
	}
}

// publish publishes with the binary's own command.
func (g *gateway) publish(t *testing.T, room, data string) {
	t.Helper()
	if out, err := exec.Command(binary, "publish", room, data, "--url", "http://"+g.addr).CombinedOutput(); err != nil {
		t.Fatalf("publish: %v: %s", err, out)
	}
}

// listening opens an EventSource and keeps what comes: the data of messages, and
// what each joined says of a resumption.
const listening = `(() => {
	window.data = []; window.joined = []; window.cuts = 0;
	const es = new EventSource("/rooms/news%2Fworld/events?last=10");
	es.onmessage = (e) => { const m = JSON.parse(e.data); window.data.push(m.data); window.lastID = e.lastEventId; };
	es.addEventListener("joined", (e) => window.joined.push(String(JSON.parse(e.data).recovered)));
	es.onerror = () => { window.cuts++; };
	return "listening";
})()`

// has is true once the page has these messages, in this order and each once.
func has(joined string, data ...string) string {
	return fmt.Sprintf(`JSON.stringify(window.data) === JSON.stringify(%q.split(",")) && window.joined.join() === %q`, strings.Join(data, ","), joined)
}

// A browser's EventSource comes back by itself, says where it was, and goes on
// there: after its connection was cut, and to a gateway that has begun anew.
func TestAnEventSourceResumes(t *testing.T) {
	t.Parallel()
	browser := chromiumtest.Start(t)
	g := start(t)
	c := newCutter(t, g.addr)
	g.publish(t, "news/world", `"one"`)
	p := openPage(t, browser, "http://"+c.Addr().String()+"/")
	p.eval(t, listening)
	p.waitFor(t, has("undefined", "one"))
	g.publish(t, "news/world", `"two"`)
	p.waitFor(t, has("undefined", "one", "two"))

	c.cut()
	p.waitFor(t, `window.cuts > 0`)
	g.publish(t, "news/world", `"three"`)
	p.waitFor(t, has("undefined,true", "one", "two", "three"))
	g.publish(t, "news/world", `"four"`)
	p.waitFor(t, has("undefined,true", "one", "two", "three", "four"))

	g.kill()
	g = g.restart(t)
	g.publish(t, "news/world", `"five"`) // of another log: of the old one nothing is left
	p.waitFor(t, has("undefined,true,false", "one", "two", "three", "four", "five"))
}
