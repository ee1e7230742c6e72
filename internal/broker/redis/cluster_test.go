package redis

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/broker/brokertest"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// startCluster runs a Cluster of masters, each with so many replicas.
func startCluster(t testing.TB, masters, replicas int) []*server {
	t.Helper()
	require(t, "redis-server")
	require(t, "redis-cli")
	nodes := make([]*server, masters*(1+replicas))
	create := []string{"--cluster", "create"}
	for i := range nodes {
		nodes[i] = startServer(t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
			"--cluster-node-timeout", "2000", "--cluster-port", strconv.Itoa(freePort(t)))
		create = append(create, nodes[i].addr())
	}
	create = append(create, "--cluster-replicas", strconv.Itoa(replicas), "--cluster-yes")
	if out, err := exec.CommandContext(t.Context(), "redis-cli", create...).CombinedOutput(); err != nil {
		t.Fatalf("cluster create: %v\n%s", err, out)
	}
	for _, n := range nodes {
		eventually(t, "cluster is up at "+n.addr(), func() bool {
			ctx := context.Background()
			info, links := n.conn.ClusterInfo(ctx).Val(), n.conn.Info(ctx, "replication").Val()
			known := "cluster_known_nodes:" + strconv.Itoa(len(nodes))
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, known) &&
				!strings.Contains(links, "master_link_status:down") &&
				strings.Count(n.conn.ClusterNodes(ctx).Val(), "slave") == masters*replicas
		})
	}
	return nodes
}

func addresses(nodes []*server) []string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.addr())
	}
	return all
}

func TestContractCluster(t *testing.T) {
	brokertest.RunRealTime(t, newOnCluster(t))
}

func TestContractOfSeveralGatewaysOnACluster(t *testing.T) {
	brokertest.RunShared(t, newOnCluster(t))
}

func newOnCluster(t *testing.T) brokertest.New {
	nodes := startCluster(t, 3, 0)
	address := restrict(t, nodes...)
	return func(t *testing.T, o brokertest.Options) broker.Broker {
		return proven{t, mustNew(t, Config{
			URL: address, Mode: Cluster, Addresses: addresses(nodes), Partitions: 8, Prefix: "fanfare:" + o.Store,
			Bounds: o.Bounds, DedupWindow: o.DedupWindow, Queue: o.Queue, Events: o.Events,
		})}
	}
}

// ownerOf returns the master of a slot, and its id in the Cluster.
func ownerOf(t testing.TB, nodes []*server, slot int) (owner *server, id string) {
	t.Helper()
	var got *server
	eventually(t, "the slot has an owner", func() bool {
		for _, via := range nodes {
			if via.cmd == nil {
				continue
			}
			shards, err := via.conn.ClusterShards(context.Background()).Result()
			if err != nil {
				continue
			}
			for _, sh := range shards {
				if !slices.ContainsFunc(sh.Slots, func(r goredis.SlotRange) bool {
					return int64(slot) >= r.Start && int64(slot) <= r.End
				}) {
					continue
				}
				for _, n := range sh.Nodes {
					at := slices.IndexFunc(nodes, func(s *server) bool { return int64(s.port) == n.Port })
					if n.Role == "master" && at >= 0 {
						got, id = nodes[at], n.ID
						return true
					}
				}
			}
		}
		return false
	})
	return got, id
}

// clusterRig is a broker on a Cluster and a room of each partition.
func clusterRig(t *testing.T, nodes []*server) (*rig, []string) {
	t.Helper()
	r := newRig(t, Config{URL: restrict(t, nodes...), Mode: Cluster, Addresses: addresses(nodes), Partitions: 6})
	rooms := make([]string, 6)
	for i, found := 0, 0; found < len(rooms); i++ {
		room := fmt.Sprint("room", i)
		if at := r.of(room); rooms[at] == "" {
			rooms[at] = room
			found++
		}
	}
	r.subscribe(rooms...)
	r.ready()
	return r, rooms
}

