package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// stream makes a stream of the messages 1 to n, all there at once, and the lines
// that Done was told of.
func stream(n int) (Stream, *[]int) {
	from, done := make(chan Outgoing, n), new([]int)
	for i := 1; i <= n; i++ {
		from <- Outgoing{Room: "r", Data: fmt.Append(nil, i), Line: i}
	}
	close(from)
	return Stream{From: from, Done: func(o Outgoing, _ protocol.Published) { *done = append(*done, o.Line) }}, done
}

func lines(from, to int) (ls []int) {
	for i := from; i <= to; i++ {
		ls = append(ls, i)
	}
	return ls
}

// publishes reads n publishes before anything is answered.
func (f *fakeConn) publishes(n int) []protocol.Request {
	rs := make([]protocol.Request, n)
	for i := range rs {
		r := f.request(protocol.TypePublish)
		r.ID, r.Data, r.PublishID = slices.Clone(r.ID), slices.Clone(r.Data), slices.Clone(r.PublishID)
		rs[i] = r
	}
	return rs
}

func (f *fakeConn) published(rs ...protocol.Request) {
	for _, r := range rs {
		f.send(protocol.AppendPublished(nil, r.ID, "r", at("e1", 1), false))
	}
}

func (f *fakeConn) refused(e *protocol.Error, rs ...protocol.Request) {
	for _, r := range rs {
		f.send(protocol.AppendError(nil, r.ID, e))
	}
}

func datas(rs []protocol.Request) string {
	var ds []string
	for _, r := range rs {
		ds = append(ds, string(r.Data))
	}
	return strings.Join(ds, " ")
}

// publishAll publishes a stream to a gateway of these scripts.
func publishAll(t *testing.T, s Stream, scripts ...func(*fakeConn)) (err error) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		g, cfg := gateway(t, scripts...)
		run(t, g, cfg, func(c *Client) { err = c.PublishAll(t.Context(), s) })
	})
	return err
}

func TestAStreamTakesManyToARoundTrip(t *testing.T) {
	s, done := stream(150)
	var sizes []int
	err := publishAll(t, s, func(f *fakeConn) {
		f.welcome()
		for _, n := range []int{64, 64, 22} {
			rs := f.publishes(n)
			sizes = append(sizes, len(rs))
			f.published(rs...)
		}
		f.untilGone()
	})
	if err != nil || !slices.Equal(*done, lines(1, 150)) {
		t.Errorf("%v, published %v in writes of %v", err, *done, sizes)
	}
}

func TestAStreamGoesOnInItsOrderAfterALostConnection(t *testing.T) {
	from, done := make(chan Outgoing, 70), []int(nil)
	for i := 1; i <= 70; i++ { // as long as the gateway takes: the first write has 17
		from <- Outgoing{Room: "r", Data: fmt.Appendf(nil, "%800d", i), Line: i}
	}
	close(from)
	var first, second []protocol.Request
	err := publishAll(t, Stream{From: from, Done: func(o Outgoing, _ Published) { done = append(done, o.Line) }},
		func(f *fakeConn) {
			f.welcome()
			first = f.publishes(17)
			f.published(first[:10]...)
		},
		func(f *fakeConn) {
			f.welcome()
			for range 60 {
				r := f.publishes(1)
				second = append(second, r...)
				f.published(r...)
			}
			f.untilGone()
		})
	if err != nil || !slices.Equal(done, lines(1, 70)) {
		t.Errorf("%v, published %v", err, done)
	}
	for i, again := range first[10:] {
		r := second[i]
		if string(r.Data) != string(again.Data) || string(r.PublishID) != string(again.PublishID) || len(r.PublishID) == 0 {
			t.Errorf("%s was sent again as %s, ids %s and %s", again.Data, r.Data, again.PublishID, r.PublishID)
		}
	}
}

