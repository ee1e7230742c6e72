package schema

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// base is where the tests say that the schemas were read from.
const base = "https://gateway.test/"

// compiler has every schema.
func compiler(t *testing.T) *jsonschema.Compiler {
	t.Helper()
	c := jsonschema.NewCompiler()
	for name, content := range documents(t) {
		if err := c.AddResource(base+name, value(t, content)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// documents are the schemas by their names.
func documents(t *testing.T) map[string][]byte {
	t.Helper()
	found := make(map[string][]byte)
	err := fs.WalkDir(Files(), "schemas", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		found[name], err = fs.ReadFile(Files(), name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func value(t *testing.T, content []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		t.Fatalf("%s: %v", content, err)
	}
	return v
}

// types are the messages' that have a schema one way.
func types(t *testing.T, way string) []string {
	t.Helper()
	var found []string
	for name := range documents(t) {
		if dir, file := path.Split(name); dir == "schemas/"+way+"/" {
			found = append(found, strings.TrimSuffix(file, ".json"))
		}
	}
	slices.Sort(found)
	return found
}

// frames are the golden ones of one way, which the tests of package protocol hold
// to what it writes.
func frames(t *testing.T, way string) [][]byte {
	t.Helper()
	content, err := os.ReadFile("../testdata/" + way + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(content), []byte("\n"))
}

func typeOf(t *testing.T, frame []byte) string {
	t.Helper()
	var m struct{ Type string }
	if err := json.Unmarshal(frame, &m); err != nil {
		t.Fatal(err)
	}
	return m.Type
}

func TestEverySchemaIsOne(t *testing.T) {
	c := compiler(t)
	names := slices.Sorted(maps.Keys(documents(t)))
	if len(names) < 20 {
		t.Fatalf("schemas %q", names)
	}
	for _, name := range names {
		if _, err := c.Compile(base + name); err != nil {
			t.Error(err)
		}
	}
}

func TestEveryFrameThatIsWrittenHasItsSchema(t *testing.T) {
	c := compiler(t)
	for _, way := range []string{"client", "server"} {
		all := c.MustCompile(base + "schemas/" + way + ".json")
		seen := make(map[string]bool)
		for _, frame := range frames(t, way) {
			kind := typeOf(t, frame)
			seen[kind] = true
			one, err := c.Compile(base + "schemas/" + way + "/" + kind + ".json")
			if err != nil {
				t.Errorf("a %s of the %s has no schema: %v", kind, way, err)
				continue
			}
			for _, s := range []*jsonschema.Schema{one, all} {
				if err := s.Validate(value(t, frame)); err != nil {
					t.Errorf("%s\n%v", frame, err)
				}
			}
		}
		if got, want := slices.Sorted(maps.Keys(seen)), types(t, way); !slices.Equal(got, want) {
			t.Errorf("%s: golden frames of %q, schemas of %q", way, got, want)
		}
	}
}

// Each of the wrong frames is one that is right but for one member: missing, of
// another type, or out of its range.
func TestWrongFramesAreRefusedByTheirSchema(t *testing.T) {
	c := compiler(t)
	for _, way := range []string{"client", "server"} {
		for _, frame := range frames(t, way) {
			one := c.MustCompile(base + "schemas/" + way + "/" + typeOf(t, frame) + ".json")
			for name, wrong := range mutants(t, frame) {
				refused := one.Validate(value(t, wrong)) != nil
				if way == "server" && !refused && !harmless(way, name) {
					t.Errorf("%s: accepted %s", name, wrong)
				}
				if way == "client" {
					agree(t, name, wrong, refused)
				}
			}
		}
	}
}

// agree fails where schema and decoder do not say the same of a request, and
// where a wrong member that matters is accepted by both.
func agree(t *testing.T, name string, frame []byte, refused bool) {
	t.Helper()
	var d protocol.Decoder
	var r protocol.Request
	err := d.Decode(frame, &r)
	if refused != (err != nil) {
		t.Errorf("%s: %s\nrefused by the schema is %v, the decoder says %v", name, frame, refused, err)
	}
	if !refused && !harmless("client", name) {
		t.Errorf("%s: accepted %s", name, frame)
	}
}

// harmless reports whether a mutant is right itself: what is optional may be
// missing, and words may be of any length.
func harmless(way, mutant string) bool {
	member, what, _ := strings.Cut(mutant, " ")
	switch what {
	case "missing":
		optional := []string{"request_id", "since", "last", "presence", "after", "before", "limit", "cursor", "event", "id", "key",
			"recovered", "duplicate", "incomplete", "field", "retry_after_ms", "username_key", "expires_at"}
		return slices.Contains(optional, member) || member == "version" && way == "client"
	case `"…"`:
		return slices.Contains([]string{"token", "connection", "gateway", "reason", "message", "from", "field"}, member)
	case `""`: // an epoch: of a history, where the room has no log
		return slices.Contains([]string{"reason", "message", "from", "epoch"}, member)
	case "-1":
		return member == "time"
	}
	return false
}

// mutants are a frame with one member at a time made wrong, by the member's name
// and what is wrong with it. An application's data is left as it is.
func mutants(t *testing.T, frame []byte) map[string][]byte {
	t.Helper()
	found := make(map[string][]byte)
	root := value(t, frame)
	add := func(member, what string) {
		content, err := json.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		found[member+" "+what] = content
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, element := range v {
				walk(element)
			}
		case map[string]any:
			for member, was := range v {
				if member == "data" || member == "payload" && root.(map[string]any)["type"] == "echo" {
					continue
				}
				delete(v, member)
				add(member, "missing")
				for what, wrong := range wrongs(was) {
					v[member] = wrong
					add(member, what)
				}
				v[member] = was
				walk(was)
			}
		}
	}
	walk(root)
	return found
}

// wrongs are values that a member must not have whose right value is that.
func wrongs(right any) map[string]any {
	all := map[string]any{
		"null": nil, "true": true, "7": json.Number("7"), "1.5": json.Number("1.5"), `""`: "", `"…"`: strings.Repeat("x", 300),
		"[]": []any{}, "{}": map[string]any{}, "-1": json.Number("-1"), "2^53": json.Number("9007199254740992"),
	}
	switch right.(type) {
	case json.Number:
		delete(all, "7")
	case bool:
		delete(all, "true")
	case []any:
		delete(all, "[]")
	case map[string]any:
		delete(all, "{}")
	}
	return all
}
