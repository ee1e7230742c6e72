package faulttest

import (
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// s is seconds.
func s(n int) time.Duration { return time.Duration(n) * time.Second }

// A run of a hundred seconds, in which a fault lasted from 20 s to 40 s.
const runsFor = 100 * time.Second

func storm(lapses bool, touched ...string) harm {
	h := harm{from: s(20), to: s(40), lapses: lapses, touched: make(map[string]bool), back: make(map[string]time.Duration)}
	for _, g := range touched {
		h.touched[g] = true
	}
	return h
}

func TestTheTenuresOfANameAreJudged(t *testing.T) {
	for name, c := range map[string]struct {
		tenures []tenure
		taken   map[int][]time.Duration
		harm    harm
		good    bool
	}{
		"one has it all the time":     {[]tenure{{1, "a", s(1), 0, false}}, nil, storm(false), true},
		"one after the other":         {[]tenure{{1, "a", s(1), s(20), false}, {2, "b", s(31), 0, false}}, nil, storm(false, "a"), true},
		"two at once":                 {[]tenure{{1, "a", s(1), s(32), false}, {2, "b", s(31), 0, false}}, nil, storm(false, "a"), false},
		"two, to the end":             {[]tenure{{1, "a", s(1), 0, false}, {2, "b", s(60), 0, false}}, nil, storm(true, "a", "b"), false},
		"one within another's time":   {[]tenure{{1, "a", s(1), 0, false}, {2, "b", s(50), s(51), false}}, nil, storm(true, "c"), false},
		"who was cut off is told":     {[]tenure{{1, "a", s(1), s(45), true}, {2, "b", s(31), 0, false}}, nil, storm(true, "a"), true},
		"who was cut off is not told": {[]tenure{{1, "a", s(1), s(60), true}, {2, "b", s(31), 0, false}}, nil, storm(true, "a"), false},
		"another was cut off":         {[]tenure{{1, "a", s(1), s(45), true}, {2, "b", s(31), 0, false}}, nil, storm(true, "c"), false},
		"before anything was cut off": {[]tenure{{1, "a", s(1), s(15), false}, {2, "b", s(14), 0, false}}, nil, storm(true, "a", "b"), false},
		"lost for no reason":          {[]tenure{{1, "a", s(1), s(50), true}}, nil, storm(false, "a"), false},
		"it comes back with its key":  {[]tenure{{1, "a", s(1), s(50), false}, {1, "b", s(52), 0, false}}, nil, storm(false), true},
		"it comes back too late":      {[]tenure{{1, "a", s(1), s(50), false}, {2, "b", s(61), 0, false}}, map[int][]time.Duration{1: {s(62)}}, storm(false), true},
		"its key is not honoured":     {[]tenure{{1, "a", s(1), s(50), false}, {1, "b", s(53), 0, false}}, map[int][]time.Duration{1: {s(52)}}, storm(false), false},
		"its key, of a lapsed lease":  {[]tenure{{1, "a", s(1), s(31), false}, {2, "b", s(30), 0, false}}, map[int][]time.Duration{1: {s(32)}}, storm(true, "a"), true},
	} {
		t.Run(name, func(t *testing.T) {
			if found := judgeNames(claims{"n", c.tenures, c.taken}, c.harm, runsFor); (len(found) == 0) != c.good {
				t.Errorf("found %v", found)
			}
		})
	}
}

func TestAnothersTakingOfADeadOnesNameIsJudged(t *testing.T) {
	dead := tenure{1, "a", s(1), s(20), false}
	for name, c := range map[string]struct {
		tenures []tenure
		good    bool
	}{
		"within the lease and a third": {[]tenure{dead, {2, "b", s(34), 0, false}}, true},
		"too late":                     {[]tenure{dead, {2, "b", s(36), 0, false}}, false},
		"by nobody":                    {[]tenure{dead}, false},
		"by itself":                    {[]tenure{dead, {1, "b", s(25), 0, false}}, false},
	} {
		if found := judgeFreed(claims{name: "n", tenures: c.tenures}, 1, s(20)); (len(found) == 0) != c.good {
			t.Errorf("%s: found %v", name, found)
		}
	}
}

func TestRevocationsAreJudged(t *testing.T) {
	out := []time.Duration{s(99)}
	for name, c := range map[string]struct {
		visits  []visit
		refused []time.Duration
		revoked time.Duration
		harm    harm
		good    bool
	}{
		"closed with 4001 and out":       {[]visit{{s(1), s(51), 4001}}, out, s(50), storm(false), true},
		"never taken":                    {[]visit{{s(1), 0, 0}}, nil, 0, storm(false), false},
		"still there":                    {[]visit{{s(1), 0, 0}}, out, s(50), storm(false), false},
		"there for too long":             {[]visit{{s(1), s(56), 4001}}, out, s(50), storm(false), false},
		"closed with another code":       {[]visit{{s(1), s(51), 1000}}, out, s(50), storm(false), false},
		"let in again":                   {[]visit{{s(1), s(51), 4001}, {s(60), s(61), 4001}}, out, s(50), storm(false), false},
		"never refused":                  {[]visit{{s(1), s(51), 4001}}, nil, s(50), storm(false), false},
		"while it was cut off":           {[]visit{{s(1), s(45), 4001}}, out, s(22), storm(true, "a"), true},
		"while another was cut off":      {[]visit{{s(1), s(45), 4001}}, out, s(22), storm(true, "b"), false},
		"long after it was cut off":      {[]visit{{s(1), s(51), 4001}}, out, s(22), storm(true, "a"), false},
		"the gateway died":               {[]visit{{s(1), s(23), 0}}, out, s(22), storm(false, "a"), true},
		"let in by one that was started": {[]visit{{s(1), s(23), 0}, {s(31), s(32), 4001}}, out, s(22), restarted(s(30)), false},
		"revoked after it was started":   {[]visit{{s(1), s(23), 0}, {s(31), s(35), 4001}}, out, s(33), restarted(s(30)), true},
		"the broker died with it":        {[]visit{{s(1), s(23), 1012}, {s(31), 0, 0}}, nil, s(22), harm{from: s(20), to: s(40), forgets: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := &bearer{gateway: &gateway{addr: "a"}, visits: c.visits, refused: c.refused, denied: len(c.refused) > 0}
			if found := judgeBearer(b, c.revoked, c.harm, runsFor); (len(found) == 0) != c.good {
				t.Errorf("found %v", found)
			}
		})
	}
}

func restarted(at time.Duration) harm {
	h := storm(false, "a")
	h.back["a"] = at
	return h
}

func TestARollFollowsWhatItIsTold(t *testing.T) {
	listed := func(users ...string) protocol.Members {
		m := protocol.Members{Count: len(users)}
		for _, user := range users {
			m.Users = append(m.Users, protocol.Member{User: user, Connections: 1})
		}
		return m
	}
	users := func(names ...string) map[string]int {
		truth := make(map[string]int)
		for _, name := range names {
			truth[name] = 1
		}
		return truth
	}
	r := newRoll()
	if r.differs(nil) == "" {
		t.Error("an empty roll knows all")
	}
	r.asked = true
	if r.told(protocol.Presence{Joined: []string{"ben"}, Count: 2}) {
		t.Error("it asks twice")
	}
	if r.listed(listed("ada")) || r.differs(users("ada", "ben")) != "" {
		t.Errorf("%s: what was told before the list came is lost", r.differs(users("ada", "ben")))
	}
	if r.told(protocol.Presence{Left: []string{"ada"}, Count: 1}) || r.differs(users("ben")) != "" {
		t.Error(r.differs(users("ben")))
	}
	for name, truth := range map[string]map[string]int{"a ghost": users(), "one missing": users("ben", "cleo"), "another": users("cleo")} {
		if r.differs(truth) == "" {
			t.Errorf("%s is not seen", name)
		}
	}
	if !r.told(protocol.Presence{Joined: []string{"cleo"}, Count: 3}) || !r.told(protocol.Presence{Count: 2, Incomplete: true}) {
		t.Error("it does not ask where it cannot know all")
	}
}

func TestListsAreCompared(t *testing.T) {
	truth := map[string]int{"ada": 1, "ben": 2}
	for want, list := range map[string]map[string]int{
		"":                                     {"ada": 1, "ben": 2},
		"ben is missing":                       {"ada": 1},
		"a ghost cleo":                         {"ada": 1, "ben": 2, "cleo": 1},
		"ben by 1 connections, not 2":          {"ada": 1, "ben": 1},
		"a ghost cleo, ada is missing":         {"ben": 2, "cleo": 1},
		"ada is missing, ben is missing":       {},
		"ada by 3 connections, not 1":          {"ada": 3, "ben": 2},
		"a ghost x, a ghost y, ben is missing": {"ada": 1, "x": 1, "y": 1},
	} {
		if got := difference(list, truth); got != want {
			t.Errorf("%v: %q, not %q", list, got, want)
		}
	}
}
