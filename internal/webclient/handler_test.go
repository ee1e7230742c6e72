package webclient

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, method, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestServesEachAssetWithItsType(t *testing.T) {
	for path, want := range map[string]struct{ contentType, contains string }{
		"/":           {"text/html; charset=utf-8", "<!doctype html>"},
		"/fanfare.js": {"text/javascript; charset=utf-8", "export function connect("},
		"/demo.js":    {"text/javascript; charset=utf-8", `from "./fanfare.js"`},
		"/demo.css":   {"text/css; charset=utf-8", "prefers-color-scheme"},
		"/icon.svg":   {"image/svg+xml", "<svg"},

		"/fanfare-worker.js": {"text/javascript; charset=utf-8", "onconnect"},
	} {
		r := get(t, "GET", path)
		if r.StatusCode != http.StatusOK {
			t.Errorf("GET %s: status %d", path, r.StatusCode)
		}
		if got := r.Header.Get("Content-Type"); got != want.contentType {
			t.Errorf("GET %s: Content-Type %q, want %q", path, got, want.contentType)
		}
		if !strings.Contains(body(t, r), want.contains) {
			t.Errorf("GET %s: body lacks %q", path, want.contains)
		}
	}
}

func TestEveryAnswerCarriesTheSecurityHeaders(t *testing.T) {
	for path := range assets {
		h := get(t, "GET", path).Header
		if got := h.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options %q", path, got)
		}
		if got := h.Get("Referrer-Policy"); got != "no-referrer" {
			t.Errorf("%s: Referrer-Policy %q", path, got)
		}
		policy := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self' ws: wss:", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: policy %q lacks %q", path, policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q allows something unsafe", path, policy)
		}
	}
}

func TestOtherPathsAreNotFound(t *testing.T) {
	for _, path := range []string{"/index.html", "/handler.go", "/fanfare.js/", "/fanfare.min.js", "/fanfare.d.ts", "/package.json", "/fanfare.test.mjs", "/x", "/ws/x"} {
		if r := get(t, "GET", path); r.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: status %d, want 404", path, r.StatusCode)
		}
	}
}

func TestHeadIsGetWithoutTheBody(t *testing.T) {
	for path := range assets {
		full, head := get(t, "GET", path), get(t, "HEAD", path)
		if head.StatusCode != http.StatusOK || body(t, head) != "" {
			t.Errorf("HEAD %s: status %d or a body", path, head.StatusCode)
		}
		for _, name := range []string{"Content-Length", "Content-Type", "Etag", "Content-Security-Policy"} {
			if f, h := full.Header.Get(name), head.Header.Get(name); f == "" || f != h {
				t.Errorf("%s: %s is %q for GET and %q for HEAD", path, name, f, h)
			}
		}
	}
}

func TestOtherMethodsAreNotAllowed(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		r := get(t, method, "/")
		if r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s /: status %d, Allow %q", method, r.StatusCode, r.Header.Get("Allow"))
		}
		if r.Header.Get("ETag") != "" {
			t.Errorf("%s /: the refusal bears the page's ETag", method)
		}
	}
}

func TestKnownETagIsNotModified(t *testing.T) {
	seen := map[string]string{}
	for path := range assets {
		first := get(t, "GET", path)
		etag := first.Header.Get("ETag")
		if other, ok := seen[etag]; ok {
			t.Errorf("%s and %s share the ETag %s", path, other, etag)
		}
		seen[etag] = path
		if got := first.Header.Get("Cache-Control"); got != "no-cache" {
			t.Errorf("%s: Cache-Control %q, want no-cache", path, got)
		}
		if r := get(t, "GET", path, "If-None-Match", etag); r.StatusCode != http.StatusNotModified {
			t.Errorf("%s with its ETag: status %d, want 304", path, r.StatusCode)
		}
		if r := get(t, "GET", path, "If-None-Match", `"another"`); r.StatusCode != http.StatusOK {
			t.Errorf("%s with another ETag: status %d, want 200", path, r.StatusCode)
		}
	}
}

// The policy blocks all of these, in the browser and in silence; here it is a failure with a line.
func TestPageNeedsNothingThePolicyForbids(t *testing.T) {
	for file, forbidden := range map[string]*regexp.Regexp{
		"index.html": regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script(?:\s+type="module")?>|(?:src|href)="(?:[a-z]+:)?//`),
		"demo.css":   regexp.MustCompile(`@import|url\(`),
		"demo.js":    regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://`),
		"fanfare.js": regexp.MustCompile(`innerHTML|\beval\(|new Function|https?://|^import`),
	} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range strings.Split(string(content), "\n") {
			if found := forbidden.FindString(line); found != "" {
				t.Errorf("%s:%d: %q in %s", file, n+1, found, strings.TrimSpace(line))
			}
		}
	}
}
