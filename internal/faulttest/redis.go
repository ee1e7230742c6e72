package faulttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The gateways' user and its password, at servers and sentinels.
const (
	redisUser     = "fanfare"
	redisPassword = "faults"
)

// rights is the line of a configuration that gives the gateways' user the rights that
// it has in production, from a template in deploy/redis. The suite's own commands are
// the default user's, who may do everything.
func rights(template string) (string, error) {
	cmd := exec.Command("sh", "../../deploy/redis/users.sh", "../../deploy/redis/"+template)
	cmd.Env = append(os.Environ(), "REDIS_PASSWORD_FANFARE="+redisPassword)
	lines, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("make users of %s: %w", template, err)
	}
	for line := range strings.Lines(string(lines)) {
		if strings.HasPrefix(line, "user "+redisUser+" ") {
			return strings.TrimSpace(line), nil
		}
	}
	return "", fmt.Errorf("no user %s in %s", redisUser, template)
}

// redisServer is one redis-server process, or a sentinel.
type redisServer struct {
	process
	port int
}

func (r *redisServer) addr() string { return local(r.port) }

// newRedis makes a redis-server with the lines as its configuration, which gateways
// use as their user. It is not started.
func newRedis(dir, name string, lines ...string) (*redisServer, error) {
	user, err := rights("users.template")
	if err != nil {
		return nil, err
	}
	return newProgram(dir, name, append(lines, user)...)
}

// newSentinel makes a sentinel.
func newSentinel(dir, name string, lines ...string) (*redisServer, error) {
	user, err := rights("sentinel-users.template")
	if err != nil {
		return nil, err
	}
	s, err := newProgram(dir, name, append(lines, user)...)
	if err == nil {
		s.args = append(s.args, "--sentinel")
	}
	return s, err
}

func newProgram(dir, name string, lines ...string) (*redisServer, error) {
	r := &redisServer{port: freePort()}
	r.name, r.dir = name, filepath.Join(dir, name)
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return nil, err
	}
	base := []string{"port " + strconv.Itoa(r.port), "bind 127.0.0.1", "dir " + r.dir, "daemonize no", `save ""`}
	file := filepath.Join(r.dir, "redis.conf")
	if err := os.WriteFile(file, []byte(strings.Join(append(base, lines...), "\n")+"\n"), 0o644); err != nil {
		return nil, err
	}
	r.args = []string{redisBinary, file}
	return r, nil
}

// run starts it and waits until it answers.
func (r *redisServer) run() error {
	if err := r.start(); err != nil {
		return err
	}
	return until(startWait, r.name+" answers", func() bool {
		v, err := ask(r.addr(), "PING")
		return err == nil && v == "PONG"
	})
}

// refused tells what the gateways' user was refused. The settings of Redis are not
// its business: a gateway that may see them looks at them once.
func (r *redisServer) refused() (found []violation) {
	v, err := ask(r.addr(), "ACL", "LOG", "128")
	entries, _ := v.([]reply)
	for _, e := range entries {
		fields, _ := e.([]reply)
		said := make(map[reply]reply)
		for i := 0; i+1 < len(fields); i += 2 {
			said[fields[i]] = fields[i+1]
		}
		if said["username"] == redisUser && said["object"] != "config|get" {
			found = append(found, violation{noRight, fmt.Sprintf("%s refused gateways the %v %v", r.name, said["reason"], said["object"])})
		}
	}
	if err != nil {
		found = append(found, violation{noRight, fmt.Sprintf("%s does not say whom it refused: %v", r.name, err)})
	}
	return found
}

// forget deletes what it wrote to disk. It must not be running.
func (r *redisServer) forget() error {
	if err := os.RemoveAll(filepath.Join(r.dir, "appendonlydir")); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(r.dir, "dump.rdb"))
}

// runRedis makes and starts one.
func (w *world) runRedis(name string, lines ...string) (*redisServer, error) {
	r, err := newRedis(w.dir, name, lines...)
	if err != nil {
		return nil, err
	}
	w.redis = append(w.redis, r)
	return r, r.run()
}

// The backends: what the gateways of a world stand on. They set w.flags, the
// flags of each gateway.

// memory is the embedded broker.
func memory(w *world) error {
	w.flags = func(int) []string { return nil }
	return nil
}

// single is one Redis that writes what it stores to disk, and a proxy before it
// for each gateway.
func single(w *world) error {
	r, err := w.runRedis("redis", "appendonly yes", "appendfsync always")
	if err != nil {
		return err
	}
	return w.behindProxies(r)
}

func (w *world) behindProxies(r *redisServer) error {
	for range w.fault.gateways {
		p, err := newProxy(r.addr(), w.seed)
		if err != nil {
			return err
		}
		w.proxies = append(w.proxies, p)
	}
	w.flags = func(i int) []string { return []string{"--redis-url", redisURL(w.proxies[i].addr())} }
	return nil
}

