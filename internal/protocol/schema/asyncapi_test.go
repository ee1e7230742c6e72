package schema

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// asyncAPI is the document, as JSON would have it.
func asyncAPI(t *testing.T) map[string]any {
	t.Helper()
	content, err := fs.ReadFile(Files(), "asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := yaml.YAMLToJSON(content)
	if err != nil {
		t.Fatal(err)
	}
	return value(t, asJSON).(map[string]any)
}

// at returns what stands in a document under a path of names.
func at(t *testing.T, doc any, names ...string) any {
	t.Helper()
	for _, name := range names {
		m, ok := doc.(map[string]any)
		if !ok || m[name] == nil {
			t.Fatalf("there is no %s", strings.Join(names, "/"))
		}
		doc = m[name]
	}
	return doc
}

func object(t *testing.T, doc any, names ...string) map[string]any {
	t.Helper()
	m, ok := at(t, doc, names...).(map[string]any)
	if !ok || len(m) == 0 {
		t.Fatalf("%s is no object with members", strings.Join(names, "/"))
	}
	return m
}

// The schema of AsyncAPI 3.0.0 documents is that of the project's specifications
// (github.com/asyncapi/spec-json-schemas), whose licence lies beside it.
func TestTheDocumentIsAnAsyncAPIDocument(t *testing.T) {
	f, err := os.Open("testdata/asyncapi/3.0.0.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("asyncapi.json", value(t, content)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("asyncapi.json")
	if err != nil {
		t.Fatal(err)
	}
	doc := asyncAPI(t)
	if err := s.Validate(doc); err != nil {
		t.Error(err)
	}
	object(t, doc, "operations", "join")["action"] = "shout"
	if s.Validate(doc) == nil {
		t.Error("the schema of AsyncAPI accepts anything")
	}
}

func TestEveryReferenceIsToSomething(t *testing.T) {
	doc := asyncAPI(t)
	references := 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, element := range v {
				walk(element)
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				references++
				file, inside, _ := strings.Cut(ref, "#/")
				whole := any(doc)
				if file != "" {
					content, err := fs.ReadFile(Files(), file)
					if err != nil {
						t.Fatal(err)
					}
					whole = value(t, content)
				}
				if inside != "" {
					at(t, whole, strings.Split(inside, "/")...)
				}
			}
			for _, child := range v {
				walk(child)
			}
		}
	}
	walk(doc)
	if references < 100 {
		t.Errorf("only %d references", references)
	}
}

// Every message has its schema and an example that is one, belongs to the
// channel, and is what an operation receives, answers or sends.
func TestEveryMessageIsOfAnOperation(t *testing.T) {
	doc := asyncAPI(t)
	c := compiler(t)
	messages := object(t, doc, "components", "messages")
	used := used(t, doc)
	for _, way := range []string{"client", "server"} {
		for _, kind := range types(t, way) {
			name := way + "." + kind
			file := "schemas/" + way + "/" + kind + ".json"
			m := object(t, messages, name)
			if at(t, m, "name") != kind || at(t, m, "payload", "schema", "$ref") != file {
				t.Errorf("%s is of another type: %v", name, m)
			}
			examples, _ := at(t, m, "examples").([]any)
			for _, example := range examples {
				if err := c.MustCompile(base + file).Validate(at(t, example, "payload")); err != nil {
					t.Errorf("example of %s: %v", name, err)
				}
			}
			if len(examples) == 0 {
				t.Errorf("%s has no example", name)
			}
			if at(t, doc, "channels", "connection", "messages", name, "$ref") != "#/components/messages/"+name || !slices.Contains(used, name) {
				t.Errorf("%s is of no operation", name)
			}
			delete(messages, name)
		}
	}
	ofEvents(t, doc, c, messages)
	if len(messages) > 0 {
		t.Errorf("messages without a schema: %v", messages)
	}
}

// ofEvents judges what a stream of events has, each with an example that is one,
// and takes it from the messages.
func ofEvents(t *testing.T, doc any, c *jsonschema.Compiler, messages map[string]any) {
	t.Helper()
	events := object(t, doc, "channels", "events", "messages")
	for name := range events {
		m := object(t, messages, name)
		s := c.MustCompile(base + at(t, m, "payload", "schema", "$ref").(string))
		examples, _ := at(t, m, "examples").([]any)
		for _, example := range examples {
			if err := s.Validate(at(t, example, "payload")); err != nil {
				t.Errorf("example of %s: %v", name, err)
			}
		}
		if len(examples) == 0 || at(t, m, "name") != strings.TrimPrefix(name, "event.") {
			t.Errorf("%s: %v", name, m)
		}
		delete(messages, name)
	}
	if len(events) != 7 {
		t.Errorf("%d events", len(events))
	}
}

// used are the messages of the operations. One that a client sends has a reply,
// or else the error.
func used(t *testing.T, doc any) []string {
	t.Helper()
	var names []string
	of := func(list any) (found []string) {
		for _, m := range list.([]any) {
			found = append(found, strings.TrimPrefix(at(t, m, "$ref").(string), "#/channels/connection/messages/"))
		}
		return found
	}
	for name, operation := range object(t, doc, "operations") {
		if at(t, operation, "channel", "$ref") == "#/channels/events" {
			continue // it sends all that its channel has
		}
		sent := of(at(t, operation, "messages"))
		if text, _ := at(t, operation, "summary").(string); text == "" || len(sent) != 1 {
			t.Errorf("operation %s: %v", name, operation)
		}
		names = append(names, sent...)
		if at(t, operation, "action") == "send" {
			if !strings.HasPrefix(sent[0], "server.") {
				t.Errorf("the gateway sends %s", sent[0])
			}
			continue
		}
		replies := of(at(t, operation, "reply", "messages"))
		if sent[0] != "client."+name || len(replies) != 2 || replies[1] != "server.error" {
			t.Errorf("%s: %s is answered by %s", name, sent, replies)
		}
		names = append(names, replies...)
	}
	return names
}

// The table of replies is that of section 3 of the protocol.
func TestEachRequestHasItsReply(t *testing.T) {
	doc := asyncAPI(t)
	for request, reply := range map[string]string{
		"ping": "pong", "echo": "echo", "join": "joined", "leave": "left", "publish": "published", "history": "history",
		"members": "members", "register": "registered", "auth": "authenticated",
	} {
		got, err := json.Marshal(at(t, doc, "operations", request, "reply", "messages"))
		if err != nil || !bytes.Contains(got, []byte("/server."+reply+`"`)) {
			t.Errorf("%s is answered with %s, %v", request, got, err)
		}
	}
}
