package loop

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/poll"
)

const (
	scarceChild = "FANFARE_TEST_SCARCE_DESCRIPTORS"
	scarceLimit = 96 // of which the acceptor leaves 12 to others
)

// The limit of descriptors is the process's, so a child runs into it. It prints
// where it listens, then a line when accepting fails first.
func runScarceChild() int {
	limit := unix.Rlimit{Cur: scarceLimit, Max: scarceLimit}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		fmt.Println(err)
		return 1
	}
	m := metrics.NewLoop()
	l, err := New(Config{Limits: Limits{Head: frame.HeadLimits{Bytes: 1000, Headers: 10}}}, &handler{}, m)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	ln, err := poll.Listen("127.0.0.1:0", poll.SocketOptions{})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var failed atomic.Bool
	reserve := os.Getenv(scarceChild) == "reserve"
	a := NewAcceptor(ln, []*Loop{l}, nil, func(metrics.AcceptError) {
		if !failed.Swap(true) {
			// The reserve is there for others; without one, nothing is.
			f, err := os.Open("/dev/null")
			fmt.Println("scarce", l.Conns(), (err == nil) == reserve)
			f.Close()
		}
	})
	if !reserve {
		a.reserved = 1 << 30 // accept itself fails
	}
	fmt.Println(ln.Addr())
	stopped := make(chan error, 2)
	go func() { stopped <- a.Run() }()
	go func() { stopped <- l.Run() }()
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is done
	a.Close()
	l.Stop()
	for range 2 {
		if err := <-stopped; err != nil {
			fmt.Println(err)
			return 1
		}
	}
	return 0
}

func TestAcceptingBacksOffWithoutDescriptorsAndRecovers(t *testing.T) {
	for _, mode := range []string{"reserve", "none"} {
		t.Run(mode, func(t *testing.T) { runOutOfDescriptors(t, mode) })
	}
}

func runOutOfDescriptors(t *testing.T, mode string) {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), scarceChild+"="+mode)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close()
		if err := child.Wait(); err != nil {
			t.Errorf("child: %v", err)
		}
	}()
	var addr string
	if _, err := fmt.Fscanln(stdout, &addr); err != nil {
		t.Fatal(err)
	}
	// More than there is room for; the kernel's backlog holds the rest.
	clients := make([]net.Conn, scarceLimit+20)
	for i := range clients {
		if clients[i], err = net.Dial("tcp", addr); err != nil {
			t.Fatal(err)
		}
		defer clients[i].Close()
		_ = clients[i].SetDeadline(time.Now().Add(patience))
	}
	var conns int
	var expected bool
	if _, err := fmt.Fscanf(stdout, "scarce %d %t\n", &conns, &expected); err != nil || !expected {
		t.Fatalf("with %d connections: %v; the reserve is not as it should be", conns, err)
	}
	last := clients[len(clients)-1]
	if _, err := last.Write(request()); err != nil {
		t.Fatal(err)
	}
	// It waits until others go.
	for _, c := range clients[:60] {
		c.Close()
	}
	answer := make([]byte, 12)
	if _, err := io.ReadFull(last, answer); err != nil || string(answer) != "HTTP/1.1 101" {
		t.Errorf("after descriptors were free: %q, %v", answer, err)
	}
}

func TestConnectionsGoToTheLoopWithTheFewest(t *testing.T) {
	a := &Acceptor{loops: []*Loop{{}, {}, {}}}
	for i, n := range []int64{5, 2, 4} {
		a.loops[i].conns.Store(n)
	}
	if got := a.idlest(); got != a.loops[1] {
		t.Error("not the idlest loop")
	}
}
