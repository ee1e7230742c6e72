package foreigntest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/fanfare-ws/fanfare/internal/chromiumtest"
)

// pageTimeout bounds each thing that a page is to do; reconnecting by back-off is the longest.
const pageTimeout = 30 * time.Second

// page is one tab with the demo page open, in a browser context of its own: another person's browser.
type page struct {
	ctx     context.Context
	console *console
}

func openPage(t *testing.T, browser context.Context, url string) *page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	p := &page{ctx: ctx, console: watchConsole(ctx)}
	p.do(t, chromedp.Navigate(url))
	p.waitFor(t, online)
	return p
}

func (p *page) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, pageTimeout)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// waitFor waits until a JavaScript expression is true. (chromedp.Poll makes a function of a string, which the page's
// Content-Security-Policy refuses.)
func (p *page) waitFor(t *testing.T, expression string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, pageTimeout)
	defer cancel()
	script := fmt.Sprintf(`new Promise((done) => {
		const look = () => { if (%s) { clearInterval(timer); done(true); } };
		const timer = setInterval(look, 20);
	})`, expression)
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[bool](script, chromedp.EvalAwaitPromise)); err != nil {
		text, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string](`document.body.innerText`))
		t.Fatalf("waiting for %s: %v; the page says:\n%s", expression, err, text)
	}
}

func (p *page) eval(t *testing.T, expression string) string {
	t.Helper()
	value, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// say writes a message as a person would, and sends it with Enter.
func (p *page) say(t *testing.T, text string) {
	t.Helper()
	p.do(t, chromedp.SendKeys(chromedp.CSS("#text"), text), pressEnter)
	if left := p.eval(t, `document.querySelector("#text").value`); left != "" {
		t.Errorf("after sending %q the composer holds %q", text, left)
	}
}

// pressEnter is what a keyboard does. (kb.Enter of chromedp inserts a line even where the page prevents it.)
var pressEnter = chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
	for _, step := range []input.DispatchKeyEventParams{
		{Type: input.DispatchKeyEventTypeRawKeyDown, Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: 13},
		{Type: input.DispatchKeyEventTypeChar, Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: 13, Text: "\r"},
		{Type: input.DispatchKeyEventTypeKeyUp, Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: 13},
	} {
		if _, err := cdp.Call(ctx, target, input.DispatchKeyEvent, step); err != nil {
			return err
		}
	}
	return nil
})

// call sets the page's display name.
func (p *page) call(t *testing.T, name string) {
	t.Helper()
	p.eval(t, `document.querySelector("#name").value = ""`)
	p.do(t, chromedp.SendKeys(chromedp.CSS("#name"), name+kb.Tab))
	p.waitFor(t, fmt.Sprintf(`[...document.querySelectorAll("#people li")].some((e) => e.textContent.includes(%q + " (you)"))`, name))
}

const (
	online       = `document.querySelector("#status").dataset.state === "open"`
	reconnecting = `document.querySelector("#status").dataset.state !== "open"`
)

// shows is true when the shown room has exactly one message with this text, whole.
func shows(text string) string {
	return fmt.Sprintf(`[...document.querySelectorAll(".log:not([hidden]) .entries .text")].filter((e) => e.textContent === %q).length === 1`, text)
}

// console collects what a page writes to its console and what the browser says about it, policy violations included.
type console struct {
	mu       sync.Mutex
	messages []chromedp.ConsoleMessage // guarded by mu
}

func watchConsole(ctx context.Context) *console {
	c := &console{}
	messages := chromedp.Console(ctx)
	go func() { // ends with the tab
		for m, err := range messages {
			if err != nil {
				return
			}
			c.mu.Lock()
			c.messages = append(c.messages, m)
			c.mu.Unlock()
		}
	}()
	return c
}

// expectQuiet fails for anything in the console but the browser's own lines about a WebSocket that could not be
// opened: no page can keep the browser from writing those while the gateway is away.
func (c *console) expectQuiet(t *testing.T, gatewayWasAway bool) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.messages {
		if gatewayWasAway && strings.HasPrefix(m.Text, "WebSocket connection to ") && strings.Contains(m.Text, "ERR_CONNECTION_REFUSED") {
			continue
		}
		t.Errorf("console: %s (%s %s)", m, m.Source, m.URL)
	}
}

