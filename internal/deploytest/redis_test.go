package deploytest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/client"
)

// pass is every user's password in these tests.
const pass = "of-a-test"

// redisNode is one process with a configuration of deploy/redis.
type redisNode struct {
	*process
	addr string
}

// newRedisNode starts one. Own are pairs as of topology.replaced; args come behind the file.
func (f *topology) newRedisNode(config, template string, own []string, args ...string) *redisNode {
	f.t.Helper()
	n := &redisNode{addr: freeAddr(f.t)}
	dir := f.t.TempDir()
	users := exec.Command("sh", root+"/deploy/redis/users.sh", root+"/deploy/redis/"+template)
	users.Env = os.Environ()
	for _, name := range []string{"FANFARE", "EXPORTER", "REPLICA", "SENTINEL", "OPERATOR"} {
		users.Env = append(users.Env, "REDIS_PASSWORD_"+name+"="+pass)
	}
	acl, err := users.Output()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "users.acl"), acl, 0o600); err != nil {
		f.t.Fatal(err)
	}
	own = append([]string{"/etc/redis/users.acl", filepath.Join(dir, "users.acl"), "dir /data", "dir " + dir}, own...)
	text, err := os.ReadFile(root + "/deploy/redis/" + config)
	if err != nil {
		f.t.Fatal(err)
	}
	file := filepath.Join(dir, config)
	if err := os.WriteFile(file, []byte(f.replaced(string(text), own...)), 0o600); err != nil {
		f.t.Fatal(err)
	}
	args = append([]string{program(f.t, "redis-server"), file, "--bind", "127.0.0.1", "--port", port(n.addr)}, args...)
	n.process = newProcess(f.t, config+" at "+n.addr, nil, args...)
	n.start()
	n.listens(n.addr)
	return n
}

