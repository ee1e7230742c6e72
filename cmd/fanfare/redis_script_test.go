package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// redisKey is where a script's environment keeps its redis-server.
type redisKey struct{}

func redisCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: redis start | redis stop")
	}
	server := ts.Value(redisKey{}).(*exec.Cmd)
	stop := func() {
		_ = server.Process.Kill() // it is gone already, or ends now
		_ = server.Wait()
	}
	if args[0] == "stop" {
		stop()
		return
	}
	path, err := exec.LookPath("redis-server")
	ts.Check(err)
	port := ts.Getenv("REDIS_PORT")
	if port == "" {
		port = strconv.Itoa(quietPort(ts))
	}
	*server = *exec.Command(path, "--port", port, "--bind", "127.0.0.1", "--dir", ts.Getenv("WORK"), "--save", "", "--appendonly", "no")
	ts.Check(server.Start())
	ts.Defer(stop)
	ts.Setenv("REDIS_PORT", port)
	ts.Setenv("REDIS", "redis://127.0.0.1:"+port)
	for deadline := time.After(patience); ; {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			ts.Fatalf("redis-server does not answer: %v", err)
		}
	}
}

// quietPort is one that was free a moment ago, below the ports of outgoing
// connections so that none takes it.
func quietPort(ts *testscript.TestScript) int {
	for port := 16000 + os.Getpid()*53%4000; port < 21000; port++ {
		if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			l.Close()
			return port
		}
	}
	ts.Fatalf("no free port")
	return 0
}

// condition knows [redis]: there is a redis-server, or it is CI, where there must
// be one.
func condition(name string) (bool, error) {
	if name != "redis" {
		return false, fmt.Errorf("unknown condition %q", name)
	}
	_, err := exec.LookPath("redis-server")
	return err == nil || os.Getenv("CI") != "", nil
}
