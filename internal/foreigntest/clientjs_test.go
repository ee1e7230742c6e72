package foreigntest

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"

	"github.com/fanfare-ws/fanfare/internal/chromiumtest"
)

// offline is for how long isOffline is: a minute is a minute of CI.
var offline = flag.Duration("offline", 3*time.Second, "for how long the browser is offline")

// publisher publishes numbers to a room, and knows how many it has.
type publisher struct {
	t    *testing.T
	ws   *websocket.Conn
	room string
	sent int
}

func newPublisher(t *testing.T, g *gateway, room string) *publisher {
	t.Helper()
	p := &publisher{t: t, room: room}
	p.dial(g)
	return p
}

func (p *publisher) dial(g *gateway) {
	p.t.Helper()
	ws, _, err := websocket.Dial(p.t.Context(), g.url("ws")+"/ws", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = ws.CloseNow() })
	ws.SetReadLimit(1 << 20)
	p.ws = ws
	p.reply("welcome")
}

// reply reads until a frame of this type comes.
func (p *publisher) reply(kind string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), pageTimeout)
	defer cancel()
	for {
		_, text, err := p.ws.Read(ctx)
		if err != nil {
			p.t.Fatalf("waiting for %s: %v", kind, err)
		}
		var frame struct{ Type string }
		if err := json.Unmarshal(text, &frame); err != nil || frame.Type == "error" {
			p.t.Fatalf("waiting for %s: %s", kind, text)
		}
		if frame.Type == kind {
			return
		}
	}
}

// say publishes the next count numbers, each with some text beside it, and waits until the last is stored.
func (p *publisher) say(count, text int) {
	p.t.Helper()
	padding := strings.Repeat("x", text)
	for n := 1; n <= count; n++ {
		p.sent++
		id := ""
		if n == count {
			id = `"request_id":"last",`
		}
		frame := fmt.Sprintf(`{"type":"publish",%s"payload":{"room":%q,"data":{"n":%d,"x":%q}}}`, id, p.room, p.sent, padding)
		if err := p.ws.Write(p.t.Context(), websocket.MessageText, []byte(frame)); err != nil {
			p.t.Fatal(err)
		}
	}
	p.reply("published")
}

// follow joins a room with fanfare.js and writes down all that it hears, in the tab's storage, so that a reload forgets
// nothing: numbers of messages, and of what a gap names.
const follow = `(async () => {
	const { connect } = await import("/fanfare.js");
	window.heard = JSON.parse(sessionStorage.getItem("heard") ?? "[]");
	window.told = [];
	window.client = connect("/ws", { storage: sessionStorage, backoff: { cap: 1000 }, ...%s });
	const room = (window.room = client.room(%q));
	const keep = () => sessionStorage.setItem("heard", JSON.stringify(heard));
	room.on("message", ({ data }) => (heard.push(data.n), keep()));
	room.on("gap", (gap) => {
		told.push(gap.reason);
		for (let seq = gap.from; seq <= gap.to; seq++) heard.push(-seq);
		keep();
	});
	room.on("reset", () => told.push("reset"));
	await room.join({ last: 1000 });
	return client.state;
})()`

// newPerson is a browser context of its own, with a tab that stays empty.
func newPerson(t *testing.T, browser context.Context) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// openFollower opens a page of the gateway that runs no script of its own, in a tab of the person, and follows a room
// there.
func openFollower(t *testing.T, person context.Context, url, room, options string) *page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(person)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	p := &page{ctx: ctx, console: watchConsole(ctx)}
	p.do(t, chromedp.Navigate(url+"/nothing"))
	p.follow(t, room, options)
	return p
}

func (p *page) follow(t *testing.T, room, options string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, pageTimeout)
	defer cancel()
	state, err := chromedp.Run(ctx, chromedp.Evaluate[string](fmt.Sprintf(follow, options, room), chromedp.EvalAwaitPromise))
	if err != nil || state != "open" {
		t.Fatalf("follow: %q, %v", state, err)
	}
}

