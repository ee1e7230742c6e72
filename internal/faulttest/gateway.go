package faulttest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	startWait = 30 * time.Second
	drainTime = 3 * time.Second
	// Heartbeats are quicker than in production, so that a gateway that stands still
	// is found out within a test.
	heartbeatInterval = 4 * time.Second
	heartbeatTimeout  = 10 * time.Second
)

// settings is the gateways' configuration file: calls of backends need no key, the
// secret's file is in the working directory, and there are classes of rooms.
const settings = `dev: true
auth: {hs256_secret_file: secret}
rooms:
  - match: "busy:*"
    history: {messages: 32, bytes: 16MiB}
  - match: "*"
    history: {messages: 256, bytes: 16MiB}
`

// configure writes the configuration of a world's gateways.
func configure(dir string) (file string, err error) {
	file = filepath.Join(dir, "fanfare.yaml")
	return file, errors.Join(os.WriteFile(file, []byte(settings), 0o644), os.WriteFile(filepath.Join(dir, "secret"), []byte(secret), 0o600))
}

// gateway is one fanfare process.
type gateway struct {
	process
	index int
	addr  string // where clients connect
	admin string
}

// newGateway runs the binary on free ports; flags say which broker it has.
func newGateway(binary, dir, config string, index int, flags []string) *gateway {
	g := &gateway{index: index, addr: local(freePort()), admin: local(freePort())}
	g.name, g.dir = "gateway"+strconv.Itoa(index), dir
	g.args = append([]string{binary, "serve", "--config", config, "--listen", g.addr, "--admin-listen", g.admin, "--admin-pprof",
		"--drain-period", drainTime.String(), "--heartbeat-interval", heartbeatInterval.String(), "--heartbeat-timeout", heartbeatTimeout.String()}, flags...)
	return g
}

// run starts the process and waits until it is ready.
func (g *gateway) run() error {
	if err := g.start(); err != nil {
		return err
	}
	return until(startWait, g.name+" is ready", func() bool { return g.ready() == isReady })
}

// readiness is what /readyz said.
type readiness uint8

const (
	noAnswer readiness = iota
	isUnready
	isReady
)

var admins = &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func (g *gateway) ready() readiness {
	answer, err := admins.Get("http://" + g.admin + "/readyz")
	if err != nil {
		return noAnswer
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		return isReady
	}
	return isUnready
}

// why is the body of /readyz.
func (g *gateway) why() string { return g.get("/readyz") }

func (g *gateway) get(path string) string {
	answer, err := admins.Get("http://" + g.admin + path)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	return string(body)
}

// post makes a call of a backend. It reports whether it was answered with 200.
func (g *gateway) post(ctx context.Context, path, body string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.admin+path, strings.NewReader(body))
	if err != nil {
		return false
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := admins.Do(request)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// metric reads series without labels, or the sums of those with, from /metrics.
func (g *gateway) metric(ctx context.Context, names ...string) map[string]float64 {
	values := make(map[string]float64)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.admin+"/metrics", nil)
	if err != nil {
		return values
	}
	answer, err := admins.Do(request)
	if err != nil {
		return values
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return values
	}
	for line := range strings.Lines(string(body)) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		name, _, _ := strings.Cut(series, "{")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		for _, n := range names {
			if n == name {
				v, _ := strconv.ParseFloat(value, 64)
				values[n] += v
			}
		}
	}
	return values
}
