package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/fanfare-ws/fanfare/internal/client"
)

func tailCommand() *cobra.Command {
	t := &tailer{}
	cmd := &cobra.Command{
		Use:   "tail ROOM...",
		Short: "Print the messages of rooms as they come",
		Long: `Prints the data of each message on a line: strings as their text, all else as JSON; of several rooms behind
the room's name and ": ". Lost connections are made again, for ever, and go on where they ended. What is known to
be missing, and that a connection was lost, is told on stderr, a line each.

--json prints each message whole instead, {"room","epoch","seq","time","from","event","data"} (no event: none),
and {"type":"gap","room","epoch","from","to","reason"} or {"type":"reset","room","epoch","seq","previous"} in
its place where messages are missing or a room's log began anew.

Exit codes: 0 it printed --count messages, was told to end (SIGINT, SIGTERM), or nobody reads its output any more;
1 the gateway refused it, or with --no-reconnect the connection ended; 2 the command line cannot be.`,
		Example: `  fanfare tail lobby
  fanfare tail lobby --last 10 --count 10
  fanfare tail lobby --json | jq .data
  fanfare tail orders --json --since 3kzvq8:1041
  fanfare tail news:sport news:weather`,
		Args: usage(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.check(cmd, args); err != nil {
				return usageError(err)
			}
			token, err := t.credentials.source(cmd.InOrStdin())
			if err != nil {
				return err
			}
			return t.run(cmd.Context(), token)
		},
	}
	flags := cmd.Flags()
	t.target.flags(flags)
	t.credentials.flags(flags)
	flags.IntVar(&t.last, "last", 0, "begin that many messages back, as far as they are kept")
	flags.StringVar(&t.since, "since", "", "begin after EPOCH:SEQ of the one room, as --json tells them")
	flags.IntVar(&t.count, "count", 0, "end after that many messages")
	flags.BoolVar(&t.asJSON, "json", false, "print whole messages, gaps and resets, a JSON object a line")
	flags.BoolVar(&t.once, "no-reconnect", false, "end when the connection does, or cannot be made")
	return cmd
}

// tailer is what the command line of tail says, and how far it is. OnEvent's
// goroutine owns what is not said by the command line.
type tailer struct {
	target
	credentials  credentials
	since        string
	last, count  int
	asJSON, once bool
	rooms        []client.Subscription

	ctx  context.Context // ends when tail does
	end  context.CancelCauseFunc
	out  *output
	seen int
	told string // the newest note about why there is no connection; empty: there is one
}

// check judges the command line, and reads what the client does not.
func (t *tailer) check(cmd *cobra.Command, rooms []string) error {
	slices.Sort(rooms)
	rooms = slices.Compact(rooms)
	switch flags := cmd.Flags(); {
	case t.last < 0 || t.last > math.MaxInt32:
		return fmt.Errorf("--last: want 0 to %d", math.MaxInt32)
	case flags.Changed("count") && t.count < 1:
		return errors.New("--count: want at least 1")
	case t.since != "" && len(rooms) > 1:
		return errors.New("--since is a place in one room: name just that")
	case t.since != "" && t.last > 0:
		return errors.New("--since and --last both say where to begin: give one")
	}
	for _, room := range rooms {
		t.rooms = append(t.rooms, client.Subscription{Room: room, Last: t.last})
	}
	if t.since != "" {
		at, err := client.ParsePosition(t.since)
		if err != nil {
			return fmt.Errorf("--since: %s", clientText(err))
		}
		t.rooms[0].Since = &at
	}
	return nil
}

func (t *tailer) run(ctx context.Context, token func(context.Context) (string, error)) error {
	told, forget := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(told, forget) // a second one ends the process at once
	defer forget()
	t.ctx, t.end = context.WithCancelCause(told)
	defer t.end(nil)
	secure, err := t.tls()
	if err != nil {
		return err
	}
	c, err := client.New(client.Config{URL: t.url, TLS: secure, Token: token, Rooms: t.rooms, OnEvent: t.event})
	if err != nil {
		return clientError(err)
	}
	stop := func() { t.end(nil) }
	t.out = newOutput(os.Stdout, stop)
	// Until the process ends, as a rule. A tail of a quiet room would otherwise
	// learn only from the next message that head has gone.
	go func() {
		if untilUnread(os.Stdout) {
			stop()
		}
	}()
	err = c.Run(t.ctx)
	flush := time.Duration(0)
	if told.Err() != nil {
		flush = time.Second // also where the reader of a full pipe stands still
	}
	written := t.out.close(flush)
	var failed *exitError
	switch {
	case errors.As(context.Cause(t.ctx), &failed):
		return failed
	case t.ctx.Err() == nil:
		return unreachable(t.url, err)
	}
	return written
}

