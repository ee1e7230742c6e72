package charttest

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"
)

// KEDA's Go types stand in packages that need four hundred others; its schema is
// the same, and one file of its module.
const (
	kedaModule = "github.com/kedacore/keda/v2@v2.21.0"
	kedaSum    = "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps="
	kedaCRD    = "config/crd/bases/keda.sh_scaledobjects.yaml"
)

// validator holds objects against the schema of a custom resource.
type validator struct{ schema *jsonschema.Schema }

func (v validator) validate(m *manifest) error {
	var object any
	if err := yaml.Unmarshal(m.text, &object); err != nil {
		return err
	}
	return v.schema.Validate(object)
}

// scaledObjects is KEDA's schema of ScaledObject. What it does not name is an
// error, where the API server would drop it in silence.
func scaledObjects(t *testing.T) validator {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", kedaModule).Output()
	if err != nil {
		t.Fatalf("go mod download %s: %v\n%s", kedaModule, err, out)
	}
	var module struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	if module.Sum != kedaSum {
		t.Fatalf("%s has the sum %s, not %s", kedaModule, module.Sum, kedaSum)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema map[string]any `json:"openAPIV3Schema"`
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, filepath.Join(module.Dir, kedaCRD))), &crd); err != nil {
		t.Fatal(err)
	}
	schema := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	closed(schema)
	schema["properties"].(map[string]any)["metadata"] = map[string]any{"type": "object"} // which any object has
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("crd.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("crd.json")
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", kedaCRD, err))
	}
	return validator{compiled}
}

// closed makes a schema refuse properties that it does not name, and says in JSON
// Schema what Kubernetes has words of its own for.
func closed(schema map[string]any) {
	if schema["x-kubernetes-int-or-string"] == true {
		delete(schema, "anyOf")
		schema["type"] = []any{"integer", "string"}
	}
	properties, _ := schema["properties"].(map[string]any)
	if len(properties) > 0 {
		schema["additionalProperties"] = false
	}
	for _, p := range properties {
		closed(p.(map[string]any))
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if below, ok := schema[key].(map[string]any); ok {
			closed(below)
		}
	}
}
