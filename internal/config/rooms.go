package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// RoomClass is what rooms with names like Match have in common.
type RoomClass struct {
	Match       string // a room's whole name; * stands for any run of characters
	Access      Access
	PublishRate int // messages a second; 0: Limits.RoomMessages
	History     History
	Presence    bool
	Slow        Slow
}

// Access is who may do what: "anyone", "member", "claim" or "server". Join
// cannot be "member".
type Access struct {
	Join, Publish, History, Members string
}

// History bounds what is kept of a room's messages; past any bound the oldest
// go. A bound of 0 is none, but Messages 0 keeps nothing.
type History struct {
	Messages int
	Bytes    int64 // of the messages' data
	Age      time.Duration
}

// Slow is what happens to a member that falls behind the window.
type Slow struct {
	Policy         string // "drop", "conflate" or "disconnect"
	WindowMessages int
	WindowBytes    int64 // of frames
}

func (r *RoomClass) options() []option {
	return []option{
		{key: "match", def: "*", value: pattern(&r.Match), what: "name of the rooms", why: "every room"},
		{key: "join", def: "anyone", value: choice(&r.Access.Join, "anyone", "claim", "server"),
			what: "who may join: anyone; claim: whose token lists it for the room; server: nobody but backends by their API key." +
				" A token with a rooms claim must list what it is used for in any case",
			why: "a room is for people to meet in"},
		{key: "publish", def: "anyone", value: access(&r.Access.Publish),
			what: "who may publish, likewise, or member: who has joined the room on the same connection",
			why:  "who may not join may be a sensor that only sends"},
		{key: "publish_rate", def: "0", value: integer(&r.PublishRate, 0, maxCount),
			what: "messages published to one room in a second through one gateway, twice that at once; 0 is limits.room.messages_per_second",
			why:  "what holds for all rooms holds for these"},
		{key: "history.access", def: "anyone", value: access(&r.Access.History),
			what: "who may read the history, likewise. Unless it is claim, a token that lists join may too",
			why:  "who may join gets it anyway, and has to fill its gaps"},
		{key: "history.messages", def: "256", value: integer(&r.History.Messages, 0, maxCount),
			what: "newest messages kept for who joins or comes back; 0 keeps none",
			why:  "some minutes of a lively chat"},
		{key: "history.bytes", def: "1MiB", value: size(&r.History.Bytes, 0),
			what: "bytes of data kept; 0 is no bound",
			why:  "bounds a room of large messages, where 256 of them would be 16 MiB"},
		{key: "history.age", def: "10m", value: duration(&r.History.Age, 0),
			what: "time for which a message is kept; 0 is no bound",
			why:  "longer than a client is away that changes networks or is restarted"},
		{key: "members", def: "anyone", value: access(&r.Access.Members),
			what: "who may see the online list, likewise",
			why:  "a chat shows who is there"},
		{key: "presence", def: "true", value: boolean(&r.Presence),
			what: "keep the online list, and tell of who comes and goes those who ask for it",
			why:  "it costs next to nothing where nobody asks; turn it off for rooms whose visitors are nobody's business"},
		{key: "slow.policy", def: "drop", value: choice(&r.Slow.Policy, "drop", "conflate", "disconnect"),
			what: "for a member past the window: drop skips to the oldest message within it, conflate to the newest of all," +
				" disconnect closes the connection",
			why: "the member goes on, is told exactly what it missed, and can fetch it"},
		{key: "slow.window_messages", def: "256", value: integer(&r.Slow.WindowMessages, 0, maxCount),
			what: "messages that a member may be behind; 0 is no bound",
			why:  "as many as the history keeps, so that what was skipped can be fetched"},
		{key: "slow.window_bytes", def: "1MiB", value: size(&r.Slow.WindowBytes, 0),
			what: "bytes of messages that a member may be behind; 0 is no bound",
			why:  "some seconds of a mobile link: who is further behind wants what is new"},
	}
}

// defaultClass matches every room.
func defaultClass() RoomClass {
	var r RoomClass
	for _, o := range r.options() {
		if err := o.value.set(o.def); err != nil {
			panic("config: default of rooms." + o.key + ": " + err.Error())
		}
	}
	return r
}

// roomsSetting is the list of classes.
type roomsSetting struct {
	field *[]RoomClass
}

func (s *roomsSetting) kind() kind   { return kindRooms }
func (s *roomsSetting) text() string { return s.yaml() }
func (s *roomsSetting) wants() string {
	return "a list of classes, each with match and what is set for those rooms, as YAML or JSON"
}

// set takes the list as YAML or JSON.
func (s *roomsSetting) set(text string) error {
	body, problem := parseYAML([]byte(text), func(int) string { return "" })
	if problem != nil {
		return misfit(text, s.wants())
	}
	w := walker{where: func(int) string { return "" }}
	s.setNode(&w, body, 1)
	if len(w.problems) > 0 {
		return fmt.Errorf("cannot be %q: %w", text, w.problems[0])
	}
	return nil
}

// setNode takes the list as it stands in a file.
func (s *roomsSetting) setNode(w *walker, node ast.Node, line int) {
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		w.report(line, "rooms", "cannot be %s: it takes %s", describe(node), s.wants())
		return
	}
	found := len(w.problems)
	classes := []RoomClass{}
	for i, item := range sequence.Values {
		class, name := defaultClass(), fmt.Sprintf("rooms[%d]", i)
		class.Match = ""
		line := item.GetToken().Position.Line
		in := walker{where: w.where, options: class.options(), base: name + ".", sources: w.sources}
		in.mapping(item, line, "")
		if len(in.problems) == 0 && class.Match == "" {
			in.report(line, name+".match", "is missing: it takes the name of a room, with * for any run of characters")
		}
		w.note(name, line)
		w.problems = append(w.problems, in.problems...)
		classes = append(classes, class)
	}
	if len(w.problems) == found {
		*s.field = complete(classes)
	}
}

// complete ends the list with the class that matches what no other does.
func complete(classes []RoomClass) []RoomClass {
	if slices.ContainsFunc(classes, RoomClass.matchesAll) {
		return classes
	}
	return append(classes, defaultClass())
}

func (s *roomsSetting) yaml() string {
	if len(*s.field) == 0 {
		return "[]"
	}
	var b strings.Builder
	for i := range *s.field {
		b.WriteString("\n" + renderClass(&(*s.field)[i], plain))
	}
	return strings.TrimRight(b.String(), "\n")
}

func (s *roomsSetting) valid() error {
	for i := range *s.field {
		for _, o := range (*s.field)[i].options() {
			if err := o.value.valid(); err != nil {
				return fmt.Errorf("has, in [%d], %s that %w", i, o.key, err)
			}
		}
	}
	return nil
}

func (r RoomClass) matchesAll() bool { return r.Match != "" && strings.Trim(r.Match, "*") == "" }

func access(field *string) setting { return choice(field, "anyone", "member", "claim", "server") }

func pattern(field *string) setting {
	return &scalar[string]{field: field, of: kindText, quoted: true,
		takes:  "1 to 128 characters of A-Z a-z 0-9 _ - . : @ / and * for any run of characters",
		format: func(s string) string { return s },
		parse: func(s string) (string, bool) {
			return s, s != "" && len(s) <= 128 && !strings.ContainsFunc(s, notInPattern)
		}}
}

func notInPattern(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	return !letter && !strings.ContainsRune("_-.:@/*", r)
}
