package api

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/room"
)

func TestHistoryIsReadByteForByteAndByPages(t *testing.T) {
	s := serve(t)
	for i := range 5 {
		s.ask("POST", "/v1/rooms/a/messages", fmt.Sprintf(`{"data": {"n" : %d, "html":"<&>\u2028"} }`, i+1))
	}
	a := s.ask("GET", "/v1/rooms/a/messages?after=3&limit=1", "")
	want := `{"room":"a","epoch":"e1","messages":[{"room":"a","epoch":"e1","seq":4,"time":1767322800123,"from":"shop","data":{"n" : 4, "html":"<&>\u2028"}}],"first":1,"last":5}`
	if a.status != 200 || a.body != want {
		t.Errorf("%d %s\nwant %s", a.status, a.body, want)
	}
	for query, want := range map[string]string{
		"": "1 2 3 4 5", "?limit=2": "4 5", "?after=0&limit=2": "1 2", "?after=2": "3 4 5", "?before=4&limit=2": "2 3", "?after=1&before=4": "2 3",
		"?before=0": "", "?before=1": "", "?after=5": "", "?after=9007199254740991": "", "?limit=1000": "1 2 3 4 5", "?other=x": "1 2 3 4 5",
	} {
		var h struct{ Messages []struct{ Seq uint64 } }
		s.ask("GET", "/v1/rooms/a/messages"+query, "").into(t, &h)
		got := ""
		for _, m := range h.Messages {
			got += fmt.Sprintf(" %d", m.Seq)
		}
		if strings.TrimSpace(got) != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

func TestQueriesThatDoNotFitAreRefusedWithTheirParameter(t *testing.T) {
	s := serve(t)
	for query, field := range map[string]string{
		"a/messages?limit=0": "limit", "a/messages?limit=1001": "limit", "a/messages?limit=": "limit", "a/messages?limit=1&limit=1": "limit",
		"a/messages?after=-1": "after", "a/messages?after=1.0": "after", "a/messages?after=9007199254740992": "after",
		"a/messages?before=x": "before", "a/messages?before=99999999999999999999": "before", "a/messages?after=x&before=x": "after",
		"a/messages?a=%zz": "query", "a/messages?after=1;limit=2": "query",
		"a/members?limit=x": "limit", "a/members?cursor=": "cursor", "a/members?cursor=a&cursor=b": "cursor",
		"a/members?cursor=" + strings.Repeat("x", 257): "cursor",
	} {
		if a := s.ask("GET", "/v1/rooms/"+query, ""); a.status != 400 || a.problem(t).Field != field {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	s.fake.err = fmt.Errorf("rooms: %w", broker.ErrCursor)
	if a := s.ask("GET", "/v1/rooms?cursor=x", ""); a.status != 400 || a.problem(t).Field != "cursor" {
		t.Errorf("a cursor of nobody's: %d %s", a.status, a.body)
	}
}

func TestARoomIsShownWithItsClass(t *testing.T) {
	s := serve(t)
	c := &s.fake.class
	c.Match, c.Presence = "orders:*", true
	c.History = room.History{Messages: 10, Bytes: 20, Age: 1500 * time.Millisecond}
	c.Slow = room.Window{Policy: room.Conflate, Messages: 3, Bytes: 4}
	c.Rules = auth.Rules{Join: auth.Claim, Publish: auth.Server, History: auth.Member, Members: auth.Anyone}
	s.fake.online["orders:7"] = []broker.UserConnections{{User: "ada", Connections: 1}}
	s.ask("POST", "/v1/rooms/orders:7/messages", `{"data":1}`)
	a := s.ask("GET", "/v1/rooms/orders:7", "")
	want := `{"room":"orders:7","epoch":"e1","seq":1,"members":1,"history":{"first":1,"last":1},"policy":{"match":"orders:*","join":"claim","publish":"server",` +
		`"history":{"access":"member","messages":10,"bytes":20,"age_ms":1500},"members":"anyone","presence":true,` +
		`"slow":{"policy":"conflate","window_messages":3,"window_bytes":4}}}`
	if a.status != 200 || a.body != want {
		t.Errorf("%d %s\nwant %s", a.status, a.body, want)
	}
}

// pages follows cursors from a path to the end.
func pages[T any](s *service, path string, limit int, of func(page T) (names []string, cursor string)) (all []string) {
	s.t.Helper()
	cursor := ""
	for range 100 {
		ask := fmt.Sprintf("%s?limit=%d", path, limit)
		if cursor != "" {
			ask += "&cursor=" + url.QueryEscape(cursor)
		}
		var page T
		s.ask("GET", ask, "").into(s.t, &page)
		names, next := of(page)
		if len(names) > limit {
			s.t.Errorf("%s: %d", ask, len(names))
		}
		all = append(all, names...)
		if cursor = next; cursor == "" {
			return all
		}
	}
	s.t.Errorf("%s: no end", path)
	return all
}

type roomsPage struct {
	Rooms  []struct{ Room string }
	Cursor string
}

type membersPage struct {
	Count  int
	Users  []struct{ User string }
	Cursor string
}

func (p roomsPage) names() (names []string, cursor string) {
	for _, r := range p.Rooms {
		names = append(names, r.Room)
	}
	return names, p.Cursor
}

func (p membersPage) names() (names []string, cursor string) {
	for _, u := range p.Users {
		names = append(names, u.User)
	}
	return names, p.Cursor
}

func TestListsAreReadByPages(t *testing.T) {
	s := serve(t)
	users := []broker.UserConnections{{User: "Zoë", Connections: 1}, {User: "a@x.org", Connections: 2}, {User: "b", Connections: 1}, {User: "c", Connections: 1}}
	for _, name := range []string{"a", "b/c", "d:e", "f@g", "h"} {
		s.fake.online[name] = users
	}
	for limit := 1; limit <= 6; limit++ {
		if got := fmt.Sprint(pages(s, "/v1/rooms", limit, roomsPage.names)); got != "[a b/c d:e f@g h]" {
			t.Errorf("rooms, %d at a time: %s", limit, got)
		}
		if got := fmt.Sprint(pages(s, "/v1/rooms/b/c/members", limit, membersPage.names)); got != "[Zoë a@x.org b c]" {
			t.Errorf("members, %d at a time: %s", limit, got)
		}
	}
	if a := s.ask("GET", "/v1/rooms/nobody/members", ""); a.body != `{"room":"nobody","count":0,"users":[]}` {
		t.Errorf("%s", a.body)
	}
	clear(s.fake.online)
	if a := s.ask("GET", "/v1/rooms", ""); a.body != `{"rooms":[]}` {
		t.Errorf("%s", a.body)
	}
}

func TestForgettingBeginsAnEpoch(t *testing.T) {
	s := serve(t)
	s.ask("POST", "/v1/rooms/a/b/messages", `{"data":1}`)
	if a := s.ask("DELETE", "/v1/rooms/a/b/messages", ""); a.status != 204 || a.body != "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := s.ask("POST", "/v1/rooms/a/b/messages", `{"data":2}`); a.body != `{"room":"a/b","epoch":"e1x","seq":1}` {
		t.Errorf("%s", a.body)
	}
}
