package redis

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

//go:embed lua
var sources embed.FS

// script is a Lua script and its SHA-1, by which Redis knows it.
type script struct {
	text, hash string
	kind       metrics.RedisCommand
}

// newScript makes a script of a file, with what those of its kind share before it.
func newScript(name string, kind metrics.RedisCommand) *script {
	return joinScript(kind, "room", name)
}

func newPeopleScript(name string, kind metrics.RedisCommand) *script {
	return joinScript(kind, "room", "people", name)
}

func joinScript(kind metrics.RedisCommand, files ...string) *script {
	var text strings.Builder
	for _, file := range files {
		b, err := sources.ReadFile("lua/" + file + ".lua")
		if err != nil {
			panic(err) // it is built in
		}
		text.Write(b)
	}
	return &script{text: text.String(), hash: hashText(text.String()), kind: kind}
}

var (
	scriptPublish = newScript("publish", metrics.RedisPublish)
	scriptRange   = newScript("range", metrics.RedisRange)
	scriptTails   = newScript("tails", metrics.RedisTails)
	scriptRenew   = newScript("renew", metrics.RedisRenew)
	scriptForget  = newScript("forget", metrics.RedisForget)
	scriptProbe   = newScript("probe", metrics.RedisProbe)

	scriptAnnounce    = newPeopleScript("announce", metrics.RedisFleet)
	scriptWithdraw    = newPeopleScript("withdraw", metrics.RedisFleet)
	scriptMembers     = newPeopleScript("members", metrics.RedisFleet)
	scriptPresence    = newPeopleScript("presence", metrics.RedisPresence)
	scriptOnline      = newPeopleScript("online", metrics.RedisPresence)
	scriptCounts      = newPeopleScript("counts", metrics.RedisPresence)
	scriptActive      = newPeopleScript("active", metrics.RedisPresence)
	scriptExtend      = newPeopleScript("extend", metrics.RedisPresence)
	scriptClaim       = newPeopleScript("claim", metrics.RedisNames)
	scriptRelease     = newPeopleScript("release", metrics.RedisNames)
	scriptRevoke      = newPeopleScript("revoke", metrics.RedisRevocations)
	scriptRevocations = newPeopleScript("revocations", metrics.RedisRevocations)
	scriptConnections = newPeopleScript("connections", metrics.RedisEvents)
	scriptEvents      = newPeopleScript("events", metrics.RedisEvents)
	scriptLapsed      = newPeopleScript("lapsed", metrics.RedisReap)
	scriptReap        = newPeopleScript("reap", metrics.RedisReap)
	scriptLeave       = newPeopleScript("leave", metrics.RedisReap)
)

// scriptFollow writes also where memory is full: a master that cannot be entered
// could not be read either.
var scriptFollow = allowFull(newPeopleScript("follow", metrics.RedisFleet))

// allowFull has a script run where memory is full.
func allowFull(s *script) *script {
	text := "#!lua flags=allow-oom\n" + s.text
	return &script{text: text, hash: hashText(text), kind: s.kind}
}

func hashText(text string) string {
	sum := sha1.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

// call makes the command that runs a script: by its hash, or with its text where
// Redis does not know it.
func (s *script) call(ctx context.Context, whole bool, keys []string, args ...any) command {
	all := make([]any, 0, 3+len(keys)+len(args))
	if whole {
		all = append(all, "eval", s.text)
	} else {
		all = append(all, "evalsha", s.hash)
	}
	all = append(all, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	return command{goredis.NewCmd(ctx, append(all, args...)...)}
}

// isUnknownScript says that the command did not run.
func isUnknownScript(err error) bool { return goredis.HasErrorPrefix(err, "NOSCRIPT") }

// run runs a script and returns its answer. An error is one of broker.ErrClosed,
// the context's, or broker.ErrUnavailable.
func (b *Broker) run(ctx context.Context, s *script, keys []string, args ...any) (any, error) {
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, b.cfg.ReadTimeout)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	begun := time.Now()
	cmd := s.call(limited, false, keys, args...)
	err := b.client.Process(limited, cmd)
	if isUnknownScript(err) {
		cmd = s.call(limited, true, keys, args...)
		err = b.client.Process(limited, cmd)
	}
	b.cfg.Metrics.Command(s.kind, time.Since(begun), err != nil)
	switch {
	case err == nil:
		return cmd.Val(), nil
	case b.ctx.Err() != nil:
		return nil, broker.ErrClosed
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, unavailable(err)
}

// usable says why nothing can be asked for.
func (b *Broker) usable(ctx context.Context) error {
	if b.ctx.Err() != nil {
		return broker.ErrClosed
	}
	return ctx.Err()
}

// call is one run of a script, and what came of it.
type call struct {
	partition int // whose keys these are
	script    *script
	keys      []string
	args      []any
	renumber  func() // nil: the script may come after those behind it as it is
	got       any
	err       error // none, or Redis's
}

// runAll runs scripts in one round trip, those of one partition in their order. The
// error is the first one's, as run has it; the others may have run. What did not run
// since Redis did not know the script is sent again, with its text, and comes after
// the others then: another may have brought the script between two of them.
func (b *Broker) runAll(ctx context.Context, calls []*call) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, b.cfg.ReadTimeout)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	begun := time.Now()
	b.pipeline(limited, calls, false)
	b.pipeline(limited, unknown(calls), true)
	var failed error
	for _, c := range calls {
		if c.err != nil {
			failed = c.err
			break
		}
	}
	b.cfg.Metrics.Command(calls[0].script.kind, time.Since(begun), failed != nil)
	switch {
	case failed == nil:
		return nil
	case b.ctx.Err() != nil:
		return broker.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return unavailable(failed)
}

// unknown returns the calls whose script Redis did not know, to be sent again.
func unknown(calls []*call) (all []*call) {
	for _, c := range calls {
		if !isUnknownScript(c.err) {
			continue
		}
		if c.renumber != nil {
			c.renumber()
		}
		all = append(all, c)
	}
	return all
}

// pipeline sends calls as one. whole: with their text, a script's in the first of
// its calls to a partition.
func (b *Broker) pipeline(ctx context.Context, calls []*call, whole bool) {
	if len(calls) == 0 {
		return
	}
	type place struct {
		script    *script
		partition int
	}
	sent := make(map[place]bool)
	pipe := b.client.Pipeline()
	cmds := make([]command, len(calls))
	for i, c := range calls {
		at := place{c.script, c.partition}
		cmds[i] = c.script.call(ctx, whole && !sent[at], c.keys, c.args...)
		sent[at] = true
		_ = pipe.Process(ctx, cmds[i]) // it only queues; errors are read from the commands
	}
	_, _ = pipe.Exec(ctx)
	for i, c := range calls {
		c.got, c.err = cmds[i].Val(), cmds[i].Err()
	}
}

func unavailable(err error) error { return fmt.Errorf("%w: %v", broker.ErrUnavailable, err) }
