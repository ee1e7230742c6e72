package faulttest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

var errRESP = errors.New("not RESP")

// reply is one value of Redis's protocol: string, int64, []reply, nil, or an
// error that Redis answered.
type reply = any

// redisError is an error that Redis answered.
type redisError string

func (e redisError) Error() string { return string(e) }

// readReply reads one value of RESP2, or of RESP3 as far as pushes and maps are
// concerned. Where raw is not nil, its bytes are appended to *raw.
func readReply(r *bufio.Reader, raw *[]byte) (reply, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if raw != nil {
		*raw = append(*raw, line...)
	}
	if len(line) < 3 {
		return nil, errRESP
	}
	kind, rest := line[0], string(bytes.TrimRight(line[1:], "\r\n"))
	switch kind {
	case '+', ',', '(', '#':
		return rest, nil
	case '-':
		return redisError(rest), nil
	case '_':
		return nil, nil
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil {
		return nil, errRESP
	}
	switch kind {
	case ':':
		return n, nil
	case '$', '=':
		return readBulk(r, n, raw)
	case '%':
		n *= 2
	case '*', '>', '~':
	default:
		return nil, errRESP
	}
	if n < 0 {
		return nil, nil
	}
	all := make([]reply, 0, min(n, 1024))
	for range n {
		v, err := readReply(r, raw)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

func readBulk(r *bufio.Reader, n int64, raw *[]byte) (reply, error) {
	if n < 0 {
		return nil, nil
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	if raw != nil {
		*raw = append(*raw, b...)
	}
	return string(b[:n]), nil
}

// isPush says whether a value is a message of pub/sub.
func isPush(v reply) bool {
	a, ok := v.([]reply)
	if !ok || len(a) < 3 {
		return false
	}
	name, _ := a[0].(string)
	return name == "message" || name == "smessage"
}

// ask sends one command to a Redis and returns its reply. An error reply is an
// error. Each call has a connection of its own: what is asked is rare.
func ask(addr string, args ...string) (reply, error) {
	conn, err := net.DialTimeout("tcp", addr, 2*time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(conn, b.String()); err != nil {
		return nil, err
	}
	v, err := readReply(bufio.NewReader(conn), nil)
	if err == nil {
		if e, ok := v.(redisError); ok {
			return nil, fmt.Errorf("%s: %w", args[0], e)
		}
	}
	return v, err
}

// info is one field of INFO, empty where it is not there.
func info(addr, section, field string) string {
	v, err := ask(addr, "INFO", section)
	text, _ := v.(string)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