func TestAStreamWaitsWhereTheGatewayRefusesForNow(t *testing.T) {
	s, done := stream(6)
	var tries []string
	var waited time.Duration
	err := publishAll(t, s, func(f *fakeConn) {
		f.welcome()
		rs := f.publishes(6)
		f.published(rs[:2]...)
		began := time.Now()
		f.refused(&protocol.Error{Code: protocol.RateLimited, Message: "m", RetryAfter: 20 * time.Second}, rs[2:]...)
		for _, n := range []int{1, 2, 1} {
			rs := f.publishes(n)
			if waited == 0 {
				waited = time.Since(began)
			}
			if len(f.in) > 0 {
				t.Errorf("more than %d in a write", n)
			}
			tries = append(tries, datas(rs))
			f.published(rs...)
		}
		f.untilGone()
	})
	if err != nil || !slices.Equal(*done, lines(1, 6)) {
		t.Errorf("%v, published %v", err, *done)
	}
	if want := []string{"3", "4 5", "6"}; !slices.Equal(tries, want) || waited != 20*time.Second {
		t.Errorf("tried %q after %v, want %q", tries, waited, want)
	}
}

func TestAStreamEndsAtWhatCannotBePublished(t *testing.T) {
	long := []byte(`"` + strings.Repeat("x", 2000) + `"`)
	for name, test := range map[string]struct {
		data   string
		answer *protocol.Error
		want   string
	}{
		"too big":       {string(long), nil, ErrTooBig.Error()},
		"not JSON":      {`{"a":1,"a":2}`, nil, "bad_json"},
		"not permitted": {"3", &protocol.Error{Code: protocol.Forbidden, Message: "m"}, "forbidden"},
	} {
		from, done := make(chan Outgoing, 3), []int(nil)
		for i, data := range []string{"1", "2", test.data} {
			from <- Outgoing{Room: "r", Data: []byte(data), Line: i + 1}
		}
		err := publishAll(t, Stream{From: from, Done: func(o Outgoing, _ protocol.Published) { done = append(done, o.Line) }}, func(f *fakeConn) {
			f.welcome()
			f.published(f.publishes(2)...)
			if test.answer != nil {
				f.refused(test.answer, f.publishes(1)...)
			}
			f.untilGone()
		})
		var unpublished *UnpublishedError
		if !errors.As(err, &unpublished) || unpublished.Message.Line != 3 || !strings.Contains(err.Error(), test.want) || !slices.Equal(done, lines(1, 2)) {
			t.Errorf("%s: %v, published %v", name, err, done)
		}
	}
}

func TestAStreamHasPatienceForEachMessage(t *testing.T) {
	s, done := stream(3)
	s.Patience = 10 * time.Second
	err := publishAll(t, s, func(f *fakeConn) {
		f.welcome()
		rs := f.publishes(3)
		<-time.After(9 * time.Second)
		f.published(rs[0])
		<-time.After(9 * time.Second)
		f.published(rs[1])
		f.untilGone()
	})
	var unpublished *UnpublishedError
	if !errors.As(err, &unpublished) || unpublished.Message.Line != 3 || !errors.Is(err, context.DeadlineExceeded) || !slices.Equal(*done, lines(1, 2)) {
		t.Errorf("%v, published %v", err, *done)
	}
}

func TestAnIdleStreamHasPatienceButEndsWithRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, cfg := gateway(t, func(f *fakeConn) {
			f.welcome()
			<-time.After(20 * time.Second)
			f.close(protocol.ClosePolicy)
		})
		began := time.Now()
		run(t, g, cfg, func(c *Client) {
			err := c.PublishAll(t.Context(), Stream{From: make(chan Outgoing), Patience: time.Second})
			if lasted := time.Since(began); !errors.Is(err, ErrPermanent) || lasted != 20*time.Second {
				t.Errorf("%v after %v", err, lasted)
			}
		})
	})
}

func TestCheckPublishSaysWhatTheGatewayWould(t *testing.T) {
	for _, test := range []struct{ room, event, id, want string }{
		{"lobby", "e", "1", ""}, {"no room", "", "", "room"}, {"r", strings.Repeat("e", 65), "", "event"}, {"r", "", strings.Repeat("i", 65), "id"},
	} {
		err := CheckPublish(test.room, PublishOptions{Event: test.event, ID: test.id})
		if test.want == "" && err != nil || test.want != "" && (!errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

func TestParsePositionReadsWhatPositionWrites(t *testing.T) {
	if p, err := ParsePosition("e1:7"); err != nil || p != at("e1", 7) {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := ParsePosition("7"); !errors.Is(err, ErrConfig) {
		t.Errorf("%v", err)
	}
}
