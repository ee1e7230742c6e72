package faulttest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// balancer is HAProxy before the gateways.
type balancer struct {
	process
	addr string
}

// newBalancer makes one that asks each gateway whether it is ready and cuts the
// connections of one that is not there any more.
func newBalancer(dir string, gateways []*gateway) (*balancer, error) {
	b := &balancer{addr: local(freePort())}
	b.name, b.dir = "haproxy", dir
	var c strings.Builder
	fmt.Fprintf(&c, `global
  maxconn 4000
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  timeout tunnel 1h
  timeout client-fin 5s
  option redispatch
frontend public
  bind %s
  default_backend gateways
backend gateways
  balance leastconn
  option httpchk GET /readyz
  default-server inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
`, b.addr)
	for _, g := range gateways {
		_, port, err := net.SplitHostPort(g.admin)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&c, "  server %s %s check port %s\n", g.name, g.addr, port)
	}
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(c.String()), 0o644); err != nil {
		return nil, err
	}
	b.args = []string{haproxyBinary, "-db", "-f", file}
	return b, nil
}

// run starts it and waits until it takes connections.
func (b *balancer) run() error {
	if err := b.start(); err != nil {
		return err
	}
	return until(startWait, "haproxy listens", func() bool {
		c, err := net.Dial("tcp", b.addr)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
}
