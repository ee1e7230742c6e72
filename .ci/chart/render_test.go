package charttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	yamlv3 "go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

const (
	repository = "../.."
	chartPath  = repository + "/charts/fanfare"
	release    = "live"
	namespace  = "chat"
)

// values are what a user sets beside the chart's own.
type values = map[string]any

// parse makes values of YAML.
func parse(t testing.TB, text string) values {
	t.Helper()
	var v values
	if err := yaml.UnmarshalStrict([]byte(text), &v); err != nil {
		t.Fatalf("values: %v\n%s", err, text)
	}
	return v
}

// merge lays values over each other; those behind go before those in front.
func merge(layers ...values) values {
	all := values{}
	for _, layer := range layers {
		all = chartutil.MergeTables(deepCopy(layer), all)
	}
	return all
}

func deepCopy(v values) values {
	out := make(values, len(v))
	for key, value := range v {
		if m, ok := value.(map[string]any); ok {
			value = deepCopy(m)
		}
		out[key] = value
	}
	return out
}

// examples are the values of examples/, by name.
func examples(t testing.TB) map[string]values {
	t.Helper()
	paths, err := filepath.Glob(chartPath + "/examples/*.yaml")
	if err != nil || len(paths) < 3 {
		t.Fatalf("examples: %v, %v", paths, err)
	}
	all := make(map[string]values)
	for _, path := range paths {
		all[strings.TrimSuffix(filepath.Base(path), ".yaml")] = parse(t, read(t, path))
	}
	return all
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func load(t testing.TB) *chart.Chart {
	t.Helper()
	c, err := loader.LoadDir(chartPath)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// manifest is one rendered object.
type manifest struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	template string
	text     []byte
}

// head reads what every object has.
func (m *manifest) head() error {
	text, err := yaml.YAMLToJSONStrict(m.text)
	if err != nil {
		return err
	}
	return kjson.UnmarshalCaseSensitivePreserveInts(text, m)
}

func (m *manifest) String() string {
	return fmt.Sprintf("%s %s of %s", m.Kind, m.Name, filepath.Base(m.template))
}

// into decodes the object as the API does, by way of JSON: a field that its type does
// not have is an error, and so is a number or a boolean in the place of a string.
func (m *manifest) into(object any) error {
	text, err := yaml.YAMLToJSONStrict(m.text)
	if err != nil {
		return err
	}
	strict, err := kjson.UnmarshalStrict(text, object)
	return errors.Join(append(strict, err)...)
}

// render is the chart as Helm renders it, the values held against the schema.
func render(c *chart.Chart, v values) ([]*manifest, error) { return renderAs(c, release, v) }

// renderAs is render for a release of another name.
func renderAs(c *chart.Chart, name string, v values) ([]*manifest, error) {
	options := chartutil.ReleaseOptions{Name: name, Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, v, options, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	var found []*manifest
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		of, err := split(name, files[name])
		if err != nil {
			return nil, err
		}
		found = append(found, of...)
	}
	return found, nil
}

// split takes the documents of a rendered template. A key that stands twice in one
// mapping is an error.
func split(template, text string) ([]*manifest, error) {
	var found []*manifest
	for d := yamlv3.NewDecoder(strings.NewReader(text)); ; {
		var node yamlv3.Node
		err := d.Decode(&node)
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err == nil && len(node.Content) == 1 && node.Content[0].Tag == "!!null" {
			continue // nothing but comments
		}
		var document bytes.Buffer
		if err == nil {
			err = yamlv3.NewEncoder(&document).Encode(&node)
		}
		m := &manifest{template: template, text: document.Bytes()}
		if err == nil {
			err = m.head()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", template, err, text)
		}
		found = append(found, m)
	}
}

// mustRender is render in a test that is about something else.
func mustRender(t testing.TB, c *chart.Chart, v values) []*manifest {
	t.Helper()
	found, err := render(c, v)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// one decodes the one object of its kind into a type, by name or, without one, the
// only one.
func one[T any](t testing.TB, all []*manifest, kind, name string) *T {
	t.Helper()
	var object *T
	for _, m := range all {
		if m.Kind != kind || name != "" && m.Name != name {
			continue
		}
		if object != nil {
			t.Fatalf("a second %s %s: %v", kind, name, m)
		}
		object = new(T)
		if err := m.into(object); err != nil {
			t.Fatalf("%v: %v", m, err)
		}
	}
	if object == nil {
		t.Fatalf("there is no %s %s", kind, name)
	}
	return object
}
