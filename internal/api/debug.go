package api

import (
	"bytes"
	"embed"
	"net/http"
	"path"
	"time"
)

// debugFiles is the page /debug/fleet: for the five minutes before there is a
// dashboard. The page is the same for everyone and knows nothing; what it draws it
// asks of /v1/fleet, with the key that its user gives it.
//
//go:embed debug
var debugFiles embed.FS

// debugPolicy lets the page load its two files and ask its own port, and nothing
// else; requiring trusted types makes the browser refuse innerHTML and its like.
const debugPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

var debugTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
}

// handleDebug serves the page and its files.
func handleDebug(mux *http.ServeMux) {
	for at, file := range map[string]string{
		"/debug/fleet": "debug/fleet.html", "/debug/fleet.css": "debug/fleet.css", "/debug/fleet.js": "debug/fleet.js",
	} {
		mux.HandleFunc("GET "+at, debugFile(file))
		mux.HandleFunc(at, onlyGet)
	}
}

func debugFile(file string) http.HandlerFunc {
	content, err := debugFiles.ReadFile(file)
	if err != nil {
		panic("api: not embedded: " + file)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", debugTypes[path.Ext(file)])
		h.Set("Content-Security-Policy", debugPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
}