// heardAll waits until the page has heard every number, and fails unless each came once and in order; with gaps a gap
// may stand in the place of those that it names.
func (p *page) heardAll(t *testing.T, count int, gaps bool) {
	t.Helper()
	p.waitFor(t, fmt.Sprintf("Math.abs(heard.at(-1)) >= %d", count))
	var heard []int
	if err := json.Unmarshal([]byte(p.eval(t, "JSON.stringify(heard)")), &heard); err != nil {
		t.Fatal(err)
	}
	for i, n := range heard {
		if gaps && n < 0 {
			n = -n
		}
		if n != i+1 || i >= count {
			t.Fatalf("number %d in place %d of %d, heard %d", n, i+1, count, len(heard))
		}
	}
}

// TestFanfareJSInABrowser puts fanfare.js, as a gateway serves it, through what happens to a page; each time every
// message is checked.
func TestFanfareJSInABrowser(t *testing.T) {
	t.Parallel()
	browser := chromiumtest.Start(t)
	for name, test := range map[string]func(*testing.T, context.Context){
		"a reloaded page resumes":                  reloads,
		"a page outlives its gateway":              outlivesItsGateway,
		"tabs share one connection":                tabsShare,
		"tabs share under a strict policy":         tabsShareStrictly,
		"an offline browser misses nothing":        isOffline,
		"a slow tab hears of everything":           isSlow,
		"where WebSockets break rooms are streams": isProxied,
	} {
		t.Run(name, func(t *testing.T) { test(t, browser) })
	}
}

func reloads(t *testing.T, browser context.Context) {
	g := start(t)
	p := newPublisher(t, g, "r")
	p.say(10, 0)
	page := openFollower(t, newPerson(t, browser), g.url("http"), "r", "{}")
	page.heardAll(t, 10, false)
	page.do(t, chromedp.Navigate("about:blank"))
	p.say(10, 0) // nobody is there
	page.do(t, chromedp.Navigate(g.url("http")+"/nothing"))
	page.follow(t, "r", "{}")
	page.heardAll(t, 20, false)
	page.do(t, chromedp.Reload())
	page.follow(t, "r", "{}")
	p.say(1, 0)
	page.heardAll(t, 21, false)
	if told := page.eval(t, "told.join()"); told != "" {
		t.Errorf("it was told of %s", told)
	}
}

func outlivesItsGateway(t *testing.T, browser context.Context) {
	g := start(t)
	p := newPublisher(t, g, "r")
	page := openFollower(t, newPerson(t, browser), g.url("http"), "r", "{}")
	p.say(50, 0)
	page.heardAll(t, 50, false)
	g.kill()
	page.waitFor(t, `client.state === "waiting"`)
	g = g.restart(t)
	p.dial(g)
	p.say(50, 0) // in another log: the embedded broker kept nothing
	page.heardAll(t, 100, false)
	if told := page.eval(t, "told.join()"); told != "reset" {
		t.Errorf("it was told of %q, want the reset", told)
	}
}

func tabsShare(t *testing.T, browser context.Context) {
	g := start(t)
	p := newPublisher(t, g, "r")
	p.say(20, 0)
	person := newPerson(t, browser)
	one := openFollower(t, person, g.url("http"), "r", `{ shared: true }`)
	one.heardAll(t, 20, false)
	other := openFollower(t, person, g.url("http"), "r", `{ shared: true }`)
	other.heardAll(t, 20, false)
	if a, b := one.eval(t, "client.welcome.connection"), other.eval(t, "client.welcome.connection"); a != b {
		t.Errorf("the tabs have the connections %s and %s", a, b)
	}
	if n := g.metric(t, "fanfare_connections"); n != "2" {
		t.Errorf("%s connections, want the publisher's and that of the tabs", n)
	}
	p.say(20, 0)
	one.heardAll(t, 40, false)
	other.heardAll(t, 40, false)
	if err := chromedp.Cancel(one.ctx); err != nil {
		t.Fatal(err)
	}
	p.say(20, 0)
	other.heardAll(t, 60, false)

	g.kill()
	other.waitFor(t, `client.state === "waiting"`)
	g = g.restart(t)
	p.dial(g)
	p.say(20, 0)
	other.heardAll(t, 80, false)
}

// The demo page's policy lets a SharedWorker be made by fanfare.js, and asks for trusted types.
func tabsShareStrictly(t *testing.T, browser context.Context) {
	g := start(t)
	p := newPublisher(t, g, "r")
	p.say(5, 0)
	page := openPage(t, browser, g.url("http")+"/")
	page.follow(t, "r", `{ shared: true }`)
	page.heardAll(t, 5, false)
	page.console.expectQuiet(t, false)
}

