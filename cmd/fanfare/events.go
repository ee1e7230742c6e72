package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/config"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// eventKeys are the keys of the configuration that say where events lie.
var eventKeys = []string{
	"redis.url", "redis.mode", "redis.addresses", "redis.sentinel_master", "redis.sentinel_username", "redis.sentinel_password",
	"redis.prefix", "redis.partitions", "redis.ca_file",
}

// eventTypes are those that --type takes.
var eventTypes = []string{
	broker.EventConnected, broker.EventDisconnected, broker.EventJoined, broker.EventLeft, broker.EventOccupied, broker.EventVacated,
}

const (
	// followEvery is between two looks at what is new; eventsPage is one look's most.
	followEvery = 250 * time.Millisecond
	eventsPage  = 500
)

func eventsCommand() *cobra.Command {
	r := &eventReader{}
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Print the lifecycle events of a fleet",
		Long: `Prints the events that gateways with events.enabled write into Redis: connections that began and ended, users that
joined and left rooms, rooms that got their first user and lost their last. It reads those that are kept, oldest first,
and ends; with --follow it goes on with what comes. A line has the time, the type, and what the event is about.

--json prints each event whole, {"id","type","time","gateway","connection","user","room","reason"}, without what it has
not; time is in Unix milliseconds. An id is good for --since: events are told at least once, and where Redis is a
cluster some of before it may come again.

Exit codes: 0 it printed what there is, was told to end (SIGINT, SIGTERM), or nobody reads its output any more; 1 Redis
could not be read; 2 the command line or the configuration cannot be.`,
		Example: `  fanfare events --redis-url redis://127.0.0.1
  fanfare events --config fanfare.yaml --follow --since '$' --type joined,left
  fanfare events --config fanfare.yaml --json | jq -r .user`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			if err := r.check(c); err != nil {
				return usageError(err)
			}
			return r.run(cmd.Context(), c)
		},
	}
	config.Flags(cmd.Flags(), eventKeys...)
	flags := cmd.Flags()
	flags.BoolVar(&r.follow, "follow", false, "go on with what comes")
	flags.StringVar(&r.since, "since", "", "begin behind the event with this id; $: with what comes from now on")
	flags.BoolVar(&r.asJSON, "json", false, "print whole events, a JSON object a line")
	flags.StringSliceVar(&r.types, "type", nil, "print only events of these types: "+strings.Join(eventTypes, ", "))
	return cmd
}

// eventReader is what the command line of events says, and what it works with.
type eventReader struct {
	follow, asJSON bool
	since          string
	types          []string

	out  *output
	told string // the newest note about why nothing is read; empty: it is
}

func (r *eventReader) check(c *config.Config) error {
	for _, kind := range r.types {
		if !slices.Contains(eventTypes, kind) {
			hint := ": it is one of " + strings.Join(eventTypes, ", ")
			if near := config.Nearest(kind, eventTypes); near != "" {
				hint = "; did you mean " + near + "?"
			}
			return fmt.Errorf("--type: no event is %q%s", kind, hint)
		}
	}
	if !c.Redis.Shared() {
		return errors.New("no Redis: events are kept there. Give --redis-url or --redis-addresses, or the --config of the gateways;" +
			" a gateway without Redis keeps none that another process could read")
	}
	return nil
}

func (r *eventReader) run(ctx context.Context, c *config.Config) error {
	told, forget := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(told, forget) // a second one ends the process at once
	defer forget()
	ctx, stop := context.WithCancel(told)
	defer stop()
	b, err := newBroker(c, parts{set: new(metrics.Set), relay: metrics.NewRelay(), id: "events", log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return usageError(err)
	}
	defer b.Close()
	log, ok := b.(broker.Lifecycle)
	if !ok {
		return fmt.Errorf("events: %T keeps none", b)
	}
	r.out = newOutput(os.Stdout, stop)
	go func() { // until the process ends, as a rule
		if untilUnread(os.Stdout) {
			stop()
		}
	}()
	err = r.read(ctx, log)
	flush := time.Duration(0)
	if told.Err() != nil {
		flush = time.Second // also where the reader of a full pipe stands still
	}
	if written := r.out.close(flush); err == nil {
		err = written
	}
	return err
}

// read prints events until there are no more, or until ctx ends.
func (r *eventReader) read(ctx context.Context, log broker.Lifecycle) error {
	cursor := r.since
	for {
		events, next, err := log.Events(ctx, cursor, eventsPage)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, broker.ErrCursor):
			return usageError(fmt.Errorf("--since %q: no event has such an id", r.since))
		case err != nil && !r.follow:
			return unread(err)
		case err != nil:
			// Look after look fails alike: one note is enough.
			if why := unread(err).Error(); why != r.told {
				note("%s (trying again)", why)
				r.told = why
			}
		default:
			if r.told != "" {
				note("redis: read again")
			}
			r.told = ""
			for _, e := range events {
				r.print(ctx, e)
			}
			moved := next != cursor && cursor != "$"
			if cursor = next; moved {
				continue
			}
			if !r.follow {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
	}
}

// unread says why Redis was not read.
func unread(err error) error {
	text := strings.TrimPrefix(err.Error(), "events: "+broker.ErrUnavailable.Error()+": ")
	return errors.New("redis: " + text + "; is that the Redis of the gateways, and does it run?")
}

func (r *eventReader) print(ctx context.Context, e broker.Event) {
	if len(r.types) > 0 && !slices.Contains(r.types, e.Type) {
		return
	}
	line := jsonLine(e)
	if !r.asJSON {
		line = []byte(describeEvent(e) + "\n")
	}
	select {
	case r.out.lines <- line:
	case <-ctx.Done():
	}
}

// describeEvent is an event for people.
func describeEvent(e broker.Event) string {
	line := fmt.Sprintf("%s  %-13s", time.UnixMilli(e.Time).Format("2006-01-02 15:04:05.000"), e.Type)
	for _, word := range []struct{ name, value string }{
		{"user", e.User}, {"room", e.Room}, {"connection", e.Connection}, {"reason", e.Reason}, {"gateway", e.Gateway},
	} {
		if word.value != "" {
			line += "  " + word.name + "=" + printable(word.value)
		}
	}
	return line
}

// printable quotes what would not stand as one word on a line, or move a terminal's
// cursor.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r == ' ' || r == '"' || !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
