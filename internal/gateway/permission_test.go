package gateway

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/internal/room"
)

// permission is a row of testdata/permissions.json, the one table of who may do
// what, for every way in. Allowed has the first letters of the verbs for a room
// named ACCESS:room, whose class asks that for all verbs, but for join where that
// is member: anyone may then. Joined has those for who is in a room named
// in-ACCESS:room, which anyone may join; it is absent where the row may not. A row
// with a key is a backend, which joins nothing.
type permission struct {
	Who     string              `json:"who"`
	Token   bool                `json:"token"`
	Rooms   map[string][]string `json:"rooms"`
	Key     []string            `json:"key"`
	Allowed map[string]string   `json:"allowed"`
	Joined  map[string]string   `json:"joined"`
}

func permissions(t *testing.T) (table []permission) {
	t.Helper()
	text, err := os.ReadFile("testdata/permissions.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	return table
}

var accesses = []auth.Access{auth.Anyone, auth.Member, auth.Claim, auth.Server}

// accessClasses are the classes of the table's rooms.
func accessClasses() (classes Classes) {
	for _, a := range accesses {
		rules := auth.Rules{Join: a, Publish: a, History: a, Members: a}
		if a == auth.Member {
			rules.Join = auth.Anyone
		}
		open := rules
		open.Join = auth.Anyone
		classes = append(classes,
			Class{Class: room.Class{Match: a.String() + ":*", History: room.History{Messages: 10}}, Rules: rules, Presence: true},
			Class{Class: room.Class{Match: "in-" + a.String() + ":*", History: room.History{Messages: 10}}, Rules: open, Presence: true})
	}
	return append(classes, Class{Class: room.Class{Match: "*"}})
}

// verbs are what a client asks for, by the letters of the table, and the type of a
// reply that lets it.
var verbs = []struct{ letter, request, reply string }{
	{"p", `{"type":"publish","request_id":"v","payload":{"room":%q,"data":1}}`, "published"},
	{"h", `{"type":"history","request_id":"v","payload":{"room":%q}}`, "history"},
	{"m", `{"type":"members","request_id":"v","payload":{"room":%q}}`, "members"},
	{"j", `{"type":"join","request_id":"v","payload":{"room":%q}}`, "joined"}, // the last, as it changes what is asked
}

// tries returns the letters of the verbs that are let.
func (c *client) tries(name, letters string) (let string) {
	c.t.Helper()
	for _, v := range verbs {
		if !strings.Contains(letters, v.letter) {
			continue
		}
		c.sendf(v.request, name)
		switch m := c.reply("v"); {
		case m.Type == v.reply:
			let += v.letter
		case m.Type != "error" || m.Err.Code != protocol.Forbidden || m.Err.Field != "room":
			c.t.Fatalf("%s: %s", v.reply, c.raw)
		}
	}
	return let
}

func sorted(letters string) (s string) {
	for _, l := range "phmj" {
		if strings.ContainsRune(letters, l) {
			s += string(l)
		}
	}
	return s
}

func TestThePermissionMatrix(t *testing.T) {
	i := newIssuer(t)
	s := run(t, i.trusted, func(c *setup) { c.Classes = accessClasses() })
	for _, row := range permissions(t) {
		if row.Key != nil {
			continue
		}
		connect := func(query string) *client {
			if row.Token {
				query += "&token=" + i.token(auth.Claims{Subject: "ada", Rooms: row.Rooms})
			}
			return s.connect(dialing{path: "/ws?" + query})
		}
		for _, access := range accesses {
			name := access.String() + ":room"
			want := sorted(row.Allowed[access.String()])
			if got := connect("").tries(name, "phmj"); got != want {
				t.Errorf("%s, a room for %v: %q let, want %q", row.Who, access, got, want)
			}
			// The same by the URL.
			c := connect("room=" + name)
			m := c.next()
			if joined := m.Type == "joined"; joined != strings.Contains(want, "j") || !joined && (m.Err == nil || m.Err.Code != protocol.Forbidden || m.Err.Field != "room") {
				t.Errorf("%s, a room for %v in the URL: %s", row.Who, access, c.raw)
			}
			in := connect("")
			in.sendf(`{"type":"join","request_id":"in","payload":{"room":"in-%s"}}`, name)
			want, may := row.Joined[access.String()]
			if m := in.reply("in"); (m.Type == "joined") != may {
				t.Fatalf("%s, joining an open room: %s", row.Who, in.raw)
			}
			if !may {
				continue
			}
			if got := in.tries("in-"+name, "phm"); got != sorted(want) {
				t.Errorf("%s, in a room for %v: %q let, want %q", row.Who, access, got, want)
			}
		}
	}
	s.untilMetric("fanfare_broker_queue_depth", 0)
}

// What came before is history: who may not read it gets none by joining.
func TestSinceAndLastAreReadingTheHistory(t *testing.T) {
	s := run(t, func(c *setup) {
		c.Classes = accessClasses()
		c.Classes[0].Rules.History = auth.Server // anyone may join, and not read
	})
	at := s.storeN("anyone:a", 3, 10)
	s.storeN("in-member:a", 3, 10)
	c := s.dial()
	for _, more := range []string{`,"last":1`, since(at.Epoch, 1)} {
		c.fails(fmt.Sprintf(`{"type":"join","payload":{"room":"anyone:a"%s}}`, more), "forbidden", "room")
	}
	c.join("anyone:a", `,"last":0`)
	c.sync()
	c.join("in-member:a", `,"last":2`) // a member's history is for who becomes one
	c.messages("in-member:a", 2, 3)
	u := s.connect(dialing{path: "/ws?room=anyone:a&since=" + at.Epoch + ":1"})
	if m := u.expect("error"); m.Err.Code != protocol.Forbidden {
		t.Errorf("%s", u.raw)
	}
}

// What a client sends right behind its join is judged as a member's: the log of a
// room may have to be read first.
func TestPublishesBehindAJoinAreAMembers(t *testing.T) {
	free := make(chan struct{})
	s := run(t, func(c *setup) {
		c.Classes = accessClasses()
		c.tap.reading = gate(t, "member:a", free)
	})
	c, other := s.dial(), s.dial()
	c.send(`{"type":"join","request_id":"j","payload":{"room":"member:a"}}`)
	c.send(`{"type":"publish","request_id":"p","payload":{"room":"member:a","data":1}}`)
	c.send(`{"type":"history","request_id":"h","payload":{"room":"member:a"}}`)
	other.fails(`{"type":"publish","payload":{"room":"member:a","data":1}}`, "forbidden", "room")
	close(free)
	got := map[string]string{}
	for len(got) < 3 {
		if m := c.next(); m.ID != "" {
			got[m.ID] = m.Type
		}
	}
	if got["j"] != "joined" || got["p"] != "published" || got["h"] != "history" {
		t.Errorf("%v", got)
	}
}

// Another token may allow less. The rooms it does not allow are left.
func TestAnotherTokenIsAnotherPermission(t *testing.T) {
	i := newIssuer(t)
	s := run(t, i.trusted)
	all := map[string][]string{"*": {"join", "publish"}}
	c := s.connect(withToken(i.token(auth.Claims{Subject: "ada", Rooms: all})))
	for _, name := range []string{"a", "b", "c"} {
		c.join(name, "")
	}
	if m := c.auth(i.token(auth.Claims{Subject: "ada", Rooms: map[string][]string{"b": {"join"}}})); m.Type != "authenticated" {
		t.Fatalf("%s", c.raw)
	}
	left := map[string]bool{}
	for range 2 {
		if m := c.expect("error"); m.Err.Code != protocol.Forbidden || m.ID != "" {
			t.Errorf("%s", c.raw)
		}
		left[c.expect("left").Left] = true
	}
	if !left["a"] || !left["c"] {
		t.Errorf("left %v", left)
	}
	s.store("a", "1")
	s.store("b", "1")
	c.messages("b", 1, 1)
	c.fails(`{"type":"publish","payload":{"room":"b","data":1}}`, "forbidden", "room")
	c.fails(`{"type":"join","payload":{"room":"a"}}`, "forbidden", "room")
	s.untilMetric("fanfare_memberships", 1)
}

// Who may not see the members any more is told of them no more, and stays.
func TestAnotherTokenMayEndThePresenceEvents(t *testing.T) {
	i := newIssuer(t)
	s := run(t, listed, i.trusted, func(c *setup) {
		for k := range c.Classes {
			c.Classes[k].Rules.Members = auth.Claim
		}
	})
	c := s.connect(withToken(i.token(auth.Claims{Subject: "ada", Rooms: map[string][]string{"*": {"join", "members"}}})))
	c.join("r", watching)
	c.presence("r", []string{"ada"}, nil, 1)
	c.auth(i.token(auth.Claims{Subject: "ada", Rooms: map[string][]string{"*": {"join"}}}))
	if m := c.expect("error"); m.Err.Code != protocol.Forbidden || m.ID != "" {
		t.Errorf("%s", c.raw)
	}
	other := s.connect(withToken(i.token(auth.Claims{Subject: "bob", Rooms: map[string][]string{"*": {"join", "members"}}})))
	other.join("r", watching)
	for other.expect("presence").Presence.Count != 2 {
	}
	c.sync() // and no event comes before that
	s.store("r", "1")
	c.messages("r", 1, 1)
}

// A class that is changed holds for who is in its rooms: who may not join any more
// leaves, as after an auth.
func TestAClassThatShutsItsRoomsEndsWhoIsInThem(t *testing.T) {
	i := newIssuer(t)
	s := run(t, listed, i.trusted, func(c *setup) { c.Loops = 2 })
	claims := auth.Claims{Subject: "ada", Rooms: map[string][]string{"*": {"join"}}}
	guest, listedOne := s.dial(), s.connect(withToken(i.token(claims)))
	for _, c := range []*client{guest, listedOne} {
		c.join("r", "")
		c.join("other", "")
	}
	s.apply(func(live *Live) {
		live.Classes = Classes{live.Classes[0], live.Classes[0]}
		live.Classes[0].Match, live.Classes[0].Rules.Join = "r", auth.Claim
	})
	if m := guest.expect("error"); m.Err.Code != protocol.Forbidden || m.ID != "" {
		t.Errorf("%s", guest.raw)
	}
	if name := guest.expect("left").Left; name != "r" {
		t.Errorf("left %q", name)
	}
	listedOne.sync()
	s.store("r", "1")
	listedOne.messages("r", 1, 1)
	s.untilMetric("fanfare_memberships", 3)
	s.store("other", "1")
	guest.messages("other", 1, 1) // nothing of r before it
}

// A join that waits when the token changes is judged by the new one.
func TestAJoinThatWaitsIsJudgedByTheNewToken(t *testing.T) {
	free := make(chan struct{})
	i := newIssuer(t)
	s := run(t, i.trusted, func(c *setup) { c.tap.reading = gate(t, "a", free) })
	c := s.connect(withToken(i.of("ada")))
	c.send(`{"type":"join","request_id":"j","payload":{"room":"a"}}`)
	c.auth(i.token(auth.Claims{Subject: "ada", Rooms: map[string][]string{}}))
	close(free)
	if m := c.reply("j"); m.Type != "error" || m.Err.Code != protocol.Forbidden {
		t.Errorf("%s", c.raw)
	}
	s.untilMetric("fanfare_memberships", 0)
}
