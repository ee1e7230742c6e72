// Package schema has the wire protocol in a form that machines read: an AsyncAPI
// 3 document, and a JSON Schema (2020-12) of every message both ways. They are
// files, embedded and the same for everyone; tests hold them to what package
// protocol accepts and writes, in both directions.
//
// The schemas have no $id: a reference is relative to where a schema was read
// from. What JSON Schema cannot say they leave to their descriptions: lengths in
// bytes, names that stand twice, nesting, and that integers stand in plain digits.
package schema

import (
	"embed"
	"io/fs"
)

//go:embed asyncapi.yaml schemas
var files embed.FS

// Files are asyncapi.yaml and the schemas: schemas/client.json and
// schemas/server.json of every message each way, schemas/client/TYPE.json and
// schemas/server/TYPE.json of one, schemas/events/close.json of what a stream of
// events alone has.
func Files() fs.FS { return files }
