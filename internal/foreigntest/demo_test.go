package foreigntest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/fanfare-ws/fanfare/internal/chromiumtest"
)

const noticeText = `[...document.querySelectorAll(".log:not([hidden]) .notice%s")].map((e) => e.textContent).join("; ")`

// TestDemoShowsWhatHappens goes through what the demo is for: people who come, type and leave, a connection that is cut
// and a tab that is slow, each with what it missed and how it came back. The page is judged by axe in each of its
// forms, with pictures of them (go test -artifacts).
func TestDemoShowsWhatHappens(t *testing.T) {
	t.Parallel()
	axe := filepath.Join("node_modules", "axe-core", "axe.min.js")
	_, err := os.Stat(axe)
	need(t, "npm's axe-core in internal/foreigntest/node_modules", err == nil)
	browser := chromiumtest.Start(t)
	g := start(t)
	ann, ben := openPage(t, browser, g.url("http")+"/"), openPage(t, browser, g.url("http")+"/")
	for _, p := range []*page{ann, ben} {
		p.do(t, chromedp.EmulateViewport(1280, 800))
	}
	ann.call(t, "Ann")
	ben.call(t, "Ben")
	ann.waitFor(t, online+` && document.querySelector("#online").textContent === "2"`)
	ben.waitFor(t, fmt.Sprintf(noticeText, ".presence")+`.includes("Ann joined")`)

	ann.do(t, chromedp.SendKeys(chromedp.CSS("#text"), "Good evening"))
	ben.waitFor(t, `document.querySelector("#typing").textContent === "Ann is typing"`)
	ann.do(t, pressEnter)
	ben.waitFor(t, shows("Good evening")+` && document.querySelector("#typing").textContent === ""`)

	// A name that another has is refused in words, and kept is the one before.
	ben.eval(t, `document.querySelector("#name").value = ""`)
	ben.do(t, chromedp.SendKeys(chromedp.CSS("#name"), "Ann"+kb.Tab))
	ben.waitFor(t, `document.querySelector("#name-problem").textContent === "Ann is taken" && document.querySelector("#name").value === "Ben"`)

	ben.do(t, chromedp.Click(chromedp.CSS("#cut")))
	ben.waitFor(t, `document.querySelector("#status-text").textContent === "Cut"`)
	ben.picture(t, "cut")
	for n := range 3 {
		ann.say(t, fmt.Sprintf("While you were away, %d", n+1))
	}
	ann.waitFor(t, shows("While you were away, 3"))
	ben.do(t, chromedp.Click(chromedp.CSS("#cut")))
	ben.waitFor(t, fmt.Sprintf(noticeText, ".back")+`.endsWith("3 messages missed, and recovered")`)
	ben.waitFor(t, `document.querySelectorAll(".log:not([hidden]) .recovered").length === 3`)

	ben.do(t, chromedp.Click(chromedp.CSS("#slow")))
	ann.do(t, chromedp.Click(chromedp.CSS("#burst")))
	ben.waitFor(t, fmt.Sprintf(noticeText, ".gap.filled")+`.endsWith("this tab was too slow. Fetched from history")`)
	ben.do(t, chromedp.Click(chromedp.CSS("#slow")))
	for n := range 20 {
		ben.waitFor(t, shows(fmt.Sprintf("%d of 20", n+1)))
	}
	ben.expectInOrder(t)

	ben.eval(t, mustRead(t, axe)+`;"loaded"`)
	for _, scheme := range []string{"light", "dark"} {
		ben.scheme(t, scheme)
		for _, size := range []struct{ width, height int64 }{{1280, 800}, {820, 1180}, {390, 844}} {
			ben.do(t, chromedp.EmulateViewport(size.width, size.height))
			ben.waitFor(t, fmt.Sprintf("innerWidth === %d && %s", size.width, fits))
			name := fmt.Sprintf("%s-%d", scheme, size.width)
			ben.expectAccessible(t, name)
			ben.picture(t, "demo-"+name)
		}
		ben.do(t, chromedp.Click(chromedp.CSS("#panel-toggle")))
		ben.waitFor(t, `document.activeElement.id === "panel-close" && document.getAnimations().length === 0`)
		ben.expectAccessible(t, scheme+", the panel open")
		ben.picture(t, "demo-"+scheme+"-390-panel")
		ben.do(t, chromedp.KeyEvent(kb.Escape))
		ben.waitFor(t, `document.activeElement.id === "panel-toggle"`)
	}
	if err := chromedp.Cancel(ann.ctx); err != nil {
		t.Fatal(err)
	}
	ben.waitFor(t, fmt.Sprintf(noticeText, ".presence")+`.includes("Ann left")`)
	ben.console.expectQuiet(t, false)
}

// expectInOrder fails unless the messages that the page shows are the room's, each once and in order.
func (p *page) expectInOrder(t *testing.T) {
	t.Helper()
	shown := p.eval(t, `[...document.querySelectorAll(".log:not([hidden]) .message[data-seq]")].map((e) => e.dataset.seq).join()`)
	var want []string
	for n := range strings.Count(shown, ",") + 1 {
		want = append(want, fmt.Sprint(n+1))
	}
	if shown != strings.Join(want, ",") {
		t.Errorf("the page shows the messages %s", shown)
	}
}

// expectAccessible fails for whatever axe has against the page as it is.
func (p *page) expectAccessible(t *testing.T, form string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, pageTimeout)
	defer cancel()
	found, err := chromedp.Run(ctx, chromedp.Evaluate[string](`axe.run().then(({ violations }) =>
		violations.map((v) => v.id + ": " + v.help + "\n" + v.nodes.map((n) => "  " + n.html + " " + n.failureSummary).join("\n")).join("\n"))`,
		chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	if found != "" {
		t.Errorf("%s: %s", form, found)
	}
}

// scheme is the colour scheme that the browser prefers.
func (p *page) scheme(t *testing.T, scheme string) {
	t.Helper()
	p.do(t, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
