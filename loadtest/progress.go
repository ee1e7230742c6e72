package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanfare-ws/fanfare/loadtest/internal/plan"
	"github.com/fanfare-ws/fanfare/loadtest/internal/report"
	"github.com/fanfare-ws/fanfare/loadtest/internal/swarm"
	"github.com/fanfare-ws/fanfare/loadtest/internal/team"
)

// progress shows where a run stands: on a terminal one line that changes, else a
// plain line every few seconds. The zero value shows nothing.
type progress struct {
	out      io.Writer
	terminal bool
	lead     *team.Lead
	stop     chan struct{}
	working  sync.WaitGroup

	mu      sync.Mutex
	current team.Phase
	phases  []step    // to come
	begun   time.Time // measuring
	width   int       // of the line that stands there
}

// step is a phase that begins at a moment.
type step struct {
	phase team.Phase
	at    time.Time
}

// looks is how often the players are asked where they stand. On a terminal each
// shows; elsewhere one in tenth.
const (
	looks = 500 * time.Millisecond
	tenth = 10
)

func (p *progress) start(out *os.File, lead *team.Lead) {
	p.out, p.lead = out, lead
	p.terminal = isTerminal(out)
	p.stop = make(chan struct{})
	p.working.Go(func() {
		tick := time.NewTicker(looks)
		defer tick.Stop()
		for i := 1; ; i++ {
			select {
			case now := <-tick.C:
				text := p.text(now)
				if p.terminal || i%tenth == 0 {
					p.line(text)
				}
			case <-p.stop:
				return
			}
		}
	})
}

func (p *progress) end() {
	if p.stop == nil {
		return
	}
	close(p.stop)
	p.working.Wait()
	if p.terminal && p.width > 0 {
		fmt.Fprintf(p.out, "\r%s\r", strings.Repeat(" ", p.width))
	}
}

// phase is told that one begins.
func (p *progress) phase(phase team.Phase, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phases = append(p.phases, step{phase, at})
}

// text is where the run stands.
func (p *progress) text(now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.phases) > 0 && !p.phases[0].at.After(now) {
		p.current = p.phases[0].phase
		if p.current == team.Measuring {
			p.begun = p.phases[0].at
		}
		p.phases = p.phases[1:]
	}
	var sum swarm.Progress
	for _, player := range p.lead.Players {
		one := player.Progress()
		sum.Add(&one)
	}
	return progressLine(p.current, &sum, p.lead.Plan, now.Sub(p.begun))
}

// line replaces the line on a terminal, and adds one elsewhere.
func (p *progress) line(text string) {
	if !p.terminal {
		fmt.Fprintln(p.out, text)
		return
	}
	pad := max(p.width-len(text), 0)
	p.width = len(text)
	fmt.Fprintf(p.out, "\r%s%s", text, strings.Repeat(" ", pad))
}

// progressLine is where a run stands, in one line.
func progressLine(phase team.Phase, s *swarm.Progress, p *plan.Plan, measured time.Duration) string {
	broken := ""
	if n := s.Counts.Broken(); n > 0 {
		broken = fmt.Sprintf(", BROKEN %d", n)
	}
	switch phase {
	case team.Connecting:
		return fmt.Sprintf("connecting: %d of %d connections, errors %d%s", s.Connections, s.Connections+s.Away, s.Errors, broken)
	case team.Measuring:
		left := max(p.Duration-measured, 0).Round(time.Second)
		return fmt.Sprintf("%s left: %s connections, published %d/s, delivered %s/s, p50 %v, p99 %v, lag %v, errors %d%s", left,
			report.Count(uint64(s.Connections)), s.Published, report.Count(s.Delivered), brief(s.P50), brief(s.P99), brief(s.Lag), s.Errors, broken)
	}
	return fmt.Sprintf("%s: %s connections, delivered %s, errors %d%s", phase, report.Count(uint64(s.Connections)), report.Count(s.Counts.Delivered), s.Errors, broken)
}

// brief is a duration to two or three digits.
func brief(d time.Duration) time.Duration {
	switch {
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}
