package charttest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// program is the real fanfare, built once.
var program string

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "charttest-")
	if err == nil {
		program = filepath.Join(folder, "fanfare")
		build := exec.Command("go", "build", "-o", program, "./cmd/fanfare")
		build.Dir, build.Stderr = repository, os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fanfare does not build:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// container is what a gateway's container has, on this machine: its files below a
// folder in the place of /etc/fanfare, and its variables.
type container struct {
	folder string
	env    []string
}

const mounted = "/etc/fanfare/"

// mount makes the files that a Deployment mounts, with the ConfigMap's content and
// with the secrets', and its variables.
func mount(t *testing.T, all []*manifest) container {
	t.Helper()
	c := container{folder: t.TempDir() + "/"}
	spec := one[appsv1.Deployment](t, all, "Deployment", gatewayOf(all)).Spec.Template.Spec
	contents := make(map[string]map[string]string) // of a volume's files
	for _, v := range spec.Volumes {
		switch {
		case v.ConfigMap != nil:
			contents[v.Name] = one[corev1.ConfigMap](t, all, "ConfigMap", v.ConfigMap.Name).Data
		case v.Projected != nil:
			contents[v.Name] = secretFiles(t, v.Projected)
		}
	}
	for _, at := range spec.Containers[0].VolumeMounts {
		for name, content := range contents[at.Name] {
			path := c.local(filepath.Join(at.MountPath, name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(c.local(content)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, e := range spec.Containers[0].Env {
		value := c.local(e.Value)
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			value = secretVariables[e.Name]
		}
		if value != "" {
			c.env = append(c.env, e.Name+"="+value)
		}
	}
	return c
}

// local puts the folder in the place of the mounted one.
func (c container) local(text string) string { return strings.ReplaceAll(text, mounted, c.folder) }

// command is fanfare with the container's variables and no others.
func (c container) command(args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Env = c.env
	return cmd
}

// gatewayOf is the name of the gateways' Deployment.
func gatewayOf(all []*manifest) string {
	for _, m := range all {
		if m.Kind == "Deployment" && m.Labels["app.kubernetes.io/component"] == "gateway" {
			return m.Name
		}
	}
	return "of gateways"
}

var secretVariables = map[string]string{
	"FANFARE_REDIS_URL":               "rediss://fanfare:password@redis:6379/0",
	"FANFARE_REDIS_SENTINEL_PASSWORD": "password",
}

// secretFiles are good files for each path of a volume of secrets.
func secretFiles(t *testing.T, volume *corev1.ProjectedVolumeSource) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for _, source := range volume.Sources {
		for _, item := range source.Secret.Items {
			files[item.Path] = secretFile(t, item.Path)
		}
	}
	return files
}

func TestTheGatewayTakesTheConfiguration(t *testing.T) {
	for name, found := range permutations(t) {
		if strings.Contains(name, " + ") && !strings.Contains(name, "nothing + ") && !strings.Contains(name, " + nothing") && !strings.Contains(name, "secrets") {
			continue // what two switches do to the configuration together is what each does
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box := mount(t, found)
			out, err := box.command("config", "check").CombinedOutput()
			if want := "ok: " + box.folder + "config/fanfare.yaml\n"; err != nil || string(out) != want {
				text, _ := os.ReadFile(box.folder + "config/fanfare.yaml")
				t.Errorf("fanfare config check: %v: %s\n%s", err, out, text)
			}
		})
	}
}

// option is one key as `fanfare config defaults` shows it.
type option struct {
	path  []string
	value string // its default, YAML
	live  bool
}

func (o option) key() string { return strings.Join(o.path, ".") }

var (
	sectionLine = regexp.MustCompile(`^( *)([a-z0-9_.]+):$`)
	keyLine     = regexp.MustCompile(`^( *)([a-z0-9_]+): (.+)$`)
)

// defaults are the keys of `fanfare config defaults`. Of rooms, whose value is a
// list, there is the list alone.
func defaults(t testing.TB) []option {
	t.Helper()
	out, err := exec.Command(program, "config", "defaults").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []option
	var section, about []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "rooms:"):
			return append(all, newOption([]string{"rooms"}, "[]", append(about, "Live."))) // as the head says
		case sectionLine.MatchString(line):
			section, about = strings.Split(strings.TrimSuffix(line, ":"), "."), nil
		case keyLine.MatchString(line):
			m := keyLine.FindStringSubmatch(line)
			if m[1] == "" {
				section = nil
			}
			all = append(all, newOption(append(slices.Clone(section), m[2]), m[3], about))
			about = nil
		case strings.TrimSpace(line) == "":
			about = nil
		default:
			about = append(about, strings.TrimPrefix(strings.TrimSpace(line), "# "))
		}
	}
	t.Fatal("fanfare config defaults shows no rooms")
	return nil
}

