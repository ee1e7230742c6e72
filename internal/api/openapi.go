package api

import (
	_ "embed"
	"net/http"
	"strconv"
)

// openAPIDocument describes all that the admin port serves.
//
//go:embed openapi.yaml
var openAPIDocument []byte

func openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml") // RFC 9512
	w.Header().Set("Content-Length", strconv.Itoa(len(openAPIDocument)))
	_, _ = w.Write(openAPIDocument)
}