// redisURL is that of the gateways' user.
func redisURL(addr string) string { return "redis://" + redisUser + ":" + redisPassword + "@" + addr }

const masterName = "hub"

// sentinel is a master, a replica and three sentinels, in this order in w.redis.
func sentinel(w *world) error {
	master, err := w.runRedis("master", "repl-diskless-sync-delay 0", "min-replicas-to-write 0")
	if err != nil {
		return err
	}
	replica, err := w.runRedis("replica", fmt.Sprintf("replicaof 127.0.0.1 %d", master.port), "repl-diskless-sync-delay 0")
	if err != nil {
		return err
	}
	if err := until(startWait, "replica is in step", func() bool { return info(replica.addr(), "replication", "master_link_status") == "up" }); err != nil {
		return err
	}
	var addrs []string
	for i := range 3 {
		s, err := newSentinel(w.dir, fmt.Sprintf("sentinel%d", i), fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 2", masterName, master.port),
			// A sentinel connects anew once in a second: with less it finds the new master down.
			"sentinel down-after-milliseconds "+masterName+" 2000", "sentinel failover-timeout "+masterName+" 10000")
		if err != nil {
			return err
		}
		w.redis = append(w.redis, s)
		if err := s.run(); err != nil {
			return err
		}
		addrs = append(addrs, s.addr())
	}
	w.flags = func(int) []string {
		return []string{"--redis-url", redisURL(master.addr()), "--redis-mode", "sentinel", "--redis-sentinel-master", masterName,
			"--redis-addresses", strings.Join(addrs, ","), "--redis-sentinel-username", redisUser, "--redis-sentinel-password", redisPassword}
	}
	return until(startWait, "sentinels know each other and the replica", func() bool {
		for _, a := range addrs {
			if field(a, "num-slaves") != "1" || field(a, "num-other-sentinels") != "2" {
				return false
			}
		}
		return true
	})
}

// field is a field of what a sentinel knows of the master.
func field(sentinel, name string) string {
	v, err := ask(sentinel, "SENTINEL", "MASTER", masterName)
	pairs, _ := v.([]reply)
	for i := 0; err == nil && i+1 < len(pairs); i += 2 {
		if pairs[i] == name {
			s, _ := pairs[i+1].(string)
			return s
		}
	}
	return ""
}

// master is the address that the sentinels give now.
func (w *world) master() string {
	for _, r := range w.redis {
		if !strings.HasPrefix(r.name, "sentinel") {
			continue
		}
		v, err := ask(r.addr(), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName)
		if pair, ok := v.([]reply); err == nil && ok && len(pair) == 2 {
			return fmt.Sprintf("%v:%v", pair[0], pair[1])
		}
	}
	return ""
}

// cluster3 is a Cluster of three masters, cluster6 one of three with a replica
// each: the first three of w.redis are the masters.
func cluster3(w *world) error { return w.cluster(3, 0) }
func cluster6(w *world) error { return w.cluster(6, 1) }

func (w *world) cluster(n, replicas int) error {
	var addrs []string
	for i := range n {
		r, err := newRedis(w.dir, fmt.Sprintf("node%d", i), "cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 2000",
			"appendonly no", "repl-diskless-sync-delay 0", "cluster-allow-replica-migration no")
		if err != nil {
			return err
		}
		w.redis = append(w.redis, r)
		if err := r.run(); err != nil {
			return err
		}
		addrs = append(addrs, r.addr())
	}
	create := &process{name: "create", dir: w.dir, args: append([]string{"redis-cli", "--cluster", "create"}, addrs...)}
	create.args = append(create.args, "--cluster-replicas", strconv.Itoa(replicas), "--cluster-yes")
	if err := create.start(); err != nil {
		return err
	}
	<-create.gone
	if create.err != nil {
		return fmt.Errorf("create the cluster: %w: %s", create.err, create.tail(2000))
	}
	w.flags = func(int) []string {
		return []string{"--redis-url", redisURL(addrs[0]), "--redis-mode", "cluster", "--redis-addresses", strings.Join(addrs, ",")}
	}
	return until(startWait, "cluster is whole", func() bool {
		for _, r := range w.redis {
			if !strings.Contains(clusterInfo(r.addr()), "cluster_state:ok") || !strings.Contains(clusterInfo(r.addr()), fmt.Sprintf("cluster_known_nodes:%d", n)) ||
				info(r.addr(), "replication", "master_link_status") == "down" {
				return false
			}
		}
		v, _ := ask(addrs[0], "CLUSTER", "NODES")
		text, _ := v.(string)
		return strings.Count(text, " connected") == n && strings.Count(text, "slave") == n-n/(replicas+1)
	})
}

func clusterInfo(addr string) string {
	v, _ := ask(addr, "CLUSTER", "INFO")
	text, _ := v.(string)
	return text
}

// settled waits until a condition on a Redis holds, a fault's own wait.
func (w *world) settled(what string, ok func() bool) error { return until(20*time.Second, what, ok) }
