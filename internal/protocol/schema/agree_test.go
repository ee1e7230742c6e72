package schema

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// beyond are requests of which schema and decoder do not say the same, as JSON
// Schema has no word for why.
var beyond = map[string]string{
	"duplicate name":              "a parser keeps one of them",
	"duplicate name by escape":    "a parser keeps one of them",
	"duplicate name in payload":   "a parser keeps one of them",
	"duplicate name inside data":  "a parser keeps one of them",
	"lone surrogate":              "a parser puts U+FFFD in its place",
	"reversed surrogates":         "a parser puts U+FFFD in their place",
	"nesting of 65":               "nesting",
	"nesting of 65 objects":       "nesting",
	"nesting in an ignored field": "nesting",
	`request_id "ééééééééééééééééééééééééééééééééé"`: "length in bytes",
	`publish id "ééééééééééééééééééééééééééééééééé"`: "length in bytes",
	"version 1.0":                            "spelling of an integer",
	"version 1e0":                            "spelling of an integer",
	"version 1E0":                            "spelling of an integer",
	`join since.seq {"epoch":"e","seq":1.0}`: "spelling of an integer",
	`join since.seq {"epoch":"e","seq":1e3}`: "spelling of an integer",
	"join last 1.0":                          "spelling of an integer",
	"join last 1e3":                          "spelling of an integer",
	"history limit 1.0":                      "spelling of an integer",
	"register puts the name into NFC":        "the gateway does that for who did not",
}

// TestRequestsAreTakenAsTheirSchemaSays holds the vectors of package protocol to
// the schemas, both ways: what a schema accepts the decoder accepts, and the
// other way round.
func TestRequestsAreTakenAsTheirSchemaSays(t *testing.T) {
	content, err := os.ReadFile("../testdata/requests.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	all := compiler(t).MustCompile(base + "schemas/client.json")
	unseen := maps.Clone(beyond)
	taken := 0
	for line := range bytes.Lines(content) {
		var v struct{ Name, Input string }
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatal(err)
		}
		var d protocol.Decoder
		var r protocol.Request
		problem := d.Decode([]byte(v.Input), &r)
		message, err := jsonschema.UnmarshalJSON(strings.NewReader(v.Input))
		if err == nil {
			err = all.Validate(message)
		}
		same := (err == nil) == (problem == nil)
		if _, known := beyond[v.Name]; known == same {
			t.Errorf("%s: the decoder says %v, the schema %v, and that they differ is known: %v", v.Name, problem, err, known)
		}
		delete(unseen, v.Name)
		if err == nil {
			taken++
		}
	}
	if taken < 50 || len(unseen) > 0 {
		t.Errorf("%d requests taken; there are none of %v", taken, unseen)
	}
}

// TestEveryFieldIsDescribed: each member of each message says what it is, itself
// or where it refers to.
func TestEveryFieldIsDescribed(t *testing.T) {
	fields := 0
	for name, content := range documents(t) {
		var described func(at string, v any)
		described = func(at string, v any) {
			switch v := v.(type) {
			case []any:
				for _, element := range v {
					described(at, element)
				}
			case map[string]any:
				for _, holder := range []string{"properties", "$defs"} {
					members, _ := v[holder].(map[string]any)
					for member, schema := range members {
						fields++
						s := schema.(map[string]any)
						if text, _ := s["description"].(string); text == "" && s["$ref"] == nil {
							t.Errorf("%s: %s/%s has no description", name, at, member)
						}
					}
				}
				for member, child := range v {
					described(at+"/"+member, child)
				}
			}
		}
		described("", value(t, content))
		if title, _ := value(t, content).(map[string]any)["title"].(string); title == "" {
			t.Errorf("%s has no title", name)
		}
	}
	if fields < 100 {
		t.Errorf("only %d fields were looked at", fields)
	}
}

// TestTheDecodersTypesHaveSchemas: a type that is decoded has a schema, even if
// nothing here writes it.
func TestTheDecodersTypesHaveSchemas(t *testing.T) {
	for kind := protocol.Type(1); kind.String() != "unknown"; kind++ {
		if _, err := fs.Stat(Files(), "schemas/client/"+kind.String()+".json"); err != nil {
			t.Error(err)
		}
	}
}
