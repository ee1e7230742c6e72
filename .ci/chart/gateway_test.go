package charttest

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// patience is longer than anything here takes on a busy machine.
const patience = 60 * time.Second

// running is a gateway in a container of the chart.
type running struct {
	public, admin string // host:port
	cmd           *exec.Cmd
	ended         chan error
}

// start runs the gateway as the container does, but on free ports of this machine.
func start(t *testing.T, box container) *running {
	t.Helper()
	cmd := box.command("serve", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &running{cmd: cmd, ended: make(chan error, 1)}
	said := make(chan *running, 1)
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var line struct{ Msg, Listen, Admin string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
				said <- &running{public: line.Listen, admin: line.Admin}
			}
		}
		r.ended <- cmd.Wait()
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	select {
	case at := <-said:
		r.public, r.admin = at.public, at.admin
	case err := <-r.ended:
		t.Fatalf("the gateway ended: %v", err)
	case <-time.After(patience):
		t.Fatal("the gateway does not serve")
	}
	return r
}

// get asks until the answer is 200.
func get(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Timeout: patience}
	for until := time.Now().Add(patience); ; {
		response, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return string(body)
		}
		if time.Now().After(until) {
			t.Fatalf("%s: %s %s", url, response.Status, body)
		}
	}
}

// The chart without a Redis, run for real: the probes, what Prometheus reads, what
// scaling looks at, the test pod and the end.
func TestARealGatewayIsWhatTheChartExpects(t *testing.T) {
	all := mustRender(t, load(t), parse(t, `{fullnameOverride: fanfare, serviceMonitor: {enabled: true}, test: {room: lobby}, config: {drain: {period: 1s}}}`))
	r := start(t, mount(t, all))
	gateway := one[appsv1.Deployment](t, all, "Deployment", "").Spec.Template.Spec.Containers[0]
	for name, probe := range map[string]*corev1.Probe{"startup": gateway.StartupProbe, "liveness": gateway.LivenessProbe, "readiness": gateway.ReadinessProbe} {
		if probe == nil || probe.HTTPGet.Port.String() != "admin" {
			t.Fatalf("%s probe: %+v", name, probe)
		}
		get(t, "http://"+r.admin+probe.HTTPGet.Path)
	}
	metrics := get(t, "http://"+r.admin+one[monitoringv1.ServiceMonitor](t, all, "ServiceMonitor", "").Spec.Endpoints[0].Path)
	if !regexp.MustCompile(`(?m)^fanfare_connections 0$`).MatchString(metrics) {
		t.Error("there is no fanfare_connections to scale by")
	}
	local := strings.NewReplacer("fanfare-admin:9090", r.admin, "fanfare:80", r.public)
	for _, c := range one[corev1.Pod](t, all, "Pod", "").Spec.Containers {
		args := make([]string, len(c.Args))
		for i, a := range c.Args {
			args[i] = local.Replace(a)
		}
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
			t.Errorf("helm test, %s: fanfare %s: %v: %s", c.Name, strings.Join(args, " "), err, out)
		}
	}
	begun := time.Now()
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-r.ended:
		grace := one[appsv1.Deployment](t, all, "Deployment", "").Spec.Template.Spec.TerminationGracePeriodSeconds
		if took := time.Since(begun); err != nil || took > time.Duration(*grace)*time.Second {
			t.Errorf("ended after %v of %d s: %v", took, *grace, err)
		}
	case <-time.After(patience):
		t.Error("the gateway does not end")
	}
}

// A ConfigMap that changes is taken over by the gateway that has it mounted.
func TestALiveKeyIsTakenOverFromTheMountedFile(t *testing.T) {
	c := load(t)
	box := mount(t, mustRender(t, c, values{}))
	r := start(t, box)
	const applied = `fanfare_config_reloads_total{result="applied"} `
	if !strings.Contains(get(t, "http://"+r.admin+"/metrics"), applied+"0") {
		t.Fatal("the gateway does not count reloads")
	}
	next := mustRender(t, c, parse(t, `{config: {limits: {connections: 5}}}`))
	text := one[corev1.ConfigMap](t, next, "ConfigMap", "").Data["fanfare.yaml"]
	if err := os.WriteFile(box.folder+"config/fanfare.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(patience); !strings.Contains(get(t, "http://"+r.admin+"/metrics"), applied+"1"); {
		if time.Now().After(until) {
			t.Fatal("the gateway does not reload")
		}
	}
	_ = r.cmd.Process.Kill()
	<-r.ended
}