func isOffline(t *testing.T, browser context.Context) {
	g := start(t)
	c := newCutter(t, g.addr)
	p := newPublisher(t, g, "r")
	page := openFollower(t, newPerson(t, browser), "http://"+c.Addr().String(), "r", "{}")
	p.say(10, 0)
	page.heardAll(t, 10, false)

	c.away.Store(true)
	c.cut()
	page.onLine(t, false)
	page.waitFor(t, `client.state === "waiting"`)
	p.say(100, 0)
	end := time.NewTimer(*offline)
	defer end.Stop()
	<-end.C
	p.dial(g) // the gateway closes who answers no ping, and nobody read meanwhile
	c.away.Store(false)
	page.onLine(t, true)
	page.heardAll(t, 110, false)
	p.say(10, 0)
	page.heardAll(t, 120, false)
	if told := page.eval(t, "told.join()"); told != "" {
		t.Errorf("it was told of %s", told)
	}
}

// onLine is what the browser tells its pages of the network.
func (p *page) onLine(t *testing.T, on bool) {
	t.Helper()
	p.do(t, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: !on, DownloadThroughput: -1, UploadThroughput: -1})
		return err
	}))
	p.waitFor(t, fmt.Sprintf("navigator.onLine === %v", on))
}

// A tab that reads nothing for a while hears of everything in the end, though the gateway has let go of some of it for
// this connection: from history, or as a gap where that has no more.
func isSlow(t *testing.T, browser context.Context) {
	g := start(t)
	p := newPublisher(t, g, "r")
	page := openFollower(t, newPerson(t, browser), g.url("http"), "r", "{}")
	p.say(10, 0)
	page.heardAll(t, 10, false)
	busy, idle := make(chan struct{}), make(chan struct{})
	blocker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(busy)
		w.Header().Set("Access-Control-Allow-Origin", "*")
		select {
		case <-idle:
		case <-r.Context().Done():
		}
	}))
	defer blocker.Close()
	// A request that is not asynchronous holds everything else in the page.
	page.eval(t, fmt.Sprintf(`(setTimeout(() => {
		const request = new XMLHttpRequest();
		request.open("GET", %q, false);
		request.send();
	}), "soon")`, blocker.URL))
	<-busy
	p.say(3000, 8<<10) // 24 MB: more than lies on the way
	close(idle)
	p.say(10, 0)
	page.heardAll(t, 3020, true)
	if told := page.eval(t, "[...new Set(told)].join()"); told != "history_lost" {
		t.Errorf("it was told of %q, want what the history did not keep", told)
	}
}

// isProxied is behind a proxy that ends every WebSocket, and then behind one that does not any more.
func isProxied(t *testing.T, browser context.Context) {
	g := start(t)
	target, err := url.Parse(g.url("http"))
	if err != nil {
		t.Fatal(err)
	}
	var passes atomic.Bool
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" && !passes.Load() {
			r.Header.Del("Upgrade")
			r.Header.Del("Connection")
		}
		r.Host = target.Host
		r.Header.Del("Origin")
		proxy.ServeHTTP(w, r)
	}))
	defer front.Close()
	p := newPublisher(t, g, "r")
	p.say(5, 0)
	page := openFollower(t, newPerson(t, browser), front.URL, "r", "{}")
	page.heardAll(t, 5, false)
	if gateway := page.eval(t, "String(client.welcome.gateway)"); gateway != "undefined" {
		t.Errorf("it speaks with %s, want a stream, which names none", gateway)
	}
	page.eval(t, `(room.publish({ n: 6 }).then(({ seq }) => (window.stored = seq)), "soon")`)
	page.waitFor(t, "window.stored === 6")
	p.sent++
	p.say(4, 0)
	page.heardAll(t, 10, false)
	passes.Store(true)
	page.waitFor(t, "client.welcome.gateway")
	p.say(5, 0)
	page.heardAll(t, 15, false)
}

// metric is one series of the gateway, as it is written.
func (g *gateway) metric(t *testing.T, series string) string {
	t.Helper()
	r, err := http.Get("http://" + g.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
