package api

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/fanfare-ws/fanfare/internal/chromiumtest"
)

func TestTheFleetPageIsServedToEveryoneAndKnowsNothing(t *testing.T) {
	s := serve(t)
	for path, kind := range map[string]string{"/debug/fleet": "text/html", "/debug/fleet.js": "text/javascript", "/debug/fleet.css": "text/css"} {
		answer, err := http.Get(s.http.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		h := answer.Header
		if answer.StatusCode != 200 || !strings.HasPrefix(h.Get("Content-Type"), kind) || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %s %v", path, answer.Status, h)
		}
		policy := h.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; ") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: the policy is %q", path, policy)
		}
	}
	answer, err := http.Post(s.http.URL+"/debug/fleet", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 405 {
		t.Errorf("POST: %s", answer.Status)
	}
}

// fleetPage is the page in a browser.
type fleetPage struct {
	t   *testing.T
	ctx context.Context

	mu      sync.Mutex
	trouble []string // that it throws, or writes to the console
}

func openFleetPage(t *testing.T, url string) *fleetPage {
	t.Helper()
	ctx := chromiumtest.Start(t)
	p := &fleetPage{t: t, ctx: ctx}
	err := chromedp.Listen(ctx, func(e any) {
		p.mu.Lock()
		defer p.mu.Unlock()
		switch e := e.(type) {
		case *runtime.EventExceptionThrown:
			p.trouble = append(p.trouble, "it throws "+e.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			p.trouble = append(p.trouble, "it writes to the console")
		}
	})
	if err == nil {
		err = chromedp.Do(ctx, chromedp.EmulateViewport(1280, 800), chromedp.Navigate(url))
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// look evaluates an expression of strings.
func (p *fleetPage) look(script string) string {
	p.t.Helper()
	text, err := chromedp.Run(p.ctx, chromedp.Evaluate[string]("String("+script+")"))
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

func (p *fleetPage) until(what, script string) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); p.look(script) != "true"; <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("not in time: %s\n%s", what, p.look("document.body.innerText"))
		}
	}
}

// rows are the cells of a table's body.
func (p *fleetPage) rows(table string) (rows [][]string) {
	p.t.Helper()
	text := p.look(`JSON.stringify([...document.querySelectorAll("#` + table + ` tbody tr")].map((r) => [...r.cells].map((c) => c.textContent)))`)
	if err := json.Unmarshal([]byte(text), &rows); err != nil {
		p.t.Fatal(err)
	}
	return rows
}

// keep takes a picture of the page (kept with go test -artifacts).
func (p *fleetPage) keep(name string) {
	p.t.Helper()
	png, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(p.t.ArtifactDir(), name+".png"), png, 0o600)
	}
	if err != nil {
		p.t.Error(err)
	}
}

// The page asks for a key, draws what the gateways show, again each second, and
// makes no markup of names.
func TestTheFleetPageDrawsTheFleetInABrowser(t *testing.T) {
	s := serve(t)
	p := openFleetPage(t, s.http.URL+"/debug/fleet")
	p.until("it asks for a key", `!document.getElementById("key").hidden`)
	p.keep("key")
	enter := func(key string) {
		p.look(`(() => { document.getElementById("secret").value = "` + key + `"; document.querySelector("#key button").click(); })()`)
	}
	enter(keyRead)
	p.until("it says that this key is not for that", `document.getElementById("status").textContent.includes("not for that")`)
	enter(keyAdmin)
	p.until("it draws", `document.getElementById("status").textContent.startsWith("5 connections on 2 gateways")`)
	p.until("it looks again", `performance.getEntriesByType("resource").filter((e) => e.name.endsWith("/v1/fleet")).length >= 4`)
	if rows := p.rows("rooms"); len(rows) != 1 || rows[0][0] != "<b>lobby</b>" || rows[0][1] != "3" || rows[0][3] != "9" {
		t.Errorf("rooms %q", rows)
	}
	if rows := p.rows("slow"); len(rows) != 1 || strings.Join(rows[0], " ") != "c-1 ada gw1 1 4 3.9 KiB 7 1.5 s" {
		t.Errorf("slow %q", rows)
	}
	rows := p.rows("gateways")
	if len(rows) != 2 || rows[0][0] != "gw1" || rows[0][2] != "takes traffic" || rows[0][3] != "3" || rows[0][6] != "25 %" || rows[1][2] != "draining" {
		t.Errorf("gateways %q", rows)
	}
	if rows := p.rows("health"); len(rows) != 2 || rows[0][1] != "250 ms" || rows[0][3] != "1" || rows[0][7] != "40 ms" || rows[1][11] != "has not shown itself yet" {
		t.Errorf("health %q", rows)
	}
	p.keep("fleet")
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.trouble {
		t.Error(line)
	}
}
