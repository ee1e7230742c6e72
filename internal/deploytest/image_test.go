package deploytest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// containers is how podman runs where no systemd is and limits cannot be raised.
const containers = `[containers]
default_ulimits = ["nofile=10000:10000", "nproc=10000:10000"]
[engine]
runtime = "runc"
`

// podman runs one command of it and returns what it printed.
type podman struct {
	t      *testing.T
	config string
}

func (p *podman) do(args ...string) string {
	p.t.Helper()
	out, err := p.try(args...)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

func (p *podman) try(args ...string) (string, error) {
	cmd := exec.Command("podman", args...)
	cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+p.config)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("podman %s: %w: %s", args[0], err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// The last stage of the image, from binaries that are built beside it as the first
// stage builds them. DEPLOYTEST_IMAGE has it run: it builds everything anew, twice.
func TestImage(t *testing.T) {
	if os.Getenv("DEPLOYTEST_IMAGE") == "" {
		t.Skip("takes a minute: make image runs it")
	}
	p := &podman{t, filepath.Join(t.TempDir(), "containers.conf")}
	program(t, "podman")
	program(t, "runc")
	if err := os.WriteFile(p.config, []byte(containers), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		stage := t.TempDir()
		buildStage(t, stage, arch)
		name := "fanfare-deploytest:" + strconv.Itoa(rand.Int())
		p.do("build", "-q", "--format", "docker", "--platform", "linux/"+arch, "-f", root+"/deploy/Dockerfile", "-t", name, "--build-arg", "TARGETARCH="+arch,
			"--build-arg", "VERSION=v1.2.3", "--build-arg", "REVISION=0123abc", "--build-context", "build="+stage, stage)
		t.Cleanup(func() { p.do("rmi", "-f", name) })
		p.describes(name, arch)
		if arch == p.do("info", "--format", "{{.Host.Arch}}") {
			p.runs(name)
		}
	}
}

// buildStage does what the first stage does, into a folder that stands for it.
func buildStage(t *testing.T, stage, arch string) {
	t.Helper()
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(stage, "fanfare"), "./cmd/fanfare")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build for %s: %v\n%s", arch, err, out)
	}
	certificates := filepath.Join(stage, "etc/ssl/certs")
	if err := os.MkdirAll(certificates, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(certificates, "ca-certificates.crt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// describes: the image says what it is, for whom, and how its health is checked.
func (p *podman) describes(image, arch string) {
	p.t.Helper()
	var seen []struct {
		Architecture, User string
		Config             struct{ Labels map[string]string }
		HealthCheck        struct{ Test []string }
	}
	if err := json.Unmarshal([]byte(p.do("image", "inspect", image)), &seen); err != nil {
		p.t.Fatal(err)
	}
	i := seen[0]
	if i.Architecture != arch || i.User != "65532:65532" || strings.Join(i.HealthCheck.Test, " ") != "CMD /fanfare healthcheck" {
		p.t.Errorf("%+v", i)
	}
	for label, want := range map[string]string{"title": "Fanfare", "licenses": "Apache-2.0", "version": "v1.2.3", "revision": "0123abc"} {
		if got := i.Config.Labels["org.opencontainers.image."+label]; got != want {
			p.t.Errorf("label %s is %q, want %q", label, got, want)
		}
	}
}

// runs: it serves without a root filesystem to write to, without rights and as
// nobody, becomes healthy, and ends in good order.
func (p *podman) runs(image string) {
	p.t.Helper()
	id := p.do("run", "-d", "--read-only", "--read-only-tmpfs=false", "--network", "none", "--cap-drop", "all",
		"--security-opt", "no-new-privileges", "-e", "FANFARE_DRAIN_PERIOD=0s", image)
	p.t.Cleanup(func() { p.do("rm", "-f", id) })
	eventually(p.t, "the container is healthy", func() error {
		_, err := p.try("exec", id, "/fanfare", "healthcheck")
		return err
	})
	status, err := os.ReadFile("/proc/" + p.do("inspect", id, "--format", "{{.State.Pid}}") + "/status")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, want := range []string{"Uid:\t65532\t65532\t65532\t65532", "Gid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(string(status), want+"\n") {
			p.t.Errorf("no %q in:\n%s", want, status)
		}
	}
	if _, err := p.try("exec", id, "/fanfare", "healthcheck", "--url", "http://127.0.0.1:1/readyz"); err == nil {
		p.t.Error("who does not answer is healthy: the check is blind")
	}
	p.do("stop", "-t", "20", id)
	if code := p.do("inspect", id, "--format", "{{.State.ExitCode}}"); code != "0" {
		p.t.Errorf("it ended with %s: %s", code, p.do("logs", id))
	}
}