// fail ends tail with exit code 1.
func (t *tailer) fail(err error) { t.end(&exitError{1, err}) }

// event is the client's OnEvent.
func (t *tailer) event(e client.Event) {
	switch e := e.(type) {
	case client.Message:
		t.message(e)
	case client.Gap:
		t.missing(gapLine{"gap", e.Room, e.Epoch, e.From, e.To, string(e.Reason)},
			"%s: gap: messages %d to %d will not come: %s", e.Room, e.From, e.To, e.Reason)
	case client.Reset:
		t.reset(e.Room, place{e.Epoch, e.Seq}, place(e.Previous))
	case client.Refused:
		if e.Room == "" {
			note("%s: username: %v", shown(t.url), e.Err)
			return
		}
		t.fail(fmt.Errorf("%s: join %q: %w", shown(t.url), e.Room, e.Err))
	case client.State:
		t.state(e)
	case client.Fault:
		note("%s: fault of the gateway: %v", shown(t.url), e)
	}
}

func (t *tailer) message(m client.Message) {
	if t.count > 0 && t.seen == t.count {
		return
	}
	t.print(t.line(m))
	if t.seen++; t.seen == t.count {
		t.end(nil)
	}
}

// print waits while stdout is not read, so that the gateway's policy for slow
// clients takes effect.
func (t *tailer) print(line []byte) {
	select {
	case t.out.lines <- line:
	case <-t.ctx.Done():
	}
}

func (t *tailer) line(m client.Message) []byte {
	if t.asJSON {
		return jsonLine(messageLine{m.Room, m.Epoch, m.Seq, m.Time, m.From, m.Event, m.Data})
	}
	var line bytes.Buffer
	if len(t.rooms) > 1 {
		line.WriteString(m.Room + ": ")
	}
	if text, err := jsontext.AppendUnquote(nil, m.Data); err == nil {
		line.Write(text)
	} else if json.Compact(&line, m.Data) != nil {
		line.Write(m.Data)
	}
	line.WriteByte('\n')
	return line.Bytes()
}

// missing tells that messages are missing, in their place or on stderr.
func (t *tailer) missing(line any, format string, args ...any) {
	if t.asJSON {
		t.print(jsonLine(line))
		return
	}
	note(format, args...)
}

func (t *tailer) reset(room string, now, was place) {
	t.missing(resetLine{"reset", room, now.Epoch, now.Seq, was},
		"%s: the room's log began anew: now at %s, was at %s", room, now, was)
}

func (t *tailer) state(s client.State) {
	switch s.Status {
	case client.Connected:
		if t.told != "" {
			note("%s: connected again", shown(t.url))
		}
		t.told = ""
	case client.Disconnected:
		if s.Final || t.ctx.Err() != nil {
			return
		}
		why := unreachable(t.url, s.Err)
		if t.once {
			t.fail(why)
			return
		}
		// Attempt after attempt fails alike: one note is enough.
		if text := why.Error(); text != t.told {
			note("%s (trying again)", text)
			t.told = text
		}
	}
}

// messageLine is a message's line of tail --json.
type messageLine struct {
	Room  string          `json:"room"`
	Epoch string          `json:"epoch"`
	Seq   uint64          `json:"seq"`
	Time  int64           `json:"time"`
	From  string          `json:"from"`
	Event string          `json:"event,omitempty"`
	Data  json.RawMessage `json:"data"`
}

type gapLine struct {
	Type   string `json:"type"`
	Room   string `json:"room"`
	Epoch  string `json:"epoch"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	Reason string `json:"reason"`
}

type resetLine struct {
	Type     string `json:"type"`
	Room     string `json:"room"`
	Epoch    string `json:"epoch"`
	Seq      uint64 `json:"seq"`
	Previous place  `json:"previous"`
}

// place is a place in a room's log.
type place struct {
	Epoch string `json:"epoch"`
	Seq   uint64 `json:"seq"`
}

// String returns EPOCH:SEQ, as --since takes it.
func (p place) String() string { return p.Epoch + ":" + strconv.FormatUint(p.Seq, 10) }
