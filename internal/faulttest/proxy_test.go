package faulttest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	pushed    = "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4\r\nbody\r\n"
	confirmed = "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
)

// through returns both ends of a connection through a proxy.
func through(t *testing.T) (p *proxy, client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if p, err = newProxy(l.Addr().String(), 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	if client, err = net.Dial("tcp", p.addr()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return p, client, server
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	b := make([]byte, len(text))
	if n, err := io.ReadFull(c, b); err != nil || string(b) != text {
		t.Fatalf("heard %q, %v, not %q", b[:n], err, text)
	}
}

// silent is that nothing comes for a while.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	b := make([]byte, 1)
	if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("heard %q, %v, and not nothing", b, err)
	}
}

func TestAProxyPassesBothWays(t *testing.T) {
	_, client, server := through(t)
	say(t, client, "anything")
	hear(t, server, "anything")
	say(t, server, "+OK\r\n"+pushed)
	hear(t, client, "+OK\r\n"+pushed)
}

func TestAProxyHoldsAndReleases(t *testing.T) {
	p, client, server := through(t)
	p.hold()
	say(t, client, "late")
	silent(t, server)
	say(t, server, "+late\r\n")
	silent(t, client)
	p.release()
	hear(t, server, "late")
	hear(t, client, "+late\r\n")
}

func TestAProxyDelays(t *testing.T) {
	p, client, server := through(t)
	p.slow(150 * time.Millisecond)
	say(t, client, "slow")
	silent(t, server)
	hear(t, server, "slow")
}

func TestAProxyDropsOnlyPushes(t *testing.T) {
	p, client, server := through(t)
	p.lose(1)
	say(t, server, "+OK\r\n"+pushed+confirmed+pushed+":1\r\n")
	hear(t, client, "+OK\r\n"+confirmed+":1\r\n")
	if n := p.dropped.Load(); n != 2 {
		t.Errorf("%d dropped, not 2", n)
	}
}

func TestAProxyResets(t *testing.T) {
	p, client, server := through(t)
	say(t, client, "x")
	hear(t, server, "x")
	p.resetAll()
	for _, c := range []net.Conn{client, server} {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the reset: %v", err)
		}
	}
}

func TestRepliesAreReadWhole(t *testing.T) {
	const text = "+OK\r\n-ERR no\r\n:7\r\n$-1\r\n$3\r\na\r\n\r\n*2\r\n$1\r\nx\r\n*1\r\n:1\r\n*-1\r\n>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$0\r\n\r\n"
	// However the bytes arrive.
	for size := 1; size <= len(text); size++ {
		r := bufio.NewReaderSize(&pieces{text: text, size: size}, 64)
		var raw []byte
		var got []string
		for {
			v, err := readReply(r, &raw)
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%T %v", v, v))
		}
		want := []string{"string OK", "faulttest.redisError ERR no", "int64 7", "<nil> <nil>", "string a\r\n", "[]interface {} [x [1]]", "<nil> <nil>", "[]interface {} [message c ]"}
		if string(raw) != text || !slices.Equal(got, want) {
			t.Fatalf("in pieces of %d: %q, raw %q", size, got, raw)
		}
	}
	for _, bad := range []string{"?\r\n", "$x\r\n", "\r\n", "*9\r\n"} {
		if v, err := readReply(bufio.NewReader(strings.NewReader(bad)), nil); err == nil {
			t.Errorf("%q was read as %v", bad, v)
		}
	}
}

// pieces is a reader that gives a few bytes at a time.
type pieces struct {
	text string
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.text == "" {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.size)], p.text)
	p.text = p.text[n:]
	return n, nil
}