// classKeys are the keys of a class of rooms, as `fanfare config defaults` shows one.
func classKeys(t testing.TB) (all []option) {
	t.Helper()
	out, err := exec.Command(program, "config", "defaults").Output()
	if err != nil {
		t.Fatal(err)
	}
	var shown struct{ Rooms []map[string]any }
	if err := yaml.Unmarshal(out, &shown); err != nil || len(shown.Rooms) != 1 {
		t.Fatalf("fanfare config defaults shows the classes %v: %v", shown.Rooms, err)
	}
	var walk func(at []string, section map[string]any)
	walk = func(at []string, section map[string]any) {
		for _, key := range slices.Sorted(maps.Keys(section)) {
			path := append(slices.Clone(at), key)
			if below, ok := section[key].(map[string]any); ok {
				walk(path, below)
			} else {
				all = append(all, newOption(path, fmt.Sprint(section[key]), nil))
			}
		}
	}
	walk(nil, shown.Rooms[0])
	return all
}

func newOption(path []string, value string, about []string) option {
	return option{path: path, value: value, live: strings.HasSuffix(strings.Join(about, " "), "Live.")}
}

// another is a value of the same type as the default, and not the same.
func (o option) another() any {
	last := o.path[len(o.path)-1]
	switch value := o.value; {
	case value == "true" || value == "false":
		return value == "false"
	case value == "[]" && o.key() == "rooms":
		return []any{map[string]any{"match": "other"}}
	case value == "[]":
		return []any{"other"}
	case last == "sample":
		return 0.25
	case strings.Contains(last, "bytes"):
		return "3MiB"
	case regexp.MustCompile(`^\d+$`).MatchString(value):
		return float64(7)
	case regexp.MustCompile(`^\d+(ms|s|m|h)$`).MatchString(value):
		return "33s"
	case last == "level":
		return "debug"
	case last == "format":
		return "text" // the chart's is json
	case last == "mode":
		return "cluster"
	}
	return "other"
}

// nested puts a value below the path of keys, under config.
func (o option) nested() values {
	v := any(o.another())
	for _, key := range slices.Backward(append([]string{"config"}, o.path...)) {
		v = map[string]any{key: v}
	}
	return v.(values)
}

// What reloads must not restart anyone, and what does not must.
func TestAChangeRestartsGatewaysWhereItIsNotLive(t *testing.T) {
	c := load(t)
	sum := func(v values) string {
		all := mustRender(t, c, v)
		return one[appsv1.Deployment](t, all, "Deployment", "").Spec.Template.Annotations["checksum/config"]
	}
	base := parse(t, `{secrets: {redisURL: {name: r}}}`) // which redis.mode needs
	before := sum(base)
	if before == "" {
		t.Fatal("there is no checksum")
	}
	chartsOwn := []string{"listen", "admin.listen", "redis.url", "redis.sentinel_password"}
	live := 0
	for _, o := range defaults(t) {
		if slices.Contains(chartsOwn, o.key()) {
			if _, err := render(c, o.nested()); err == nil {
				t.Errorf("%s may be set in config", o.key())
			}
			continue
		}
		if same := sum(merge(base, o.nested())) == before; same != o.live {
			t.Errorf("%s: live is %v, but a change leaves the pods as they are: %v", o.key(), o.live, same)
		}
		if o.live {
			live++
		}
	}
	if live < 20 {
		t.Errorf("%d keys are live", live)
	}
}

// The restart can be had for any change, or for none.
func TestRestartsAreAsTheyAreAskedFor(t *testing.T) {
	c := load(t)
	sum := func(text string) string {
		all := mustRender(t, c, parse(t, text))
		return one[appsv1.Deployment](t, all, "Deployment", "").Spec.Template.Annotations["checksum/config"]
	}
	if a, b := sum(`{rollout: {onConfigChange: always}}`), sum(`{rollout: {onConfigChange: always}, config: {accept_rate: 5}}`); a == b {
		t.Error("always: a live key does not restart")
	}
	if got := sum(`{rollout: {onConfigChange: never}}`); got != "" {
		t.Errorf("never: a checksum %q", got)
	}
}

// The schema of config is that of the keys that there are.
func TestTheSchemaKnowsTheKeysOfTheConfiguration(t *testing.T) {
	want := schemaOf(defaults(t), classKeys(t))
	path := chartPath + "/values.schema.json"
	written(t, path, withConfigSchema(t, read(t, path), want))
}

// Each variable is one that the gateway knows: it names what it does not.
func TestNoVariableIsUnknown(t *testing.T) {
	box := mount(t, mustRender(t, load(t), values{}))
	box.env = append(box.env, "FANFARE_NO_SUCH_KEY=1")
	out, err := box.command("config", "check").CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("FANFARE_NO_SUCH_KEY")) {
		t.Errorf("config check takes any variable: %v %s", err, out)
	}
}
