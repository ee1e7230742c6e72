package deploytest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// topology is docker-compose.yml as processes of this machine. What a service of it
// listens on has an address here; that, and what follows below, is all that is put
// in place of what the files say.
type topology struct {
	t       *testing.T
	dir     string
	project *types.Project
	at      map[string]string // where a place of the compose network is, "redis:6379"

	gateways []*process
}

// places are what services listen on, as the files name it.
var places = []string{
	"redis:6379", "redis-exporter:9121", "prometheus:9090", "haproxy:8080", "haproxy:8404", "haproxy:8405", "nginx:8080",
	"gateway1:8080", "gateway2:8080", "gateway3:8080", "gateway1:9090", "gateway2:9090", "gateway3:9090",
}

// Quicker than in production, so that a test need not wait so long.
const (
	heartbeat = time.Second // in place of heartbeat.interval's 25 s
	silence   = 3 * time.Second
	drain     = 3 * time.Second
)

func loadCompose(t *testing.T) *types.Project {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{filepath.Join(root, "docker-compose.yml")}, cli.WithoutEnvironmentResolution, cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if p, err = p.WithServicesEnvironmentResolved(true); err != nil {
		t.Fatal(err)
	}
	return p
}

func newTopology(t *testing.T) *topology {
	t.Helper()
	f := &topology{t: t, dir: t.TempDir(), project: loadCompose(t), at: make(map[string]string)}
	for _, place := range places {
		f.at[place] = freeAddr(t)
	}
	return f
}

// replaced is a text with addresses of this machine in place of names. Own are pairs
// of what the file says and what stands for it here; each has to be there.
func (f *topology) replaced(text string, own ...string) string {
	f.t.Helper()
	for i := 0; i < len(own); i += 2 {
		if !strings.Contains(text, own[i]) {
			f.t.Fatalf("%q is not in:\n%s", own[i], text)
		}
	}
	for place, at := range f.at {
		own = append(own, place, at)
	}
	return strings.NewReplacer(own...).Replace(text)
}

// file is a file of the repository, replaced, at a place of the test's own.
func (f *topology) file(name string, own ...string) string {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		f.t.Fatal(err)
	}
	out := filepath.Join(f.dir, filepath.Base(name))
	if err := os.WriteFile(out, []byte(f.replaced(string(text), own...)), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return out
}

// environment is a service's, replaced.
func (f *topology) environment(service string, own ...string) (env []string) {
	f.t.Helper()
	for name, value := range f.project.Services[service].Environment {
		if value != nil {
			env = append(env, name+"="+*value)
		}
	}
	slices.Sort(env)
	return strings.Split(f.replaced(strings.Join(env, "\n"), own...), "\n")
}

func port(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(err)
	}
	return port
}

// redis starts the service as its command does.
func (f *topology) redis() *process {
	f.t.Helper()
	users := exec.Command("sh", root+"/deploy/redis/users.sh", root+"/deploy/redis/users.template")
	users.Env = append(os.Environ(), f.environment("redis")...)
	acl, err := users.Output()
	if err != nil {
		f.t.Fatal(err)
	}
	file := filepath.Join(f.dir, "users.acl")
	if err := os.WriteFile(file, acl, 0o600); err != nil {
		f.t.Fatal(err)
	}
	config := f.file("deploy/redis/standalone.conf", "/etc/redis/users.acl", file, "dir /data", "dir "+f.dir)
	p := newProcess(f.t, "redis", nil, program(f.t, "redis-server"), config, "--bind", "127.0.0.1", "--port", port(f.at["redis:6379"]))
	p.start()
	p.listens(f.at["redis:6379"])
	return p
}

// startGateways starts the three with the environment of their services, and what a
// test has to say besides.
func (f *topology) startGateways(own ...string) {
	f.t.Helper()
	for i := range 3 {
		name := "gateway" + strconv.Itoa(i+1)
		env := f.environment(name, "FANFARE_LISTEN=:8080", "FANFARE_LISTEN="+f.at[name+":8080"],
			"FANFARE_ADMIN_LISTEN=:9090", "FANFARE_ADMIN_LISTEN="+f.at[name+":9090"], "172.30.253.10", "127.0.0.1")
		env = append(env, "FANFARE_HEARTBEAT_INTERVAL="+heartbeat.String(), "FANFARE_DRAIN_PERIOD="+drain.String(),
			"FANFARE_LIMITS_ADDRESS_CONNECTIONS=100") // so that addresses are counted
		f.gateways = append(f.gateways, newProcess(f.t, name, append(env, own...), binary(f.t), "serve"))
	}
	for i, g := range f.gateways {
		g.start()
		f.ready(i)
	}
}

// ready waits until a gateway says that it is, as its container's health check does.
func (f *topology) ready(i int) {
	f.t.Helper()
	g := f.gateways[i]
	eventually(f.t, g.name+" is ready", func() error {
		check := exec.Command(g.args[0], "healthcheck")
		check.Env = g.env
		out, err := check.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// haproxy starts the balancer and returns it, and where clients connect.
func (f *topology) haproxy() (*process, string) {
	f.t.Helper()
	own := []string{"bind :8080", "bind " + f.at["haproxy:8080"], "bind :8404", "bind " + f.at["haproxy:8404"],
		"ipv4@127.0.0.1:8405", "ipv4@" + f.at["haproxy:8405"]}
	for _, g := range f.gateways {
		own = append(own, g.name+":8080 port 9090", f.at[g.name+":8080"]+" port "+port(f.at[g.name+":9090"]))
	}
	p := newProcess(f.t, "haproxy", nil, program(f.t, "haproxy"), "-db", "-f", f.file("deploy/haproxy/haproxy.cfg", own...))
	p.start()
	p.listens(f.at["haproxy:8080"])
	return p, f.at["haproxy:8080"]
}

// nginx is haproxy with nginx. Own are replacements in the configuration.
func (f *topology) nginx(own ...string) (*process, string) {
	f.t.Helper()
	own = append(own, "listen 8080", "listen "+f.at["nginx:8080"], "/tmp/", f.dir+"/nginx-",
		"proxy_read_timeout 30s", fmt.Sprintf("proxy_read_timeout %v", silence))
	config := f.file("deploy/nginx/nginx.conf", own...)
	p := newProcess(f.t, "nginx", nil, program(f.t, "nginx"), "-c", config, "-g", "daemon off;")
	f.t.Cleanup(p.end) // before the cleanup that kills it: it has workers
	p.start()
	p.listens(f.at["nginx:8080"])
	return p, f.at["nginx:8080"]
}

// metric is the sum of a series over its labels, at a gateway.
func (f *topology) metric(i int, name string) (sum float64) {
	f.t.Helper()
	response, err := web.Get("http://" + f.at[f.gateways[i].name+":9090"] + "/metrics")
	if err != nil {
		f.t.Fatal(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if series, _, _ = strings.Cut(series, "{"); series == name {
			v, _ := strconv.ParseFloat(value, 64)
			sum += v
		}
	}
	return sum
}
