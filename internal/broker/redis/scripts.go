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

func newScript(name string, kind metrics.RedisCommand) *script {
	var text strings.Builder
	for _, file := range []string{"room", name} {
		b, err := sources.ReadFile("lua/" + file + ".lua")
		if err != nil {
			panic(err) // it is built in
		}
		text.Write(b)
	}
	sum := sha1.Sum([]byte(text.String()))
	return &script{text: text.String(), hash: hex.EncodeToString(sum[:]), kind: kind}
}

var (
	scriptPublish  = newScript("publish", metrics.RedisPublish)
	scriptRange    = newScript("range", metrics.RedisRange)
	scriptTails    = newScript("tails", metrics.RedisTails)
	scriptRenew    = newScript("renew", metrics.RedisRenew)
	scriptForget   = newScript("forget", metrics.RedisForget)
	scriptProbe    = newScript("probe", metrics.RedisProbe)
	scriptAnnounce = newScript("announce", metrics.RedisFleet)
	scriptMembers  = newScript("members", metrics.RedisFleet)
)

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
	if b.ctx.Err() != nil {
		return nil, broker.ErrClosed
	}
	if err := ctx.Err(); err != nil {
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

func unavailable(err error) error { return fmt.Errorf("%w: %v", broker.ErrUnavailable, err) }
