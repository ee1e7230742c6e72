package redis

import (
	"context"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// advise looks once, when Redis was first reached, for settings that break a
// promise.
func (b *Broker) advise() {
	ctx, cancel := context.WithTimeout(b.ctx, b.cfg.ReadTimeout)
	defer cancel()
	look := func(ctx context.Context, node *goredis.Client) error {
		address := node.Options().Addr
		settings := make(map[string]string)
		for _, name := range []string{"maxmemory", "maxmemory-policy", "appendonly", "save", "client-output-buffer-limit", "min-replicas-to-write"} {
			got, err := node.ConfigGet(ctx, name).Result()
			if err != nil {
				b.cfg.Log.Debug("redis settings not looked at", "address", address, "error", err)
				return nil
			}
			settings[name] = got[name]
		}
		if b.cfg.Mode == Standalone {
			delete(settings, "min-replicas-to-write") // nothing takes its place
		}
		for _, a := range advice(settings) {
			b.cfg.Log.Warn("redis setting breaks a promise", "address", address, "setting", a.setting, "promise", a.promise)
		}
		return nil
	}
	var err error
	switch c := b.client.(type) {
	case *goredis.ClusterClient:
		err = c.ForEachMaster(ctx, look)
	case *goredis.Client:
		err = look(ctx, c)
	}
	if err != nil {
		b.cfg.Log.Debug("redis settings not looked at", "error", err)
	}
}

// warning is a setting, and the promise that it breaks.
type warning struct{ setting, promise string }

// pubsubLeast is the hard limit of a subscriber's output buffer below which a burst
// ends the connection.
const pubsubLeast = 64 << 20

// advice says what is wrong with settings, as CONFIG GET names them.
func advice(settings map[string]string) []warning {
	var found []warning
	if policy := settings["maxmemory-policy"]; policy != "" && policy != "noeviction" && settings["maxmemory"] != "0" {
		found = append(found, warning{"maxmemory-policy " + policy,
			"a message acknowledged stays for those who resume: evicting a room's keys loses its history and begins a new epoch; use noeviction"})
	}
	if settings["appendonly"] == "no" && settings["save"] == "" {
		found = append(found, warning{"appendonly no, save empty",
			"rooms go on in their epoch when redis restarts: without persistence each restart resets every room; use appendonly yes"})
	} else if settings["appendonly"] == "no" {
		found = append(found, warning{"appendonly no",
			"a message acknowledged outlives a restart of redis: what came after the last snapshot is lost with a reset; use appendonly yes"})
	}
	if hard, ok := pubsubLimit(settings["client-output-buffer-limit"]); ok && hard > 0 && hard < pubsubLeast {
		found = append(found, warning{"client-output-buffer-limit pubsub, hard limit " + strconv.FormatInt(hard, 10),
			"deliveries are not interrupted by a burst: redis ends a subscriber whose buffer passes the limit, and its rooms are read again; use pubsub 256mb 64mb 60"})
	}
	if settings["min-replicas-to-write"] == "0" {
		found = append(found, warning{"min-replicas-to-write 0",
			"a message acknowledged survives a failover: a master whose replicas lag, or that is cut off from them, acknowledges what its successor will not have; use 1, with min-replicas-max-lag 10"})
	}
	return found
}

// pubsubLimit finds the hard limit of the class pubsub, in bytes.
func pubsubLimit(setting string) (int64, bool) {
	fields := strings.Fields(setting)
	for i := 0; i+1 < len(fields); i++ {
		if fields[i] == "pubsub" {
			n, err := strconv.ParseInt(fields[i+1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