func TestFollowsASlotThatMoves(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	nodes := startCluster(t, 3, 0)
	r, rooms := clusterRig(t, nodes)
	room := rooms[0]
	before := r.say(room, `"before"`)
	at := slot(tags(6)[0])
	from, fromID := ownerOf(t, nodes, at)
	to, toID := ownerOf(t, nodes, (at+slots/2)%slots)
	if from == to {
		t.Fatal("one node has both")
	}
	to.do("cluster", "setslot", at, "importing", fromID)
	from.do("cluster", "setslot", at, "migrating", toID)
	during := r.try(broker.Publication{Room: room, Data: []byte(`"during"`)})
	keys := from.do("cluster", "getkeysinslot", at, 100).([]any)
	from.do(append([]any{"migrate", "127.0.0.1", to.port, "", 0, 5000, "keys"}, keys...)...)
	moved := r.try(broker.Publication{Room: room, Data: []byte(`"moved"`)})
	for _, n := range []*server{to, from} {
		n.do("cluster", "setslot", at, "node", toID)
	}
	after := r.recovers(room, `"after"`)
	eventually(t, "subscribed again", func() bool { return r.ear.times(room) > 1 })
	if n := r.cfg.Metrics.Reconnects(metrics.ReconnectMoved); n == 0 {
		t.Error("the end of the subscription was not noticed, only its silence")
	}
	r.ready()
	last := r.say(room, `"last"`)
	eventually(t, "delivery", func() bool { return r.ear.has(room, `"last"`) })
	seq := before.Seq
	r.Unsubscribe(rooms[1])
	eventually(t, "all rights are used that are for clusters", func() bool { return len(unused(t, ofClusters, nodes...)) == 0 })
	for name, res := range map[string]broker.Result{"during": during, "moved": moved} {
		if res.Err == nil {
			seq++
		}
		t.Logf("%s: %+v", name, res)
	}
	if after.Epoch != before.Epoch || last.Epoch != before.Epoch || after.Seq <= seq {
		t.Errorf("before %+v, after %+v, last %+v", before.Position, after.Position, last.Position)
	}
	if page := r.read(room); page.Last != last.Seq || uint64(len(page.Messages)) != last.Seq {
		t.Errorf("%d messages kept, last %d", len(page.Messages), page.Last)
	}
}

func TestFollowsAFailoverOfTheCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds and more")
	}
	t.Parallel()
	nodes := startCluster(t, 3, 1)
	r, rooms := clusterRig(t, nodes)
	owner, _ := ownerOf(t, nodes, slot(tags(6)[0]))
	other := -1
	for i, room := range rooms {
		r.say(room, `1`)
		if n, _ := ownerOf(t, nodes, slot(tags(6)[i])); n != owner {
			other = i
		}
	}
	owner.kill()
	// What the others own goes on.
	if res := r.try(broker.Publication{Room: rooms[other], Data: []byte(`2`)}); res.Err != nil {
		t.Errorf("a room of another node: %v", res.Err)
	}
	eventually(t, "unready", func() bool { return r.Ready() != nil })
	r.recovers(rooms[0], `2`)
	r.ready()
	for _, room := range rooms {
		r.say(room, `"last"`)
		eventually(t, "delivery to "+room, func() bool { return r.ear.has(room, `"last"`) })
	}
}

// A node that is away, and has no replica, holds up nobody in the rooms of the
// others: neither those who come, nor the leaving of a gateway that died.
func TestANodeThatIsAwayHoldsUpNoOthersPeople(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	nodes := startCluster(t, 3, 0)
	for _, n := range nodes {
		n.do("config", "set", "cluster-require-full-coverage", "no")
	}
	r, rooms := clusterRig(t, nodes)
	dead := newRig(t, Config{Mode: Cluster, Addresses: addresses(nodes), Partitions: 6})
	for _, room := range rooms {
		if err := dead.come("dead", room, "ghost"); err != nil {
			t.Fatal(err)
		}
	}
	dead.stands("dead", 500*time.Millisecond)
	owner, _ := ownerOf(t, nodes, slot(tags(6)[0]))
	var there []string
	for i, room := range rooms {
		if n, _ := ownerOf(t, nodes, slot(tags(6)[i])); n != owner {
			there = append(there, room)
		}
	}
	owner.kill()
	if r.Part(rooms[0]) == r.Part(there[0]) || r.Parts() != len(rooms) {
		t.Errorf("parts %d and %d of %d", r.Part(rooms[0]), r.Part(there[0]), r.Parts())
	}
	for _, room := range there {
		if err := r.come("g", room, "ada"); err != nil {
			t.Errorf("a room of another node: %v", err)
		}
	}
	eventually(t, "the dead gateway's users have left", func() bool {
		if _, err := r.Reap(t.Context()); err == nil {
			t.Error("that a part could not be looked at is no error")
		}
		return !slices.ContainsFunc(there, func(room string) bool { return !slices.Equal(r.online(room), []string{"ada:1"}) })
	})
}
