package deploytest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

// compose-go has parsed it, and knows every key.
func TestComposeIsComplete(t *testing.T) {
	p := loadCompose(t)
	builders := make(map[string]int) // of an image
	for name, s := range p.Services {
		if s.Build != nil {
			builders[s.Image]++
		}
		if s.Deploy == nil || s.Deploy.Resources.Limits == nil || s.Deploy.Resources.Limits.MemoryBytes == 0 || s.Deploy.Resources.Limits.NanoCPUs == 0 {
			t.Errorf("%s has no limits", name)
		}
		if name != "loadtest" && s.HealthCheck == nil {
			t.Errorf("%s has no health check", name)
		}
		if !contains(s.SecurityOpt, "no-new-privileges:true") || !contains(s.CapDrop, "ALL") {
			t.Errorf("%s may gain privileges", name)
		}
		for _, v := range s.Volumes {
			if _, err := os.Stat(v.Source); v.Type == types.VolumeTypeBind && err != nil {
				t.Errorf("%s mounts what is not there: %v", name, err)
			}
		}
		if b := s.Build; b != nil {
			if _, err := os.Stat(filepath.Join(b.Context, b.Dockerfile)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for i := range 3 {
		name := fmt.Sprint("gateway", i+1)
		if d := p.Services[name].DependsOn["redis"]; d.Condition != types.ServiceConditionHealthy {
			t.Errorf("%s does not wait for redis", name)
		}
		if d := p.Services["haproxy"].DependsOn[name]; d.Condition != types.ServiceConditionHealthy {
			t.Errorf("haproxy does not wait for %s", name)
		}
	}
	for service, port := range map[string]string{"haproxy": "8080", "grafana": "3000"} {
		if ports := p.Services[service].Ports; len(ports) != 1 || ports[0].Published != port {
			t.Errorf("%s is at %v, want %s", service, ports, port)
		}
	}
	for _, image := range []string{"fanfare", "fanfare-loadtest"} {
		if n := builders[image]; n != 1 { // docker compose builds them at once, and the name is taken
			t.Errorf("%d services build the image %s", n, image)
		}
	}
	if got := p.Services["redis"].HealthCheck.Test; !contains(got, "-e") {
		t.Errorf("redis is healthy whatever it answers: %q", got)
	}
	if got := p.Services["loadtest"].Profiles; len(got) != 1 {
		t.Errorf("the load generator would be started by itself: %q", got)
	}
}

func contains(list []string, what string) bool {
	for _, s := range list {
		if s == what {
			return true
		}
	}
	return false
}

// Whatever is secret is in the folder of the demo, and nowhere else.
func TestSecretsAreTheDemos(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "deploy/demo/*.env"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var secrets []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			if u, err := url.Parse(value); err == nil && u.User != nil {
				value, _ = u.User.Password()
			} else if !strings.Contains(name, "PASSWORD") {
				continue
			}
			if !strings.HasPrefix(value, "demo-") {
				t.Errorf("%s: the value of %s does not say that it is a demo's", file, name)
			}
			secrets = append(secrets, value)
		}
	}
	err = filepath.WalkDir(filepath.Join(root, "deploy"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(filepath.Dir(path)) == "demo" {
			return err
		}
		return hasNone(t, path, secrets)
	})
	if err == nil {
		err = hasNone(t, filepath.Join(root, "docker-compose.yml"), secrets)
	}
	if err != nil {
		t.Error(err)
	}
}

func hasNone(t *testing.T, path string, secrets []string) error {
	t.Helper()
	text, err := os.ReadFile(path)
	for _, s := range secrets {
		if strings.Contains(string(text), s) {
			t.Errorf("%s has a secret in it", path)
		}
	}
	return err
}

// alerts is where Prometheus has its rules from.
const alerts = "deploy/prometheus/alerts.yml"

// prometheus starts it with the configuration that is mounted, and what exports
// Redis. Own are replacements in the configuration.
func (f *topology) prometheus(own ...string) {
	f.t.Helper()
	exporter := newProcess(f.t, "redis-exporter", f.environment("redis-exporter"), program(f.t, "prometheus-redis-exporter"),
		"--web.listen-address", f.at["redis-exporter:9121"])
	exporter.start()
	f.file(alerts)
	prometheus := newProcess(f.t, "prometheus", nil, program(f.t, "prometheus"), "--config.file="+f.file("deploy/prometheus/prometheus.yml", own...),
		"--storage.tsdb.path="+filepath.Join(f.dir, "prometheus"), "--web.listen-address="+f.at["prometheus:9090"])
	prometheus.start()
	prometheus.listens(f.at["prometheus:9090"])
}

// watched: Prometheus, as it is configured, sees every target.
func (f *topology) watched() {
	f.t.Helper()
	f.prometheus()
	var up struct{ Data struct{ Result []any } }
	eventually(f.t, "all targets are up, and their series are there", func() error {
		for query, want := range map[string]int{"up == 1": 5, "fanfare_connections": 3, "redis_up == 1": 1, `haproxy_server_status{proxy="gateways",state="UP"} == 1`: 3} {
			if err := f.ask("/api/v1/query?query="+url.QueryEscape(query), &up); err != nil {
				return err
			}
			if len(up.Data.Result) != want {
				return fmt.Errorf("%s: %d results, want %d", query, len(up.Data.Result), want)
			}
		}
		return nil
	})
	var rules struct{ Data struct{ Groups []any } }
	if err := f.ask("/api/v1/rules", &rules); err != nil || len(rules.Data.Groups) == 0 {
		f.t.Errorf("Prometheus has no rules of %s: %v", alerts, err)
	}
}

// ask asks Prometheus.
func (f *topology) ask(path string, answer any) error {
	response, err := web.Get("http://" + f.at["prometheus:9090"] + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(answer)
}