// cli asks as the operator.
func (n *redisNode) cli(args ...string) (string, error) {
	cmd := exec.Command("redis-cli", append([]string{"--user", "operator", "-p", port(n.addr), "-e"}, args...)...)
	cmd.Env = append(os.Environ(), "REDISCLI_AUTH="+pass)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%v: %w: %s", args, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// keeps waits until an answer has a text in it.
func (n *redisNode) keeps(want string, args ...string) {
	n.t.Helper()
	eventually(n.t, fmt.Sprintf("%s says %q", n.name, want), func() error {
		got, err := n.cli(args...)
		if err == nil && !strings.Contains(got, want) {
			err = fmt.Errorf("%v: %s", args, got)
		}
		return err
	})
}

// promises are the settings without which a gateway warns.
func (n *redisNode) promises(more ...string) {
	n.t.Helper()
	for _, setting := range append([]string{"maxmemory-policy noeviction", "appendonly yes", "client-output-buffer-limit pubsub 268435456 67108864 60"}, more...) {
		name, value, _ := strings.Cut(setting, " ")
		n.keeps(value, "config", "get", name)
	}
	// Whoever has no name may ask whether it lives, and nothing else.
	for command, allowed := range map[string]bool{"ping": true, "info": false, "get x": false} {
		out, err := exec.Command("redis-cli", append([]string{"-p", port(n.addr), "-e"}, strings.Fields(command)...)...).CombinedOutput()
		if (err == nil) != allowed {
			n.t.Errorf("%s by nobody: %v, %s", command, err, out)
		}
	}
}

// talks runs a gateway with these variables, and returns a function that publishes
// through it and waits until a member has the message.
func (f *topology) talks(env ...string) (say func(string)) {
	f.t.Helper()
	addr, admin := freeAddr(f.t), freeAddr(f.t)
	env = append(env, "FANFARE_LISTEN="+addr, "FANFARE_ADMIN_LISTEN="+admin)
	f.gateways = append(f.gateways, newProcess(f.t, "gateway", env, binary(f.t), "serve"))
	f.gateways[0].start()
	f.ready(0)
	m := &member{got: make(map[uint64]string)}
	c := &crowd{t: f.t}
	ctx, end := context.WithCancel(context.Background())
	f.t.Cleanup(func() {
		end()
		c.over.Wait()
	})
	x := c.run(ctx, addr, 0, client.Config{Rooms: []client.Subscription{{Room: room}}, OnEvent: m.event})
	eventually(f.t, "it has joined", func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if !m.open {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	return func(id string) {
		f.t.Helper()
		limited, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		p, err := x.Publish(limited, room, []byte(strconv.Quote(id)), client.PublishOptions{ID: id})
		if err != nil {
			f.t.Fatalf("%s: %v", id, err)
		}
		eventually(f.t, id+" is delivered", func() error { return m.lacks(map[uint64]string{p.Seq: strconv.Quote(id)}) })
		if problem := m.problem(); problem != "" {
			f.t.Error(problem)
		}
	}
}

// A master, a replica and three Sentinels from the files, a failover between two messages.
func TestSentinelConfiguration(t *testing.T) {
	t.Parallel()
	program(t, "redis-cli")
	f := &topology{t: t}
	replica := []string{"${REDIS_PASSWORD_REPLICA}", pass}
	master := f.newRedisNode("replicated.conf", "users.template", replica)
	second := f.newRedisNode("replicated.conf", "users.template", replica, "--replicaof", "127.0.0.1 "+port(master.addr))
	second.keeps("master_link_status:up", "info", "replication")
	master.promises("min-replicas-to-write 1")
	var sentinels []*redisNode
	var addrs []string
	for range 3 {
		s := f.newRedisNode("sentinel.conf", "sentinel-users.template", []string{"${REDIS_PASSWORD_SENTINEL}", pass,
			"monitor fanfare redis-0 6379", "monitor fanfare 127.0.0.1 " + port(master.addr)}, "--sentinel")
		sentinels, addrs = append(sentinels, s), append(addrs, s.addr)
	}
	for _, s := range sentinels {
		s.keeps("OK 3 usable Sentinels", "sentinel", "ckquorum", "fanfare")
		s.keeps("slaves=1,sentinels=3", "info", "sentinel")
	}
	say := f.talks("FANFARE_REDIS_URL=redis://fanfare:"+pass+"@any:6379", "FANFARE_REDIS_MODE=sentinel", "FANFARE_REDIS_SENTINEL_MASTER=fanfare",
		"FANFARE_REDIS_ADDRESSES="+strings.Join(addrs, ","), "FANFARE_REDIS_SENTINEL_USERNAME=fanfare", "FANFARE_REDIS_SENTINEL_PASSWORD="+pass)
	say("before")
	eventually(t, "a failover begins", func() error {
		_, err := sentinels[0].cli("sentinel", "failover", "fanfare")
		return err
	})
	second.keeps("role:master", "info", "replication")
	say("after")
}

// A Cluster of three masters with a replica each, a failover between two messages.
func TestClusterConfiguration(t *testing.T) {
	t.Parallel()
	program(t, "redis-cli")
	f := &topology{t: t}
	create := []string{"--cluster", "create"}
	var nodes []*redisNode
	for range 6 {
		bus := freeAddr(t)
		n := f.newRedisNode("cluster.conf", "users.template", []string{"${REDIS_PASSWORD_REPLICA}", pass}, "--cluster-port", port(bus))
		nodes, create = append(nodes, n), append(create, n.addr)
	}
	if out, err := nodes[0].cli(append(create, "--cluster-replicas", "1", "--cluster-yes")...); err != nil {
		t.Fatal(err, out)
	}
	var second *redisNode
	for _, n := range nodes {
		n.keeps("cluster_state:ok", "cluster", "info")
		n.promises("min-replicas-to-write 1")
		role, err := n.cli("info", "replication")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(role, "role:slave") {
			n.keeps("master_link_status:up", "info", "replication")
			second = n
		}
	}
	if second == nil {
		t.Fatal("no node is a replica")
	}
	say := f.talks("FANFARE_REDIS_URL=redis://fanfare:"+pass+"@any:6379", "FANFARE_REDIS_MODE=cluster", "FANFARE_REDIS_PARTITIONS=6",
		"FANFARE_REDIS_ADDRESSES="+nodes[0].addr+","+nodes[1].addr)
	say("before")
	if _, err := second.cli("cluster", "failover"); err != nil {
		t.Fatal(err)
	}
	second.keeps("role:master", "info", "replication")
	say("after")
}
