package server

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

// Subject is a gateway to watch: its process, its metrics, or both.
type Subject struct {
	Name    string
	PID     int    // 0: not on this machine
	Metrics string // URL; empty: none
}

// Watch takes samples of gateways.
type Watch struct {
	ctx      context.Context
	end      context.CancelFunc
	working  sync.WaitGroup
	subjects []Subject

	mu      sync.Mutex
	begun   time.Time // when measuring begins; zero: not known yet
	over    time.Time // when it is over
	servers []result.Server
	pages   []page // when measuring began
	failed  error
}

// every is how far samples lie apart.
const every = time.Second

// NewWatch begins to watch. What the gateways use now is what they use before the
// first connection. It fails where one cannot be watched.
func NewWatch(ctx context.Context, subjects []Subject) (*Watch, error) {
	w := &Watch{subjects: subjects, servers: make([]result.Server, len(subjects)), pages: make([]page, len(subjects))}
	w.ctx, w.end = context.WithCancel(ctx)
	for i, s := range subjects {
		u, _, err := s.look(w.ctx)
		if err != nil {
			w.end()
			return nil, err
		}
		w.servers[i] = result.Server{Name: s.Name, PID: s.PID, Before: u}
	}
	return w, nil
}

// look reads what a gateway has used, and its metrics if it has any. Its process
// is believed before its metrics.
func (s *Subject) look(ctx context.Context) (u result.Usage, p page, err error) {
	if s.Metrics != "" {
		if p, err = scrape(ctx, s.Metrics); err != nil {
			return u, nil, err
		}
		u = p.usage()
	}
	if s.PID != 0 {
		u, err = Process(s.PID)
	}
	return u, p, err
}

// Measure says when measuring begins and is over.
func (w *Watch) Measure(begin time.Time, lasts time.Duration) {
	w.mu.Lock()
	w.begun, w.over = begin, begin.Add(lasts)
	w.mu.Unlock()
	w.working.Go(func() { w.run(begin, lasts) })
}

func (w *Watch) run(begin time.Time, lasts time.Duration) {
	if !w.until(begin) {
		return
	}
	w.each(true, func(s *result.Server, u result.Usage, p page, i int) {
		s.From = u
		w.pages[i] = p
		s.Samples = append(s.Samples, u)
	})
	for at := every; ; at += every {
		over := at >= lasts
		if !w.until(begin.Add(min(at, lasts))) {
			return
		}
		w.each(over, func(s *result.Server, u result.Usage, p page, i int) {
			s.Samples = append(s.Samples, u)
			if over {
				s.Until = u
				if p != nil && w.pages[i] != nil {
					s.Metrics = grown(w.pages[i], p)
				}
			}
		})
		if over {
			return
		}
	}
}

// until waits for a moment; false: the watch was ended.
func (w *Watch) until(at time.Time) bool {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.ctx.Done():
		return false
	}
}

// each looks at every gateway. Where only its usage is wanted, its metrics are
// not asked for if its process tells that.
func (w *Watch) each(metrics bool, take func(s *result.Server, u result.Usage, p page, i int)) {
	for i, s := range w.subjects {
		if !metrics && s.PID != 0 {
			s.Metrics = ""
		}
		u, p, err := s.look(w.ctx)
		w.mu.Lock()
		if err != nil {
			if w.failed == nil && w.ctx.Err() == nil {
				w.failed = fmt.Errorf("%s: %w", s.Name, err)
			}
		} else {
			u.At = time.Since(w.begun)
			take(&w.servers[i], u, p, i)
		}
		w.mu.Unlock()
	}
}

// Stop takes the last look and returns what was seen. An error says that some of
// it is missing. Before measuring is over it gives up what was to come.
func (w *Watch) Stop() ([]result.Server, error) {
	if w.begun.IsZero() || time.Now().Before(w.over) {
		w.end()
	}
	w.working.Wait()
	w.each(false, func(s *result.Server, u result.Usage, _ page, _ int) { s.After = u })
	w.end()
	return w.servers, w.failed
}

// Host is the name of a metrics URL's gateway.
func Host(raw string) string {
	if u, err := url.Parse(raw); err == nil && u.Host != "" {
		return u.Host
	}
	return raw
}
