package client

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// shelf answers as a gateway does that keeps messages from first to last, of which
// number n is of the time 10·n.
type shelf struct {
	first, last uint64
	most        int
	asked       int
}

func (s *shelf) History(_ context.Context, h protocol.HistoryRequest) (protocol.History, error) {
	s.asked++
	page := protocol.History{Room: h.Room, Epoch: "e1", First: s.first, Last: s.last}
	from, limit := s.first, uint64(min(h.Limit, s.most))
	switch {
	case h.After != nil:
		from = max(from, *h.After+1)
	case s.last+1-s.first > limit:
		from = s.last + 1 - limit
	}
	for seq := from; seq <= s.last && uint64(len(page.Messages)) < limit; seq++ {
		page.Messages = append(page.Messages, protocol.Message{Room: h.Room, Epoch: "e1", Seq: seq, Time: int64(10 * seq)})
	}
	return page, nil
}

func TestTheFirstMessageOfATimeIsFound(t *testing.T) {
	for _, most := range []int{1, 7, 1000} {
		for from := int64(0); from <= 1020; from++ {
			s := &shelf{first: 31, last: 100, most: most}
			at, err := firstAfter(t.Context(), s, "a", time.UnixMilli(from))
			want := max(uint64(from+9)/10, 31) - 1
			switch {
			case err != nil:
				t.Fatal(err)
			case from > 1000 && at != nil, from <= 1000 && (at == nil || at.Seq != want || at.Epoch != "e1"):
				t.Fatalf("page of %d, from %d: %v, want %d", most, from, at, want)
			case s.asked > 9:
				t.Fatalf("page of %d, from %d: %d requests", most, from, s.asked)
			}
		}
	}
	if at, err := firstAfter(t.Context(), &shelf{first: 1, most: 9}, "a", time.UnixMilli(0)); at != nil || err != nil {
		t.Errorf("of an empty log: %v, %v", at, err)
	}
}

func TestWhatIsKeptIsToldOnceAndWhatIsNotIsAGap(t *testing.T) {
	position := func(epoch string, seq uint64) *protocol.Position { return &protocol.Position{Epoch: epoch, Seq: seq} }
	for _, test := range []struct {
		s    Subscription
		want string
	}{
		{Subscription{}, "31-40"},
		{Subscription{Last: 3}, "38-40"},
		{Subscription{Last: 99}, "31-40"},
		{Subscription{Since: position("e1", 35)}, "36-40"},
		{Subscription{Since: position("e1", 40)}, ""},
		{Subscription{Since: position("e1", 20)}, "gap 21-30 31-40"},
		{Subscription{Since: position("e1", 41)}, "reset e1:30 31-40"},
		{Subscription{Since: position("e0", 3)}, "reset e1:30 31-40"},
	} {
		for _, most := range []int{1, 4, 1000} {
			got, first, last := "", uint64(0), uint64(0)
			s := &shelf{first: 31, last: 40, most: most}
			test.s.Room = "a"
			err := kept(t.Context(), s, test.s, func(e Event) {
				switch e := e.(type) {
				case Message:
					if first == 0 {
						first = e.Seq
					} else if e.Seq != last+1 {
						t.Errorf("%+v: %d behind %d", test.s, e.Seq, last)
					}
					last = e.Seq
				case Gap:
					got += fmt.Sprintf("gap %d-%d ", e.From, e.To)
				case Reset:
					got += fmt.Sprintf("reset %s ", e.Position)
				}
			})
			if first > 0 {
				got += fmt.Sprintf("%d-%d", first, last)
			}
			if err != nil || got != test.want {
				t.Errorf("%+v by %d: %q, %v, want %q", test.s, most, got, err, test.want)
			}
		}
	}
}

// A log that has nothing yet is another one than that of which a place was kept.
func TestAPlaceInALogThatIsGoneIsAReset(t *testing.T) {
	for since, want := range map[string]int{"e0:3": 1, "e1:3": 1, "e1:0": 0, "e0:0": 0} {
		at, err := ParsePosition(since)
		if err != nil {
			t.Fatal(err)
		}
		resets := 0
		err = kept(t.Context(), &shelf{first: 1, most: 9}, Subscription{Room: "a", Since: &at}, func(e Event) {
			if r, ok := e.(Reset); ok && r.Previous == at && r.Seq == 0 {
				resets++
			}
		})
		if err != nil || resets != want {
			t.Errorf("since %s: %d resets, %v, want %d", since, resets, err, want)
		}
	}
}
