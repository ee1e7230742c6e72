package api

import (
	"net/http"

	"github.com/fanfare-ws/fanfare/internal/gateway"
)

// preflightAge is how long, in seconds, a browser need not ask again: origins may be
// others after a reload, and the request itself is held against them in any case.
const preflightAge = "600"

// shared lets pages of the origins that may connect read the answer, and why there
// is none. It returns true where it was only asked whether such a page may ask by
// this method, as a browser does before it sends a token, JSON or Last-Event-ID of
// the page's (https://fetch.spec.whatwg.org/#http-cors-protocol).
func shared(w http.ResponseWriter, r *http.Request, method string) bool {
	h := w.Header()
	h.Set("Vary", "Origin")
	if !gateway.MayRead(r) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
	h.Set("Access-Control-Expose-Headers", "Retry-After")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", method)
	h.Set("Access-Control-Allow-Headers", "Authorization, Cache-Control, Content-Type, Last-Event-ID")
	h.Set("Access-Control-Max-Age", preflightAge)
	w.WriteHeader(http.StatusNoContent)
	return true
}
