package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/fanfare-ws/fanfare/internal/client"
)

// longestLine bounds what a line of stdin may take of memory; the gateway's own
// limit is far below.
const longestLine = 64 << 20

func publishCommand() *cobra.Command {
	p := &publisher{}
	cmd := &cobra.Command{
		Use:   "publish ROOM [DATA|-]",
		Short: "Publish messages to a room",
		Long: `Publishes DATA to a room. DATA is sent as it is if it is one JSON value (an object, a number, "a quoted
string", true, null ...), and as a JSON string otherwise; --text makes it a string in any case.

Without DATA, or with -, each line of stdin is a message, or of --file, read in the same way, and sent as it comes,
in the order of the lines; empty lines are skipped. A message that cannot be published ends the command; those
before it have been published, and a few of those behind it may have been.

With --messages a line is {"data","event"?,"id"?}, as fanfare tail --json prints them: what else it has is passed
over, and so are lines about gaps and resets.

Lost connections are made again, and what was not acknowledged is sent again with the same id, so that it is
stored once. That goes on for --timeout, counted for each message anew. --rate spaces the messages evenly.

Nothing is printed but errors; --json prints {"room","epoch","seq","duplicate"} for each message. Publishing a
--file tells on stderr how far it is, if that is a terminal; --progress does it in any case. What ends the lines
before their time says how many messages were published.

Exit codes: 0 all is published; 1 something is not: no gateway, no answer in time, it was refused, or it was told to
end (SIGINT, SIGTERM); 2 the command line cannot be.

Environment: FANFARE_URL, FANFARE_TOKEN.`,
		Example: `  fanfare publish lobby hello
  fanfare publish lobby '{"text":"hi"}' --event chat
  fanfare publish lobby -- -5
  seq 1000 | fanfare publish lobby -
  tail -f app.log | fanfare publish logs --text
  fanfare publish prices --file prices.ndjson --rate 500
  fanfare publish orders '{"n":17}' --id order-17 --json`,
		Args:              usage(cobra.RangeArgs(1, 2)),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.command(cmd, args)
		},
	}
	flags := cmd.Flags()
	p.target.flags(flags)
	p.credentials.flags(flags)
	flags.StringVar(&p.options.Event, "event", "", "the message's event, a name of the application's own")
	flags.StringVar(&p.options.ID, "id", "", "the message's id: published again within two minutes (unless the gateway\nis configured otherwise) it is stored once; line N has the id ID-N")
	flags.BoolVar(&p.text, "text", false, "send a JSON string also where DATA or the line is JSON")
	flags.StringVar(&p.file, "file", "", "publish the lines of this file")
	flags.BoolVar(&p.messages, "messages", false, "lines are {\"data\",\"event\",\"id\"}, as tail --json prints them")
	flags.Float64Var(&p.rate, "rate", 0, "messages a second at most (default as fast as they are taken)")
	flags.BoolVar(&p.progress, "progress", false, "tell on stderr how far it is (default with --file, on a terminal)")
	flags.DurationVar(&p.timeout, "timeout", 10*time.Second, "how long to try for each message, connecting included")
	flags.BoolVar(&p.asJSON, "json", false, "print where each message stands in the room's log, a JSON object a line")
	for _, flag := range []string{"event", "id", "rate", "timeout"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions) // the flag is there
	}
	return cmd
}

// publisher is what the command line of publish says.
type publisher struct {
	target
	room         string
	credentials  credentials
	token        func(context.Context) (string, error) // nil: none
	options      client.PublishOptions
	text, asJSON bool
	messages     bool // lines are whole messages
	file         string
	rate         float64
	progress     bool
	timeout      time.Duration

	published atomic.Int64
	bulk      *progress // nil: nothing is told on the way
}

// hurry is how long publishing that is told to end waits for what is on its way.
const hurry = time.Second

