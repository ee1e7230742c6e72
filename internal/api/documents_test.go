package api

import (
	"io/fs"
	"net/http"
	"path"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/protocol/schema"
)

func TestTheProtocolsDocumentsAreServedOnBothPorts(t *testing.T) {
	for port, h := range map[string]http.Handler{"public": Public(false), "admin": admin(false)} {
		served := 0
		err := fs.WalkDir(schema.Files(), ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			served++
			want, err := fs.ReadFile(schema.Files(), name)
			w := ask(h, "GET", "/"+name)
			kind := map[string]string{".yaml": "application/yaml", ".json": "application/schema+json"}[path.Ext(name)]
			if w.Code != 200 || w.Body.String() != string(want) || w.Header().Get("Content-Type") != kind || w.Header().Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s: %s: %d %v", port, name, w.Code, w.Header())
			}
			return err
		})
		if err != nil || served < 20 {
			t.Errorf("%s: %d documents, %v", port, served, err)
		}
		for _, name := range []string{"/schemas/", "/schemas/client", "/schemas/none.json", "/schemas/../asyncapi.yaml"} {
			w := ask(h, "GET", name)
			if w.Code >= 400 && w.Header().Get("Content-Type") == "application/problem+json" {
				continue
			}
			if w.Code/100 != 3 { // a path that is no clean one
				t.Errorf("%s: %s: %d %v %s", port, name, w.Code, w.Header(), w.Body)
			}
		}
		if w := ask(h, "POST", "/asyncapi.yaml"); w.Code != 405 || !strings.Contains(w.Header().Get("Allow"), "GET") ||
			w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: POST: %d %v", port, w.Code, w.Header())
		}
		if w := ask(h, "HEAD", "/asyncapi.yaml"); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") == "" {
			t.Errorf("%s: HEAD: %d %v", port, w.Code, w.Header())
		}
	}
}
