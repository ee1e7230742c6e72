package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfare-ws/fanfare/internal/client"
)

func tailCommand() *cobra.Command {
	t := &tailer{}
	cmd := &cobra.Command{
		Use:   "tail ROOM...",
		Short: "Print the messages of rooms as they come",
		Long: `Prints the data of each message on a line: strings as their text, all else as JSON; of several rooms behind
the room's name and ": ". On a terminal the time, the sender and the event stand before it, in colours, and controls
in what others wrote are shown and not obeyed; into a pipe or a file goes the data alone, as it is.

It begins with the next message, or with --last N messages back, or with --since: a place EPOCH:SEQ of one room,
as --json tells them; how long ago (90s, 5m, 1h30m); a time of today (14:05) or one of RFC 3339
(2026-01-31T14:05:00Z). Of what a room does not keep any more nothing can be printed.

Then it follows: lost connections are made again, for ever, and go on where they ended. With --follow=false it
prints what is kept, all of it where neither --last nor --since says less, and ends. What is known to be missing,
or may be of a time of --since, and that a connection was lost, is told on stderr, a line each.

--json prints each message whole instead, {"room","epoch","seq","time","from","event","data"} (no event: none),
and {"type":"gap","room","epoch","from","to","reason"} or {"type":"reset","room","epoch","seq","previous"} in
its place where messages are missing or a room's log began anew. fanfare publish --messages takes that again.

Exit codes: 0 it printed --count messages or what is kept, was told to end (SIGINT, SIGTERM), or nobody reads its
output any more; 1 the gateway refused it, or with --no-reconnect the connection ended; 2 the command line cannot be.

Environment: FANFARE_URL, FANFARE_TOKEN; NO_COLOR.`,
		Example: `  fanfare tail lobby                                    # what comes from now on
  fanfare tail lobby --last 10 --count 10
  fanfare tail lobby --since 5m --follow=false          # the last five minutes, and no more
  fanfare tail lobby --json | jq .data
  fanfare tail orders --json --since 3kzvq8:1041        # go on where it ended
  fanfare tail news:sport news:weather
  fanfare tail a --json --follow=false | fanfare publish b --messages   # copy a room`,
		Args:              usage(cobra.MinimumNArgs(1)),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := fromEnvironment(cmd.Flags(), "url", urlVariable); err != nil {
				return err
			}
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
	t.color.flags(cmd)
	flags.IntVar(&t.last, "last", 0, "begin that many messages back, as far as they are kept")
	flags.StringVar(&t.since, "since", "", "begin after EPOCH:SEQ of the one room, or that long ago, or at that time")
	flags.BoolVarP(&t.follow, "follow", "f", true, "go on with what comes; =false: print what is kept, and end")
	flags.IntVar(&t.count, "count", 0, "end after that many messages")
	flags.BoolVar(&t.look.asJSON, "json", false, "print whole messages, gaps and resets, a JSON object a line")
	flags.BoolVar(&t.look.prefix, "prefix", false, "the time, the sender and the event before each message (default on a terminal)")
	flags.BoolVar(&t.once, "no-reconnect", false, "end when the connection does, or cannot be made")
	for _, flag := range []string{"last", "since", "count"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions) // the flag is there
	}
	return cmd
}

// tailer is what the command line of tail says, and how far it is. OnEvent's
// goroutine owns what is not said by the command line.
type tailer struct {
	target
	credentials  credentials
	color        color
	since        string
	last, count  int
	follow, once bool
	look         look
	rooms        []client.Subscription
	from         time.Time // where they begin; zero: as the rooms say

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
	flags := cmd.Flags()
	switch {
	case t.last < 0 || t.last > math.MaxInt32:
		return fmt.Errorf("--last: want 0 to %d", math.MaxInt32)
	case flags.Changed("count") && t.count < 1:
		return errors.New("--count: want at least 1")
	case t.since != "" && t.last > 0:
		return errors.New("--since and --last both say where to begin: give one")
	}
	for _, room := range rooms {
		t.rooms = append(t.rooms, client.Subscription{Room: room, Last: t.last})
	}
	if t.since != "" {
		s, err := parseSince(t.since, time.Now())
		if err != nil {
			return err
		}
		if s.at != nil && len(rooms) > 1 {
			return errors.New("--since is a place in one room: name just that")
		}
		t.rooms[0].Since, t.from = s.at, s.time
	}
	return t.see(flags.Changed("prefix"))
}

// see decides how messages look: prefixed says whether the command line did so of
// the prefix.
func (t *tailer) see(prefixed bool) (err error) {
	t.look.rooms, t.look.visible = len(t.rooms) > 1, isTerminal(os.Stdout)
	if !prefixed {
		t.look.prefix = t.look.visible
	}
	t.look.colors, err = t.color.on(os.Stdout)
	return err
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
	cfg := client.Config{URL: t.url, TLS: secure, Token: token, Rooms: t.rooms, OnEvent: t.event}
	c, err := client.New(cfg)
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
	if t.from.IsZero() && t.follow {
		err = c.Run(t.ctx)
	} else {
		err = t.read(cfg)
	}
	flush := time.Duration(0)
	if told.Err() != nil {
		flush = time.Second // also where the reader of a full pipe stands still
	}
	written := t.out.close(flush)
	var failed *exitError
	switch {
	case errors.As(context.Cause(t.ctx), &failed):
		return failed
	case t.ctx.Err() == nil && err != nil:
		return unreachable(t.url, err)
	}
	return written
}

// read asks what the logs keep, and follows from there if it is to. An error is
// that there is no connection; t's context says what else went wrong.
func (t *tailer) read(cfg client.Config) error {
	rooms := t.rooms
	cfg.Rooms = nil
	c, err := client.Connect(t.ctx, cfg)
	if err != nil {
		return err
	}
	failed := t.ask(c, rooms)
	c.Close()
	if failed != nil && t.ctx.Err() == nil {
		t.fail(fmt.Errorf("%s: %w", shown(t.url), failed))
	}
	if t.ctx.Err() != nil || !t.follow {
		return nil
	}
	cfg.Rooms = rooms
	following, err := client.New(cfg)
	if err != nil {
		return err
	}
	return following.Run(t.ctx)
}

// ask finds where the rooms begin, and prints them if nothing is to follow.
func (t *tailer) ask(c *client.Client, rooms []client.Subscription) error {
	for i := range rooms {
		room := &rooms[i]
		if !t.from.IsZero() {
			at, err := c.FirstAfter(t.ctx, room.Room, t.from)
			if err != nil {
				return err
			}
			if err := t.reaches(c, room.Room, at); err != nil {
				return err
			}
			if room.Since = at; at == nil {
				continue // it begins with the next
			}
		}
		if t.follow {
			continue
		}
		if err := c.Replay(t.ctx, *room, t.event); err != nil {
			return err
		}
	}
	return nil
}

// reaches tells where a log does not reach back to the time of --since, of which at
// is the place; nil: nothing that is kept is of it.
func (t *tailer) reaches(c *client.Client, room string, at *client.Position) error {
	log, err := c.History(t.ctx, client.HistoryRequest{Room: room, Limit: 1})
	if err != nil {
		return err
	}
	older := log.First - 1 // the newest that is not kept
	if older > 0 && (at == nil && older == log.Last || at != nil && at.Seq == older) {
		note("%s: messages up to %d are not kept any more: some may be of that time", room, older)
	}
	return nil
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
	t.print(t.look.line(m))
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

// missing tells that messages are missing, in their place or on stderr.
func (t *tailer) missing(line any, format string, args ...any) {
	if t.look.asJSON {
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
