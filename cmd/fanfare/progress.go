package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// pace spaces messages evenly. It belongs to one goroutine.
type pace struct {
	each time.Duration // between two; 0: none
	next time.Time     // when the next may go; zero: there was none yet
}

// newPace is of so many a second; 0: as fast as can be.
func newPace(perSecond float64) *pace {
	if perSecond <= 0 {
		return &pace{}
	}
	return &pace{each: time.Duration(float64(time.Second) / perSecond)}
}

// wait waits until the next may go. What was late is made up for, a second's worth
// at most: a publisher that stood still must not come back with a flood.
func (p *pace) wait(ctx context.Context) error {
	if p.each == 0 {
		return nil
	}
	now := time.Now()
	if floor := now.Add(-time.Second); p.next.Before(floor) {
		if p.next.IsZero() {
			floor = now
		}
		p.next = floor
	}
	due := p.next
	p.next = p.next.Add(p.each)
	if !due.After(now) {
		return nil
	}
	t := time.NewTimer(due.Sub(now))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// progress tells how far bulk publishing is, on one line that is written anew. Its
// goroutine runs from start to stop.
type progress struct {
	to    io.Writer
	size  int64 // bytes of the file; 0: not known
	begun time.Time

	read      atomic.Int64  // bytes of the source
	published *atomic.Int64 // messages

	stopped chan struct{}
	writer  sync.WaitGroup
	width   int // of the line that stands there
}

const progressEvery = 200 * time.Millisecond

func newProgress(to io.Writer, size int64, published *atomic.Int64) *progress {
	return &progress{to: to, size: size, begun: time.Now(), published: published, stopped: make(chan struct{})}
}

func (p *progress) start() {
	p.writer.Go(func() {
		ticks := time.NewTicker(progressEvery)
		defer ticks.Stop()
		for {
			select {
			case <-p.stopped:
				return
			case <-ticks.C:
				p.write(p.line(time.Now()))
			}
		}
	})
}

// stop writes the sum in the line's place.
func (p *progress) stop() {
	close(p.stopped)
	p.writer.Wait()
	took := time.Since(p.begun)
	p.write(fmt.Sprintf("published %s in %s, %s/s", grouped(p.published.Load()), brief(took), grouped(perSecond(p.published.Load(), took))))
	fmt.Fprintln(p.to)
}

func (p *progress) write(line string) {
	width := len(line)
	if p.width > width {
		line += fmt.Sprintf("%*s", p.width-width, "")
	}
	p.width = width
	fmt.Fprint(p.to, "\r"+line)
}

// line is how far it is: what is left is taken to be like what was, by the bytes.
func (p *progress) line(now time.Time) string {
	took, read, published := now.Sub(p.begun), p.read.Load(), p.published.Load()
	line := fmt.Sprintf("published %s, %s/s", grouped(published), grouped(perSecond(published, took)))
	if p.size <= 0 || read <= 0 {
		return line
	}
	done := min(1, float64(read)/float64(p.size))
	line += fmt.Sprintf(", %.0f %%", 100*done)
	if left := time.Duration(float64(took) * (1 - done) / done); done < 1 && took > time.Second {
		line += ", " + brief(left) + " left"
	}
	return line
}

func perSecond(n int64, took time.Duration) int64 {
	if took <= 0 {
		return 0
	}
	return int64(float64(n) / took.Seconds())
}

// brief is a duration as people say it.
func brief(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}

// grouped is a number with a comma at every thousand.
func grouped(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return grouped(n/1000) + fmt.Sprintf(",%03d", n%1000)
}
