package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/fanfare-ws/fanfare/internal/chromiumtest"
)

// TestTheReadmesPagesWork opens the pages of the README's examples in a browser,
// from a site that is not the gateway.
func TestTheReadmesPagesWork(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	site := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(site.Close)
	files := files(string(text))
	for _, name := range []string{"chat.html", "scores.html", "cursors.html", "scores.yaml"} {
		if files[name] == "" {
			t.Fatalf("the README has no %s", name)
		}
	}
	write(t, filepath.Join(dir, "scores.yaml"), files["scores.yaml"])
	p := serving(t, "--listen", "127.0.0.1:0", "--config", filepath.Join(dir, "scores.yaml"), "--dev", "--origins", site.URL)
	for name, content := range files {
		write(t, filepath.Join(dir, name), strings.ReplaceAll(content, "localhost:8080", p.addr))
	}
	write(t, filepath.Join(dir, "fanfare.js"), get(t, "http://"+p.addr+"/fanfare.js"))

	one := startBrowser(t)
	two := one.another()
	for _, page := range []*tab{one, two} {
		page.open(site.URL + "/chat.html")
	}
	// A page is in the room when it hears of it: so it says it until then.
	one.until("what it says", `(document.querySelector("#text").value = "first", document.querySelector("#speak button").click(), said(1))`)
	two.until("what it says", `(document.querySelector("#text").value = "<b>second</b>", document.querySelector("#speak button").click(), said(1))`)
	one.until("what the other says", `[...document.querySelectorAll("#said li")].some((li) => li.textContent.endsWith(": <b>second</b>"))`)

	one.open(site.URL + "/scores.html")
	for _, score := range []string{"1 : 0", "1 : 1"} {
		home, away, _ := strings.Cut(score, " : ")
		answer, err := http.Post("http://"+p.admin+"/v1/rooms/scores:final/messages", "application/json",
			strings.NewReader(`{"data":{"home":`+home+`,"away":`+away+`}}`))
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatal(answer, err)
		}
		answer.Body.Close()
		one.until("the score", `document.querySelector("#score").value === "`+score+`"`)
	}

	for _, page := range []*tab{one, two} {
		page.open(site.URL + "/cursors.html")
	}
	one.until("the other's cursor", `document.querySelectorAll(".cursor").length === 1`, func() { two.move() })
	two.open("about:blank")
	one.until("that the other has gone", `document.querySelectorAll(".cursor").length === 0`)
}

func get(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatal(answer.Status, err)
	}
	return string(body)
}

// tab is a page in a browser.
type tab struct {
	t    *testing.T
	ctx  context.Context
	near int // where the pointer is
}

func startBrowser(t *testing.T) *tab {
	t.Helper()
	return &tab{t: t, ctx: chromiumtest.Start(t)}
}

// another is one more tab of the browser.
func (p *tab) another() *tab {
	p.t.Helper()
	ctx, cancel := chromedp.NewContext(p.ctx)
	p.t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		p.t.Fatalf("chromium: %v", err)
	}
	return &tab{t: p.t, ctx: ctx}
}

func (p *tab) open(url string) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, chromedp.Navigate(url)); err != nil {
		p.t.Fatal(err)
	}
}

// until waits until a page shows what it is to, and does something meanwhile.
func (p *tab) until(what, script string, meanwhile ...func()) {
	p.t.Helper()
	script = `((said) => String(` + script + `))((n) => document.querySelectorAll("#said li").length >= n)`
	for deadline := time.Now().Add(patience); ; <-time.After(50 * time.Millisecond) {
		for _, f := range meanwhile {
			f()
		}
		shown, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](script))
		if err != nil {
			p.t.Fatal(err)
		}
		if shown == "true" {
			return
		}
		if time.Now().After(deadline) {
			body, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string]("document.body.outerHTML"))
			p.t.Fatalf("a page does not show %s:\n%s", what, body)
		}
	}
}

// move moves the pointer.
func (p *tab) move() {
	p.t.Helper()
	p.near = (p.near + 10) % 200
	err := chromedp.Do(p.ctx, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, input.DispatchMouseEvent, input.DispatchMouseEventParams{
			Type: input.DispatchMouseEventTypeMouseMoved, X: float64(50 + p.near), Y: 60,
		})
		return err
	}))
	if err != nil {
		p.t.Fatal(err)
	}
}
