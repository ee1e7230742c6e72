package api

import (
	"net/http"
	"strings"

	"github.com/fanfare-ws/fanfare/internal/gateway"
	"github.com/fanfare-ws/fanfare/internal/webclient"
)

// Public is what the public port serves beside WebSockets: the demo page and the
// client at / and /fanfare.js, the protocol's documents, rooms as Server-Sent Events
// and what is published beside those. echo says whether there is a GET /echo.
func Public(echo bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", webclient.Handler())
	mux.HandleFunc(gateway.PathWS, upgradeRequired)
	handleDocuments(mux)
	if echo {
		mux.HandleFunc(gateway.PathEcho, upgradeRequired)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Not the mux's, as it makes other paths of names with // and .. in them.
		switch {
		case !strings.HasPrefix(r.URL.Path, eventsBefore):
			mux.ServeHTTP(w, r)
		case isPost(r.URL):
			post(w, r)
		default:
			events(w, r)
		}
	})
}

// upgradeRequired answers a request that should have been a WebSocket handshake
// (RFC 9110 section 15.5.22).
func upgradeRequired(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Upgrade", "websocket")
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Sec-WebSocket-Version", "13")
	writeJSON(w, http.StatusUpgradeRequired, map[string]any{
		"error": map[string]string{"code": "upgrade_required", "message": "connect with a WebSocket"},
	})
}