// command reads the command line, and does what it says.
func (p *publisher) command(cmd *cobra.Command, args []string) error {
	if err := fromEnvironment(cmd.Flags(), "url", urlVariable); err != nil {
		return err
	}
	p.room = args[0]
	stdin := p.file == "" && (len(args) == 1 || args[1] == "-")
	switch {
	case stdin && p.credentials.file == "-":
		return usageError(errors.New("--token-file: stdin has the messages already"))
	case p.file != "" && len(args) == 2:
		return usageError(errors.New("--file and DATA: give one of them"))
	case p.messages && !stdin && p.file == "":
		return usageError(errors.New("--messages is about lines: of stdin, or of a --file"))
	case p.messages && (p.text || p.options != client.PublishOptions{}):
		return usageError(errors.New("--messages: each line says itself what --text, --event and --id would"))
	case p.rate < 0 || math.IsNaN(p.rate):
		return usageError(errors.New("--rate: want more than 0"))
	}
	token, err := p.credentials.source(cmd.InOrStdin())
	if err != nil {
		return err
	}
	p.token = token
	if !stdin && p.file == "" {
		return p.run(cmd.Context(), p.one(args[1]))
	}
	if !cmd.Flags().Changed("progress") {
		p.progress = p.file != "" && isTerminal(os.Stderr)
	}
	in, size, name := cmd.InOrStdin(), int64(0), "stdin"
	if p.file != "" {
		f, err := os.Open(p.file)
		if err != nil {
			return usageError(fmt.Errorf("--file: %w", err))
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
		in, name = f, p.file
	}
	if p.progress {
		p.bulk = newProgress(os.Stderr, size, &p.published)
	}
	return p.run(cmd.Context(), p.lines(in, name))
}

// source gives messages to a channel that it does not close; its error ends the
// command once those have been published.
type source struct {
	many bool
	send func(ctx context.Context, to chan<- client.Outgoing) error
}

func (p *publisher) run(ctx context.Context, from source) error {
	longest := p.options
	if from.many && longest.ID != "" {
		longest.ID += "-1000000000"
	}
	if err := client.CheckPublish(p.room, longest); err != nil {
		return clientError(err)
	}
	if p.timeout <= 0 {
		return usageError(errors.New("--timeout: want more than 0"))
	}
	secure, err := p.tls()
	if err != nil {
		return err
	}
	l := &link{url: p.url}
	c, err := client.New(client.Config{URL: p.url, TLS: secure, Token: p.token, OnEvent: l.event, DialTimeout: min(p.timeout, 10*time.Second)})
	if err != nil {
		return clientError(err)
	}
	told, forget := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(told, forget) // a second one ends the process at once
	defer forget()
	ctx, end := context.WithCancel(ctx)
	context.AfterFunc(told, func() { time.AfterFunc(hurry, end) })
	if p.bulk != nil {
		p.bulk.start()
		defer p.bulk.stop()
	}
	var running sync.WaitGroup
	running.Go(func() { _ = c.Run(ctx) }) // its end is PublishAll's
	err = p.publish(ctx, c, from.until(told))
	state := l.last()
	end()
	running.Wait()
	if err != nil && told.Err() != nil {
		err = errors.New("told to end")
	} else {
		err = p.explain(err, state)
	}
	if err != nil && from.many {
		err = fmt.Errorf("%w; published %s", err, grouped(p.published.Load()))
	}
	return err
}

// until is the source that ends with ctx too, also where it stands still.
func (s source) until(ctx context.Context) source {
	send := s.send
	s.send = func(all context.Context, to chan<- client.Outgoing) error {
		messages, ended := make(chan client.Outgoing), make(chan error, 1)
		// It ends with its source or ctx; one that waits for stdin, with the process.
		go func() {
			ended <- send(ctx, messages)
			close(messages)
		}()
		for {
			select {
			case m, ok := <-messages:
				if !ok {
					return <-ended
				}
				select {
				case to <- m:
				case <-all.Done():
					return all.Err()
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return s
}

// publish publishes what the source gives.
func (p *publisher) publish(ctx context.Context, c *client.Client, from source) error {
	done, finish := func(client.Outgoing, client.Published) {}, func() error { return nil }
	if p.asJSON {
		// Who stops reading has no say in what is published.
		out := newOutput(os.Stdout, func() {})
		finish = func() error { return out.close(0) }
		done = func(_ client.Outgoing, at client.Published) {
			out.lines <- jsonLine(receipt{at.Room, at.Epoch, at.Seq, at.Duplicate})
		}
	}
	counted := func(o client.Outgoing, at client.Published) { done(o, at); p.published.Add(1) }
	messages, ended := make(chan client.Outgoing, 256), make(chan error, 1)
	go func() {
		ended <- from.send(ctx, messages)
		close(messages)
	}()
	err := c.PublishAll(ctx, client.Stream{From: messages, Done: counted, Patience: p.timeout})
	if err == nil {
		err = <-ended
	}
	return errors.Join(err, finish())
}

// receipt is a line of publish --json.
type receipt struct {
	Room      string `json:"room"`
	Epoch     string `json:"epoch"`
	Seq       uint64 `json:"seq"`
	Duplicate bool   `json:"duplicate"`
}

// one is the source of a message on the command line.
func (p *publisher) one(data string) source {
	return source{send: func(_ context.Context, to chan<- client.Outgoing) error {
		m, err := p.message([]byte(data))
		if err == nil {
			to <- m
		}
		return err
	}}
}

// lines is the source of the messages that stand in r, a line each.
func (p *publisher) lines(r io.Reader, name string) source {
	return source{many: true, send: func(ctx context.Context, to chan<- client.Outgoing) error {
		in := bufio.NewScanner(r)
		in.Buffer(make([]byte, 0, 64<<10), longestLine)
		pace := newPace(p.rate)
		line := 1
		for ; in.Scan(); line++ {
			if p.bulk != nil {
				p.bulk.read.Add(int64(len(in.Bytes())) + 1)
			}
			m, ok, err := p.ofLine(in.Bytes(), line)
			if err != nil {
				return fmt.Errorf("line %d: %w", line, err)
			}
			if !ok {
				continue
			}
			if err := pace.wait(ctx); err != nil {
				return err
			}
			select {
			case to <- m:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if errors.Is(in.Err(), bufio.ErrTooLong) {
			return fmt.Errorf("line %d: longer than any gateway takes: more than %d bytes", line, longestLine)
		}
		if in.Err() != nil {
			return fmt.Errorf("%s: %w", name, in.Err())
		}
		return nil
	}}
}

// ofLine reads a line; false: there is no message on it.
func (p *publisher) ofLine(text []byte, line int) (m client.Outgoing, ok bool, err error) {
	switch {
	case len(text) == 0:
		return m, false, nil
	case p.messages:
		m, ok, err = p.whole(text)
	default:
		m, err = p.message(text)
		ok = true
		if m.ID != "" {
			m.ID += "-" + strconv.Itoa(line)
		}
	}
	m.Line = line
	return m, ok, err
}

// whole reads a line of tail --json, or one like it.
func (p *publisher) whole(text []byte) (m client.Outgoing, ok bool, err error) {
	var given struct {
		Type  string          `json:"type"`
		Data  json.RawMessage `json:"data"`
		Event string          `json:"event"`
		ID    string          `json:"id"`
	}
	if !utf8.Valid(text) {
		return m, false, errNotUTF8
	}
	if err := json.Unmarshal(text, &given); err != nil {
		return m, false, errNoMessage
	}
	if given.Data == nil {
		if given.Type == "gap" || given.Type == "reset" {
			return m, false, nil
		}
		return m, false, errNoMessage
	}
	options := client.PublishOptions{Event: given.Event, ID: given.ID}
	return client.Outgoing{Room: p.room, Data: given.Data, PublishOptions: options}, true, nil
}

var errNoMessage = errors.New(`want {"data","event"?,"id"?}`)

var errNotUTF8 = errors.New("not UTF-8, which a message must be")

// message reads DATA or a line.
func (p *publisher) message(text []byte) (client.Outgoing, error) {
	if !utf8.Valid(text) {
		return client.Outgoing{}, errNotUTF8
	}
	m := client.Outgoing{Room: p.room, PublishOptions: p.options}
	if !p.text && json.Valid(text) {
		m.Data = bytes.Clone(text)
		return m, nil
	}
	data, err := jsontext.AppendQuote(nil, text)
	m.Data = data
	return m, err
}

// explain puts what ended publishing into one line; state is that of the
// connection then.
func (p *publisher) explain(err error, state client.State) error {
	var unpublished *client.UnpublishedError
	if !errors.As(err, &unpublished) {
		if errors.Is(err, client.ErrPermanent) {
			return unreachable(p.url, err)
		}
		return err
	}
	where := ""
	if line := unpublished.Message.Line; line > 0 {
		where = fmt.Sprintf("line %d: ", line)
	}
	switch cause := unpublished.Err; {
	case errors.Is(cause, client.ErrPermanent):
		err = unreachable(p.url, cause)
	case errors.Is(cause, client.ErrTooBig):
		err = cause
	case !errors.Is(cause, context.DeadlineExceeded):
		err = fmt.Errorf("%s: publish to %q: %w", shown(p.url), p.room, innermost(cause))
	case state.Status == client.Connected && unpublished.Last != nil:
		err = fmt.Errorf("%s: not published in %v: %w", shown(p.url), p.timeout, innermost(unpublished.Last))
	case state.Status == client.Connected:
		err = fmt.Errorf("%s: no answer in %v", shown(p.url), p.timeout)
	case state.Err != nil:
		err = unreachable(p.url, state.Err)
	default:
		err = unreachable(p.url, cause)
	}
	return fmt.Errorf("%s%w", where, err)
}