func TestTwoBrowsersChatAndComeBack(t *testing.T) {
	t.Parallel()
	browser := chromiumtest.Start(t)
	g := start(t)
	ann, ben := openPage(t, browser, "http://"+g.addr+"/"), openPage(t, browser, "http://"+g.addr+"/#lobby")
	ann.call(t, "Ann")
	ben.call(t, "Ben")

	ann.say(t, "Hello, Ben")
	ben.waitFor(t, shows("Hello, Ben"))
	ben.say(t, "<b>Hello</b>, Ann")
	ann.waitFor(t, shows("<b>Hello</b>, Ann"))
	ann.waitFor(t, shows("Hello, Ben"))
	if name := ben.eval(t, `document.querySelector(".message:not(.mine) .who b").textContent`); name != "Ann" {
		t.Errorf("Ben sees the name %q, want Ann", name)
	}
	ann.console.expectQuiet(t, false)
	ben.console.expectQuiet(t, false)

	g.kill()
	ann.waitFor(t, reconnecting)
	ben.waitFor(t, reconnecting)
	ann.say(t, "Said while away")
	g.restart(t)
	ann.waitFor(t, online)
	ben.waitFor(t, online)
	ann.waitFor(t, shows("Said while away"))
	ben.waitFor(t, shows("Said while away"))
	ben.say(t, "Back again")
	ann.waitFor(t, shows("Back again"))
	ben.waitFor(t, `document.querySelector(".log:not([hidden]) .outbox").childElementCount === 0`)
	ann.console.expectQuiet(t, true)
	ben.console.expectQuiet(t, true)
}

func TestPageKeepsRoomsApartAndBringsHistory(t *testing.T) {
	t.Parallel()
	browser := chromiumtest.Start(t)
	g := start(t)
	url := "http://" + g.addr + "/"
	ann := openPage(t, browser, url+"#garden")
	if title := ann.eval(t, `document.querySelector("#title").textContent`); title != "garden" {
		t.Errorf("the page shows %q, want the room of its address, garden", title)
	}
	for n := range 60 {
		ann.say(t, fmt.Sprintf("message %d", n))
	}
	ann.waitFor(t, shows("message 59"))

	ben := openPage(t, browser, url)
	ben.do(t, chromedp.SendKeys(chromedp.CSS("#add-name"), "garden"+kb.Enter))
	ben.waitFor(t, shows("message 59"))
	ben.waitFor(t, shows("message 10"))
	if n := ben.eval(t, `String(document.querySelectorAll(".log:not([hidden]) .message").length)`); n != "50" {
		t.Errorf("%s messages on joining, want the last 50", n)
	}
	ben.do(t, chromedp.Click(chromedp.CSS(`#rooms a[href="#lobby"]`)))
	ben.waitFor(t, `document.querySelector("#title").textContent === "lobby"`)
	ann.say(t, "are you still here?")
	ben.waitFor(t, `document.querySelector('#rooms a[href="#garden"] .unread').textContent === "1"`)
	if ben.eval(t, `document.querySelector(".log:not([hidden]) .entries").textContent`) != "" {
		t.Error("a message of the garden shows in the lobby")
	}
	ann.console.expectQuiet(t, false)
	ben.console.expectQuiet(t, false)
}

// TestPageFitsItsWindow takes pictures of the page (kept with go test -artifacts) and fails where it is wider than its
// window or the composer is out of sight.
func TestPageFitsItsWindow(t *testing.T) {
	t.Parallel()
	browser := chromiumtest.Start(t)
	g := start(t)
	ann, ben := openPage(t, browser, "http://"+g.addr+"/#lobby"), openPage(t, browser, "http://"+g.addr+"/#lobby")
	ann.call(t, "Ann")
	ben.call(t, "Ben")
	for _, room := range []string{"orchestra", "news:europe"} {
		ben.do(t, chromedp.SendKeys(chromedp.CSS("#add-name"), room+kb.Enter))
		ben.waitFor(t, online)
	}
	ben.do(t, chromedp.Click(chromedp.CSS(`#rooms a[href="#lobby"]`)))
	ann.say(t, "Good morning! Is anybody there?")
	ben.waitFor(t, shows("Good morning! Is anybody there?"))
	ben.say(t, "I am. The second window, on the other side of the desk.")
	ann.waitFor(t, shows("I am. The second window, on the other side of the desk."))
	ann.say(t, "Then this works.")
	ann.say(t, "A longer message has to break well, on a phone as on a desk, and so has a word that is none: "+strings.Repeat("fanfare", 20))
	ben.waitFor(t, shows("Then this works."))
	ben.say(t, "It does 🎺")
	ben.waitFor(t, shows("It does 🎺"))

	for _, scheme := range []string{"light", "dark"} {
		ben.scheme(t, scheme)
		for _, size := range []struct{ width, height int64 }{{1280, 800}, {820, 1180}, {390, 844}} {
			ben.do(t, chromedp.EmulateViewport(size.width, size.height))
			ben.waitFor(t, fmt.Sprintf("innerWidth === %d && %s", size.width, fits))
			ben.picture(t, fmt.Sprintf("%s-%dx%d", scheme, size.width, size.height))
		}
	}
	ann.console.expectQuiet(t, false)
	ben.console.expectQuiet(t, false)

	g.kill()
	ben.waitFor(t, reconnecting+" && "+fits)
	ben.picture(t, "reconnecting")
}

// fits is true when nothing of the page reaches out of its window.
const fits = `document.documentElement.scrollWidth <= innerWidth &&
	document.querySelector("#composer").getBoundingClientRect().bottom <= innerHeight &&
	document.querySelector("#status").getBoundingClientRect().right <= innerWidth`

func (p *page) picture(t *testing.T, name string) {
	t.Helper()
	png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}
