package redis

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// startSentinels has three sentinels watch a master, under the name hub, and waits
// until they could fail it over. Lines are more of their configuration.
func startSentinels(t *testing.T, master *server, lines ...string) []string {
	t.Helper()
	var all []string
	for range 3 {
		dir, port := t.TempDir(), freePort(t)
		file := filepath.Join(dir, "sentinel.conf")
		text := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor hub 127.0.0.1 %d 2\n"+
			"sentinel down-after-milliseconds hub 1000\nsentinel failover-timeout hub 5000\n", port, dir, master.port) +
			strings.Join(lines, "\n") + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("redis-server", file, "--sentinel")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Signal(syscall.SIGKILL)
			cmd.Wait()
		})
		all = append(all, "127.0.0.1:"+strconv.Itoa(port))
	}
	for _, addr := range all {
		c := goredis.NewSentinelClient(&goredis.Options{Addr: addr, Protocol: 2, MaxRetries: -1})
		eventually(t, "the sentinel knows all", func() bool {
			ctx := context.Background()
			replicas, err := c.Replicas(ctx, "hub").Result()
			others, err2 := c.Sentinels(ctx, "hub").Result()
			return err == nil && err2 == nil && len(replicas) == 1 && len(others) == 2 &&
				strings.HasPrefix(c.CkQuorum(ctx, "hub").Val(), "OK")
		})
		c.Close()
	}
	return all
}

// Everyone has the rights of deploy/redis and no more: gateways at the servers and at
// the sentinels, sentinels at the servers and at each other, replicas.
func TestFollowsAFailoverOfSentinel(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds and more")
	}
	t.Parallel()
	master := startServer(t)
	address := restrict(t, master)
	others := []string{"sentinel", "replica"}
	for _, user := range others {
		master.user("users.template", user)
	}
	replica := startServer(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(master.port), "--masteruser", "replica", "--masterauth", password)
	restrict(t, replica)
	for _, user := range others {
		replica.user("users.template", user)
	}
	eventually(t, "the replica is in step", func() bool {
		return strings.Contains(replica.conn.Info(context.Background(), "replication").Val(), "master_link_status:up")
	})
	sentinels := startSentinels(t, master, "sentinel auth-user hub sentinel", `sentinel auth-pass hub "`+password+`"`,
		"sentinel sentinel-user sentinel", `sentinel sentinel-pass "`+password+`"`,
		"user sentinel "+strings.Join(rules(t, "sentinel-users.template", "sentinel"), " "),
		"user fanfare "+strings.Join(rules(t, "sentinel-users.template", "fanfare"), " "))
	r := newRig(t, Config{URL: address, Mode: Sentinel, Addresses: sentinels, SentinelMaster: "hub", SentinelUsername: "fanfare", SentinelPassword: password})
	r.subscribe("a")
	r.ready()
	first := r.say("a", `1`)
	s := replica.conn
	eventually(t, "the replica has it", func() bool { return s.XLen(context.Background(), "fanfare:s:a").Val() == 1 })
	master.kill()
	eventually(t, "unready", func() bool { return r.Ready() != nil })
	began := time.Now()
	second := r.recovers("a", `2`)
	r.ready()
	t.Logf("ready again %v after it was not", time.Since(began))
	if second.Epoch != first.Epoch || second.Seq != 2 {
		t.Errorf("first %+v, after the failover %+v", first.Position, second.Position)
	}
	eventually(t, "subscribed again", func() bool { return r.ear.times("a") > 1 })
	r.say("a", `3`)
	eventually(t, "delivery", func() bool { return r.ear.has("a", `3`) })
	for _, user := range others {
		replica.refused(user)
	}
	for _, addr := range sentinels {
		s := &server{t: t, conn: goredis.NewClient(&goredis.Options{Addr: addr, Protocol: 2, DisableIdentity: true})}
		s.port, _ = strconv.Atoi(addr[strings.LastIndexByte(addr, ':')+1:])
		s.refused("fanfare")
		s.refused("sentinel")
		s.conn.Close()
	}
}
