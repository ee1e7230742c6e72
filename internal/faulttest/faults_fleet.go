package faulttest

import (
	"fmt"
	"strings"
	"syscall"
	"time"
)

// Faults of a Redis that is several processes.

// lagThenFailover stops replication, lets messages be acknowledged that the
// replica does not have, and kills the master: the replica's log is shorter than
// what was delivered.
func lagThenFailover(w *world) error {
	master, replica := w.redis[0], w.redis[1]
	// With a password that the master does not know, the replica cannot come back
	// to it once its link is cut, and it keeps what it has.
	if _, err := ask(replica.addr(), "CONFIG", "SET", "masterauth", "wrong"); err != nil {
		return err
	}
	if _, err := ask(master.addr(), "CLIENT", "KILL", "TYPE", "replica"); err != nil {
		return err
	}
	if err := w.settled("replication is cut", func() bool { return info(replica.addr(), "replication", "master_link_status") == "down" }); err != nil {
		return err
	}
	w.pause(w.between(1500*time.Millisecond, 4*time.Second))
	defer func() { _, _ = ask(replica.addr(), "CONFIG", "SET", "masterauth", "") }()
	return w.killMaster(master, replica)
}

// unseenThenFailover has messages acknowledged that neither the replica nor any
// subscriber has when the master dies: then its seqs are given again, and only
// who acknowledged them can know.
func unseenThenFailover(w *world) error {
	master, replica := w.redis[0], w.redis[1]
	if _, err := ask(replica.addr(), "CONFIG", "SET", "masterauth", "wrong"); err != nil {
		return err
	}
	defer func() { _, _ = ask(replica.addr(), "CONFIG", "SET", "masterauth", "") }()
	last := time.Now().Add(w.between(500*time.Millisecond, time.Second))
	for time.Now().Before(last) {
		for _, kind := range []string{"replica", "pubsub"} {
			if _, err := ask(master.addr(), "CLIENT", "KILL", "TYPE", kind); err != nil {
				return err
			}
		}
	}
	return w.killMaster(master, replica)
}

// failover kills the master while its replica is in step.
func failover(w *world) error { return w.killMaster(w.redis[0], w.redis[1]) }

func (w *world) killMaster(master, replica *redisServer) error {
	from := w.fleet.clock()
	master.kill()
	if err := w.promoted(replica); err != nil {
		return err
	}
	w.allBroken(from, w.fleet.clock())
	return master.run()
}

func (w *world) promoted(replica *redisServer) error {
	return w.settled("the replica is master", func() bool {
		return w.master() == replica.addr() && info(replica.addr(), "replication", "role") == "master"
	})
}

// frozenMaster stops the master until its replica has taken its place: then it
// answers again, for a while as if nothing had been.
func frozenMaster(w *world) error {
	from := w.fleet.clock()
	w.redis[0].signal(syscall.SIGSTOP)
	err := w.promoted(w.redis[1])
	w.redis[0].signal(syscall.SIGCONT)
	if err != nil {
		return err
	}
	err = w.settled("the old master is a replica", func() bool { return info(w.redis[0].addr(), "replication", "role") == "slave" })
	w.allBroken(from, w.fleet.clock())
	return err
}

// killNode kills a master of a Cluster; its replica takes its slots.
func killNode(w *world) error {
	i, from := w.random.IntN(3), w.fleet.clock()
	node := w.redis[i]
	id, err := ask(node.addr(), "CLUSTER", "MYID")
	if err != nil {
		return err
	}
	node.kill()
	other := w.redis[(i+1)%3].addr()
	err = w.settled("a replica has taken the slots", func() bool {
		v, _ := ask(other, "CLUSTER", "NODES")
		text, _ := v.(string)
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, fmt.Sprint(id)) && strings.Contains(line, "master,fail ") && len(strings.Fields(line)) > 8 {
				return false // it still has slots
			}
		}
		return strings.Contains(clusterInfo(other), "cluster_state:ok") && strings.Contains(text, "fail ")
	})
	if err != nil {
		return err
	}
	w.allBroken(from, w.fleet.clock())
	return node.run()
}

// askedFailover has a replica of a Cluster take its master's place in good order.
func askedFailover(w *world) error {
	replica := w.redis[3+w.random.IntN(3)]
	if _, err := ask(replica.addr(), "CLUSTER", "FAILOVER"); err != nil {
		return err
	}
	return w.settled("the replica is master", func() bool { return info(replica.addr(), "replication", "role") == "master" })
}

// moveSlots moves a part of the slots from one node to another, with their keys.
func moveSlots(w *world) error {
	var ids []string
	for _, r := range w.redis[:2] {
		id, err := ask(r.addr(), "CLUSTER", "MYID")
		if err != nil {
			return err
		}
		ids = append(ids, fmt.Sprint(id))
	}
	move := &process{name: "reshard", dir: w.dir, args: []string{"redis-cli", "--cluster", "reshard", w.redis[0].addr(),
		"--cluster-from", ids[0], "--cluster-to", ids[1], "--cluster-slots", "2000", "--cluster-yes"}}
	if err := move.start(); err != nil {
		return err
	}
	<-move.gone
	if move.err != nil {
		return fmt.Errorf("reshard: %w: %s", move.err, move.tail(1000))
	}
	return nil
}
