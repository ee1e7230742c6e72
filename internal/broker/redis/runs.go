package redis

import (
	"context"
	"slices"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

const (
	// What one run of the script may store: meanwhile Redis does nothing else. Past
	// some dozens a message saves nothing any more.
	runMessages = 64
	runBytes    = 256 << 10
)

// run is one run of the script: for publications of one room, in their order.
type run struct {
	of    []int // in the batch
	bytes int   // of their data
	cmd   command
}

// divide makes runs of the batch: of a room in its order, those with an ID apart from
// those without. One that is traced is the first of its run.
func (l *lane) divide() {
	for i := range l.batch {
		p := &l.batch[i]
		r := l.newest[p.Room]
		if r == nil || len(r.of) == runMessages || r.bytes+len(p.Data) > runBytes || l.marked(r.of[0]) != l.marked(i) ||
			p.Trace != nil {
			r = l.newRun()
			l.newest[p.Room] = r
		}
		r.of = append(r.of, i)
		r.bytes += len(p.Data)
	}
	clear(l.newest)
}

func (l *lane) newRun() (r *run) {
	if n := len(l.idle); n > 0 {
		r, l.idle = l.idle[n-1], l.idle[:n-1]
	} else {
		r = new(run)
	}
	l.runs = append(l.runs, r)
	return r
}

// marked says whether the ID of a publication is noted.
func (l *lane) marked(i int) bool { return l.batch[i].ID != "" && l.b.cfg.DedupWindow > 0 }

// exec sends runs of the script as a pipeline; errors are read from the commands.
// whole: only those that are to be sent again, the first with the script's text.
func (l *lane) exec(ctx context.Context, runs []*run, whole bool) {
	pipe := l.b.client.Pipeline()
	for i, r := range runs {
		r.cmd = l.command(ctx, r, whole && i == 0)
		_ = pipe.Process(ctx, r.cmd) // it only queues
	}
	_, _ = pipe.Exec(ctx)
}

// command makes the call of a run.
func (l *lane) command(ctx context.Context, r *run, whole bool) command {
	first := r.of[0]
	room, marked := l.batch[first].Room, l.marked(first)
	bounds := l.b.cfg.Bounds(room)
	keys := append(make([]string, 0, 3+len(r.of)), l.names.state(room), l.names.stream(room))
	if l.token != "" {
		keys = append(keys, l.names.open())
	}
	var trace []byte
	if t := l.batch[first].Trace; t != nil {
		trace = appendTrace(nil, t)
	}
	args := append(make([]any, 0, 11+3*len(r.of)),
		max(0, bounds.Messages), max(0, bounds.Bytes), milliseconds(bounds.Age), milliseconds(l.b.life(bounds)),
		milliseconds(l.b.cfg.DedupWindow), l.names.channel(room), l.b.publish, l.sent[first].epoch, l.sent[first].least,
		l.token, trace)
	for _, i := range r.of {
		p, stamp := &l.batch[i], l.sent[i].stamp
		if marked {
			keys = append(keys, l.names.id(room, p.ID))
		}
		body := make([]byte, 0, 9+4+len(p.From)+len(p.Event)+len(p.Data))
		args = append(args, stampText(stamp), appendBody(body, p, stamp), len(p.Data))
	}
	return scriptPublish.call(ctx, whole, keys, args...)
}

// milliseconds rounds up: a bound that is set must not become none.
func milliseconds(d time.Duration) int64 {
	return int64((max(0, d) + time.Millisecond - 1) / time.Millisecond)
}

// life is for how long a room's state lives after its last use.
func (b *Broker) life(bounds broker.Bounds) time.Duration {
	return max(stateLife, bounds.Age, b.cfg.DedupWindow)
}

// again sends what did not run because Redis had forgotten the script: the first
// with the script's text. Where others of its room ran, a run is left out: it might
// come after what it was before.
func (l *lane) again(ctx context.Context) {
	if !slices.ContainsFunc(l.runs, (*run).unknown) {
		return
	}
	ran := make(map[string]bool)
	for _, r := range l.runs {
		if r.cmd.Err() == nil {
			ran[l.batch[r.of[0]].Room] = true
		}
	}
	var runs []*run
	for _, r := range l.runs {
		if !r.unknown() || ran[l.batch[r.of[0]].Room] {
			continue
		}
		for _, i := range r.of {
			l.sent[i].stamp = l.nextStamp()
		}
		runs = append(runs, r)
	}
	if len(runs) > 0 {
		l.exec(ctx, runs, true)
	}
}

// unknown says that a run did not run.
func (r *run) unknown() bool { return isUnknownScript(r.cmd.Err()) }

// answer is what the script said of the nth publication of a run.
func (r *run) answer(n int) (text string, err error) {
	if err := r.cmd.Err(); err != nil {
		return "", err
	}
	all, _ := r.cmd.Val().([]any)
	if len(all) != len(r.of) {
		return "", nil
	}
	switch one := all[n].(type) {
	case string:
		return one, nil
	case error:
		return "", one
	}
	return "", nil
}
