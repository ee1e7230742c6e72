package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fanfare-ws/fanfare/internal/certtest"
)

// patience bounds whatever a script waits for, on a machine that is busy.
const patience = 30 * time.Second

// scriptCommands are what scripts can do besides testscript's own:
//
//	gateway start [FLAG...]  run a gateway; $URL is where, $ADMIN its admin address. Again
//	                         after stop: in its place
//	certificate [UNTIL]      write ca.pem, cert.pem and key.pem, valid for a duration from now (1h)
//	gateway stop             end it, and wait until it has gone
//	redis start              run a redis-server; $REDIS is its URL and $REDIS_PORT its port. Again after stop:
//	                         in its place. For scripts that begin with [!redis] skip
//	redis stop               end it
//	cutter BYTES TIMES       $CUT leads to the gateway, but its first TIMES connections end after
//	                         as many BYTES from the client
//	await FILE REGEXP        wait until a file has a match
//	signal FILE NAME         send INT or TERM to the process whose number is in the file
func scriptCommands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"certificate": certificateCommand, "gateway": gatewayCommand, "redis": redisCommand, "cutter": cutterCommand,
		"await": awaitCommand, "signal": signalCommand,
	}
}

type running struct {
	*exec.Cmd
	output io.Closer
}

func (r *running) stop() {
	_ = r.Process.Kill() // it is gone already, or ends now
	_ = r.Wait()
	_ = r.output.Close()
}

// gatewayKey is where a script's environment keeps its gateway.
type gatewayKey struct{}

func gatewayCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: gateway start [FLAG...] | gateway stop")
	}
	held := ts.Value(gatewayKey{}).(*running)
	if args[0] == "stop" {
		held.stop()
		return
	}
	listen := "127.0.0.1:0"
	if was := ts.Getenv("URL"); was != "" {
		_, listen, _ = strings.Cut(was, "://")
	}
	path, err := exec.LookPath("fanfare")
	ts.Check(err)
	flags := append([]string{"serve", "--listen", listen, "--admin-listen", "127.0.0.1:0", "--log-level", "error"}, args[1:]...)
	held.Cmd = exec.Command(path, flags...)
	held.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "GOCOVERDIR"} {
		held.Env = append(held.Env, name+"="+ts.Getenv(name))
	}
	held.Stderr = os.Stderr
	stdout, err := held.StdoutPipe()
	ts.Check(err)
	held.output = stdout
	ts.Check(held.Start())
	ts.Defer(held.stop)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	urls := regexp.MustCompile(`https?://[^/ ]+`).FindAllString(line, -1)
	if err != nil || len(urls) != 2 {
		ts.Fatalf("the gateway said %q, %v", line, err)
	}
	ts.Setenv("URL", urls[0])
	ts.Setenv("ADMIN", urls[1])
}

func certificateCommand(ts *testscript.TestScript, neg bool, args []string) {
	until := time.Hour
	if neg || len(args) > 1 {
		ts.Fatalf("usage: certificate [UNTIL]")
	}
	if len(args) == 1 {
		var err error
		until, err = time.ParseDuration(args[0])
		ts.Check(err)
	}
	a := certtest.NewAuthority()
	_, err := a.WriteCA(ts.MkAbs("."))
	ts.Check(err)
	_, _, err = certtest.WritePair(ts.MkAbs("."), a.Sign(1, time.Now().Add(until)))
	ts.Check(err)
}

func cutterCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cutter BYTES TIMES")
	}
	bytes, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	times, err := strconv.Atoi(args[1])
	ts.Check(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	gateway := strings.TrimPrefix(ts.Getenv("URL"), "http://")
	ts.Setenv("CUT", "http://"+l.Addr().String())
	go func() {
		for n := 0; ; n++ {
			near, err := l.Accept()
			if err != nil {
				return
			}
			limit := bytes
			if n >= times {
				limit = 1 << 40
			}
			go forward(near, gateway, limit)
		}
	}()
}

// forward ends both ways once the client has sent limit bytes, or either side
// has gone.
func forward(near net.Conn, to string, limit int64) {
	defer near.Close()
	far, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer far.Close()
	go func() {
		_, _ = io.Copy(near, far)
		near.Close()
	}()
	_, _ = io.CopyN(far, near, limit)
}

func awaitCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE REGEXP")
	}
	want, err := regexp.Compile(`(?m)` + args[1])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		text, _ := os.ReadFile(ts.MkAbs(args[0])) // it may have to be made yet
		if want.Match(text) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("%s has no %q: %s", args[0], args[1], text)
		}
	}
}

func signalCommand(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM}
	if neg || len(args) != 2 || signals[args[1]] == 0 {
		ts.Fatalf("usage: signal FILE INT|TERM")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, signals[args[1]]))
}
