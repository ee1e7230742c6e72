package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestAPaceIsEvenAndMakesUpForASecondAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, begun := newPace(10), time.Now()
		after := func() time.Duration {
			if err := p.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			return time.Since(begun)
		}
		for n := range 5 {
			if d := after(); d != time.Duration(n)*100*time.Millisecond {
				t.Errorf("message %d goes after %v", n, d)
			}
		}
		<-time.After(time.Minute) // nothing is there to publish
		begun = time.Now()
		for range 11 {
			if d := after(); d != 0 {
				t.Errorf("what was late goes after %v", d)
			}
		}
		if d := after(); d != 100*time.Millisecond {
			t.Errorf("the next goes after %v", d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.wait(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("at the end: %v", err)
		}
		if err := newPace(0).wait(ctx); err != nil {
			t.Errorf("without a rate: %v", err)
		}
	})
}

func TestProgressTellsWhatIsDoneAndLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := newProgress(&out, 4000, new(atomic.Int64))
		p.start()
		p.read.Store(1000)
		p.published.Store(12345)
		<-time.After(2*time.Second + progressEvery/2)
		synctest.Wait()
		if want := "\rpublished 12,345, 6,172/s, 25 %, 6.0 s left"; !strings.HasSuffix(strings.TrimRight(out.String(), " "), want) {
			t.Errorf("it says %q, want %q", out.String(), want)
		}
		p.stop()
		if last := out.String()[strings.LastIndex(out.String(), "\r"):]; strings.TrimRight(last, " \n") != "\rpublished 12,345 in 2.1 s, 5,878/s" || len(last) < len("\rpublished 12,345, 6,172/s, 25 %, 6.0 s left") {
			t.Errorf("at the end %q", last)
		}
	})
}

func TestProgressOfWhatHasNoSize(t *testing.T) {
	p := newProgress(nil, 0, new(atomic.Int64))
	p.read.Store(10)
	if got := p.line(p.begun.Add(time.Second)); got != "published 0, 0/s" {
		t.Errorf("%q", got)
	}
}
