package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

func TestNewestOpinionOfTheSentinelsCounts(t *testing.T) {
	a, b := "10.0.0.1:6379", "10.0.0.2:6379"
	m := newMaster(&Config{}, new(goredis.UniversalOptions))
	for i, step := range []struct {
		opinions []opinion
		addr     string
		moved    bool
	}{
		{[]opinion{{}, {}, {}}, "", false},
		{[]opinion{{a, 1}, {}, {a, 1}}, a, false},
		{[]opinion{{}, {}, {}}, a, false},
		{[]opinion{{a, 1}, {b, 2}, {a, 1}}, b, true}, // two were not told yet
		{[]opinion{{a, 1}, {}, {}}, b, false},        // one that is cut off
		{[]opinion{{b, 2}, {b, 2}, {a, 1}}, b, false},
		{[]opinion{{a, 3}, {a, 3}, {b, 2}}, a, true}, // back
		{[]opinion{{b, 0}, {b, 0}, {}}, b, true},     // set up anew
	} {
		moved := m.judge(step.opinions)
		if moved != step.moved || m.named.addr != step.addr {
			t.Errorf("step %d: moved %v to %q", i, moved, m.named.addr)
		}
	}
}

func TestConnectionToAnotherServerThanTheMasterIsOfNoUse(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	o := &goredis.UniversalOptions{Dialer: dialer(nil)}
	m := newMaster(&Config{}, o)
	dial := func() (net.Conn, error) { return o.Dialer(t.Context(), "tcp", "127.0.0.1:1") }
	if c, err := dial(); !errors.Is(err, errDemoted) {
		t.Errorf("dial before a master is known: %v, %v", c, err)
	}
	m.judge([]opinion{{s.addr(), 1}})
	if c, err := dial(); !errors.Is(err, errDemoted) {
		t.Errorf("dial before its term is known: %v, %v", c, err)
	}
	m.update(opinion{s.addr(), 1}, term{token: "t"})
	open := make([]net.Conn, 4)
	for i := range open {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open[i] = c
	}
	if _, err := open[1].Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	waits := make(chan error, 1)
	go func() {
		_, err := open[3].Read(make([]byte, 100))
		waits <- err
	}()
	m.judge([]opinion{{"127.0.0.1:1", 2}})
	if _, err := open[0].Write([]byte("PING\r\n")); !errors.Is(err, errDemoted) {
		t.Errorf("write: %v", err)
	}
	if n, err := open[1].Read(make([]byte, 100)); !errors.Is(err, errDemoted) || n != 0 {
		t.Errorf("read: %d, %v", n, err)
	}
	if _, err := open[2].(syscall.Conn).SyscallConn(); !errors.Is(err, errDemoted) {
		t.Errorf("look: %v", err)
	}
	if err := <-waits; !errors.Is(err, errDemoted) {
		t.Errorf("a read that waits: %v", err)
	}
	if n := len(m.conns); n != 0 {
		t.Errorf("%d connections are remembered", n)
	}
	if c, err := dial(); !errors.Is(err, errDemoted) {
		t.Errorf("dial: %v, %v", c, err)
	}
}

// An old master that was stopped answers again for a while, as if nothing had been.
func TestNothingThatAnOldMasterTookIsAcknowledged(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds and more")
	}
	t.Parallel()
	master := startServer(t)
	replica := startServer(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(master.port))
	eventually(t, "the replica is in step", func() bool {
		return strings.Contains(replica.conn.Info(context.Background(), "replication").Val(), "master_link_status:up")
	})
	sentinels := startSentinels(t, master)
	var log pages
	cfg := Config{Mode: Sentinel, Addresses: sentinels, SentinelMaster: "hub", Log: slog.New(slog.NewTextHandler(&log, nil)),
		Bounds: func(string) broker.Bounds { return broker.Bounds{Messages: 1e6} }}
	r := newRig(t, cfg)
	r.subscribe("a")
	r.ready()
	eventually(t, "a warning", func() bool { return log.has("min-replicas-to-write 0") })
	r.say("a", `"first"`)
	master.signal(syscall.SIGSTOP)
	ask := goredis.NewSentinelClient(&goredis.Options{Addr: sentinels[0], Protocol: 2})
	defer ask.Close()
	acked, promoted := make(map[broker.Position]string), time.Time{}
	for i := 0; promoted.IsZero() || time.Since(promoted) < 5*time.Second; i++ {
		text := fmt.Sprint(i)
		if res := r.try(broker.Publication{Room: "a", Data: []byte(text)}); res.Err == nil {
			if was, twice := acked[res.Position]; twice {
				t.Errorf("%+v is %s and %s", res.Position, was, text)
			}
			acked[res.Position] = text
		}
		if promoted.IsZero() && i%10 == 0 && ask.GetMasterAddrByName(context.Background(), "hub").Val()[1] == strconv.Itoa(replica.port) {
			promoted = time.Now()
			master.signal(syscall.SIGCONT)
		}
	}
	if len(acked) == 0 {
		t.Fatal("nothing was acknowledged after the failover")
	}
	kept := texts(r.read("a"))
	for p, text := range acked {
		if _, ok := slices.BinarySearch(kept, text); !ok {
			t.Errorf("%s was acknowledged as %+v, and is lost", text, p)
		}
	}
	t.Logf("%d acknowledged", len(acked))
}
