package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// output writes lines to stdout: each as it comes, and together those that are
// there at once. Its goroutine runs until close. A reader that went away, as
// head does, is not an error: what comes then is dropped.
type output struct {
	lines  chan []byte
	broken func()        // told once, when nothing can be written any more
	ended  chan struct{} // closed by the goroutine
	err    error         // the goroutine's until then
}

func newOutput(w io.Writer, broken func()) *output {
	// Otherwise the first write after the reader went ends the process.
	signal.Ignore(syscall.SIGPIPE)
	o := &output{lines: make(chan []byte, 256), broken: broken, ended: make(chan struct{})}
	go o.write(bufio.NewWriterSize(w, 64<<10))
	return o
}

func (o *output) write(w *bufio.Writer) {
	defer close(o.ended)
	broken := false
	for line := range o.lines {
		if broken {
			continue
		}
		_, err := w.Write(line)
		if err == nil && len(o.lines) == 0 {
			err = w.Flush()
		}
		if err == nil {
			continue
		}
		broken = true
		if !errors.Is(err, syscall.EPIPE) {
			o.err = fmt.Errorf("stdout: %w", err)
		}
		o.broken()
	}
}

// close waits until everything is written, for so long at most (0: no limit).
// The error says why it could not be.
func (o *output) close(atMost time.Duration) error {
	close(o.lines)
	var late <-chan time.Time
	if atMost > 0 {
		late = time.After(atMost)
	}
	select {
	case <-o.ended:
		return o.err
	case <-late:
		return nil
	}
}

// untilUnread waits until nobody can read any more what is written to f. It
// returns false where the system cannot tell: a write then will.
func untilUnread(f *os.File) bool {
	// No event is asked for: an error or a hang-up is reported always (poll(2)).
	fds := []unix.PollFd{{Fd: int32(f.Fd())}}
	for {
		_, err := unix.Poll(fds, -1)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
		}
	}
}

// jsonLine is v in JSON, and a line's end.
func jsonLine(v any) []byte {
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // v is a struct of ours, and data the gateway's, which is JSON
	}
	return line.Bytes()
}
