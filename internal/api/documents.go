package api

import (
	"bytes"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol/schema"
)

// documentTypes are what is served of the wire protocol's documents: RFC 9512,
// and JSON Schema 2020-12 section 14.2.
var documentTypes = map[string]string{".yaml": "application/yaml", ".json": "application/schema+json"}

// handleDocuments serves /asyncapi.yaml and the messages' schemas under
// /schemas/, to any page: they are the same for everyone.
func handleDocuments(mux *http.ServeMux) {
	mux.HandleFunc("/asyncapi.yaml", document)
	mux.HandleFunc("/schemas/", document)
}

func document(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		onlyGet(w, r)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	content, err := fs.ReadFile(schema.Files(), name) // a folder cannot be read
	if err != nil {
		nowhere(w, r)
		return
	}
	w.Header().Set("Content-Type", documentTypes[path.Ext(name)])
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}
