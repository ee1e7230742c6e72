package charttest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	yamlv3 "go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write what is made of other files, in place of comparing it")

// written compares a file with what it should be, or writes it.
func written(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s is not what it is made of: make chart-files writes it (%v)", strings.TrimPrefix(path, repository+"/"), err)
	}
}

// copies are the files of deploy/ that the chart has too, by where: charts read
// files below their own folder alone.
var copies = map[string]string{
	"alerts.yml":        "deploy/prometheus/alerts.yml",
	"dashboards/*.json": "deploy/grafana/dashboards/*.json",
}

func TestTheFilesAreThoseOfDeploy(t *testing.T) {
	for to, from := range copies {
		folder, want := filepath.Dir(chartPath+"/files/"+to), make(map[string]bool)
		for _, source := range glob(t, repository+"/"+from) {
			copied := folder + "/" + filepath.Base(source)
			want[copied] = true
			written(t, copied, read(t, source))
		}
		for _, path := range glob(t, chartPath+"/files/"+to) {
			switch {
			case want[path]:
			case *update:
				_ = os.Remove(path) // the comparison tells if it failed
			default:
				t.Errorf("%s is in deploy/ no more", path)
			}
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

const (
	tableBegin = "<!-- values: make chart-files -->\n"
	tableEnd   = "<!-- end of values -->\n"
)

func TestTheReadmeHasEveryValue(t *testing.T) {
	path := chartPath + "/README.md"
	text := read(t, path)
	before, rest, found := strings.Cut(text, tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !found || !ended {
		t.Fatal("the README has no place for the values")
	}
	var node yamlv3.Node
	if err := yamlv3.Unmarshal([]byte(read(t, chartPath+"/values.yaml")), &node); err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| value | default | |\n| --- | --- | --- |\n")
	describe(t, &table, "", node.Content[0])
	written(t, path, before+tableBegin+table.String()+tableEnd+after)
}

// describe writes a line for each value that has a comment "# -- ..."; a section
// without one is described by its values.
func describe(t *testing.T, table *strings.Builder, path string, section *yamlv3.Node) {
	t.Helper()
	for i := 0; i < len(section.Content); i += 2 {
		key, value := section.Content[i], section.Content[i+1]
		name := strings.TrimPrefix(path+"."+key.Value, ".")
		about, ok := comment(key.HeadComment)
		switch {
		case ok:
			fmt.Fprintf(table, "| `%s` | `%s` | %s |\n", name, inline(t, value), about)
		case value.Kind == yamlv3.MappingNode && len(value.Content) > 0:
			describe(t, table, name, value)
		default:
			t.Errorf("values.yaml does not say what %s is", name)
		}
	}
}

// comment is what stands behind "# -- ", on one line.
func comment(text string) (string, bool) {
	_, about, ok := strings.Cut("\n"+text, "\n# -- ")
	return strings.ReplaceAll(strings.ReplaceAll(about, "\n# ", " "), "|", `\|`), ok
}

// inline is a value as JSON, which is YAML on one line.
func inline(t *testing.T, node *yamlv3.Node) string {
	t.Helper()
	var v any
	if err := node.Decode(&v); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// schemaOf is the JSON Schema of a configuration whose classes of rooms have the
// options of class.
func schemaOf(options, class []option) map[string]any {
	room := schemaOfKeys(class)
	room["required"] = []any{"match"}
	root := schemaOfKeys(options)
	root["description"] = "Fanfare's configuration: fanfare config defaults explains each key."
	root["properties"].(map[string]any)["rooms"] = map[string]any{"type": "array", "items": room}
	return root
}

func schemaOfKeys(options []option) map[string]any {
	root := section()
	for _, o := range options {
		at := root
		for _, name := range o.path[:len(o.path)-1] {
			below := at["properties"].(map[string]any)
			if below[name] == nil {
				below[name] = section()
			}
			at = below[name].(map[string]any)
		}
		at["properties"].(map[string]any)[o.path[len(o.path)-1]] = o.schema()
	}
	return root
}

func section() map[string]any {
	return map[string]any{"type": "object", "additionalProperties": false, "properties": map[string]any{}}
}

// choices are what texts of a few values may be, by the last word of their keys.
var choices = map[string][]any{
	"level":  {"debug", "info", "warn", "error"},
	"format": {"text", "json"},
	"mode":   {"standalone", "sentinel", "cluster"},
	"policy": {"drop", "conflate", "disconnect"},
}

const (
	sizePattern     = `^[0-9]+(B|KiB|MiB|GiB|TiB)?$`
	durationPattern = `^([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$`
)

func (o option) schema() map[string]any {
	s := make(map[string]any)
	switch v := o.another().(type) {
	case bool:
		s["type"] = "boolean"
	case float64:
		s["type"], s["minimum"] = "integer", 0
		if v != math.Trunc(v) {
			s["type"], s["maximum"] = "number", 1 // a share
		}
	case []any:
		s["type"] = []any{"array", "string"} // one item may stand by itself
		s["items"] = map[string]any{"type": "string"}
	case string:
		s["type"] = "string"
		switch {
		case v == "3MiB":
			s["type"], s["minimum"], s["pattern"] = []any{"string", "integer"}, 0, sizePattern
		case v == "33s":
			s["pattern"] = durationPattern
		case choices[o.path[len(o.path)-1]] != nil:
			s["enum"] = choices[o.path[len(o.path)-1]]
		}
	}
	return s
}

// withConfigSchema puts the schema of config into that of all values.
func withConfigSchema(t *testing.T, text string, config map[string]any) string {
	t.Helper()
	var schema map[string]any
	if err := json.Unmarshal([]byte(text), &schema); err != nil {
		t.Fatal(err)
	}
	schema["properties"].(map[string]any)["config"] = config
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(schema); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Each value has a place in the schema, and the schema has no other: a name that is
// misspelt is an error, and none is left over.
func TestTheSchemaHasTheValuesAndNoOthers(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal([]byte(read(t, chartPath+"/values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	properties := schema["properties"].(map[string]any)
	delete(properties, "global") // Helm's own
	delete(properties, "config") // see TestTheSchemaKnowsTheKeysOfTheConfiguration
	v := load(t).Values
	delete(v, "config")
	sameKeys(t, "values", v, schema)
}

func sameKeys(t *testing.T, at string, v, schema map[string]any) {
	t.Helper()
	if schema["$ref"] != nil || len(v) == 0 {
		return // its own shape, or free
	}
	properties, ok := schema["properties"].(map[string]any)
	if !ok {
		return // free
	}
	if schema["additionalProperties"] != false {
		t.Errorf("%s may have any key", at)
	}
	if a, b := slices.Sorted(maps.Keys(v)), slices.Sorted(maps.Keys(properties)); !slices.Equal(a, b) {
		t.Errorf("%s has %v, and its schema %v", at, a, b)
	}
	for key, value := range v {
		if below, ok := value.(map[string]any); ok {
			s, _ := properties[key].(map[string]any)
			sameKeys(t, at+"."+key, below, s)
		}
	}
}
