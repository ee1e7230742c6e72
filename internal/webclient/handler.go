// Package webclient owns what a browser is given: fanfare.js, the JavaScript client, and the demo page that uses it.
// The folder is also the client's npm package. What is served as /fanfare.js is fanfare.min.js, which go generate makes
// of it (after npm install in this folder): under 5 KB compressed. The files are embedded, read only and the same for everyone; the handler runs on net/http's goroutines and keeps no
// state. It never renders a template and knows nothing of rooms, connections or configuration: the page finds its
// gateway at "ws" beside itself.
package webclient

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"time"
)

//go:generate npm run build

//go:embed index.html demo.css demo.js fanfare.min.js fanfare-worker.js icon.svg
var files embed.FS

// contentSecurityPolicy lets the page load its own files and open WebSockets, and nothing else. It needs no inline
// script or style; requiring trusted types makes the browser refuse innerHTML and its like. connect-src names ws: and
// wss: because older Safari does not count them as 'self'.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'"

// assets maps the paths that are served to their file and its content type.
var assets = map[string]struct{ file, contentType string }{
	"/":           {"index.html", "text/html; charset=utf-8"},
	"/demo.css":   {"demo.css", "text/css; charset=utf-8"},
	"/demo.js":    {"demo.js", "text/javascript; charset=utf-8"},
	"/fanfare.js": {"fanfare.min.js", "text/javascript; charset=utf-8"},
	"/icon.svg":   {"icon.svg", "image/svg+xml"},

	"/fanfare-worker.js": {"fanfare-worker.js", "text/javascript; charset=utf-8"},
}

// Handler serves the demo page at exactly "/", the client at /fanfare.js with its worker beside it, and the page's own
// files; any other path is
// 404 and any method but GET and HEAD is 405. Answers carry a strong ETag and are to be revalidated, so that a page and
// its script are never of two versions.
func Handler() http.Handler {
	mux := http.NewServeMux()
	for path, a := range assets {
		pattern := path
		if path == "/" {
			pattern = "/{$}"
		}
		mux.Handle(pattern, asset(a.file, a.contentType))
	}
	return mux
}

func asset(file, contentType string) http.Handler {
	content, err := files.ReadFile(file)
	if err != nil {
		panic("webclient: not embedded: " + file)
	}
	sum := sha256.Sum256(content)
	etag := `"` + hex.EncodeToString(sum[:16]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		h.Set("Content-Type", contentType)
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}
