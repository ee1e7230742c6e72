package api

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// A room as Server-Sent Events is at /rooms/{room}/events. The name's slashes may
// stand as they are.
const (
	eventsBefore = "/rooms/"
	eventsBehind = "/events"
)

// events serves a room as Server-Sent Events (section 9 of the protocol). It opens
// a connection to its own gateway and speaks the WebSocket protocol on it for the
// client, so that who may join, how much anyone may use and what becomes of a slow
// reader are decided where they are for a WebSocket. What that is refused with is
// the answer.
func events(w http.ResponseWriter, r *http.Request) {
	if shared(w, r, http.MethodGet) {
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		onlyGet(w, r)
		return
	}
	join, p := eventsJoin(r)
	if p != nil {
		p.write(w, "")
		return
	}
	conn, p := dialInside(r)
	if p != nil {
		p.write(w, "")
		return
	}
	defer conn.end()
	joined, p := conn.join(join)
	if p != nil {
		p.write(w, "")
		return
	}
	s := newEventStream(w, conn.heartbeat)
	s.head()
	if r.Method == http.MethodHead {
		return
	}
	s.serve(r.Context(), conn, joined)
}

// eventsJoin reads what is asked for. Where a client comes back to, it says in
// Last-Event-ID; its URL is still that of the first time.
func eventsJoin(r *http.Request) (protocol.Join, *problem) {
	room, ok := roomOf(r.URL, eventsBehind)
	if !ok {
		return protocol.Join{}, &problem{status: http.StatusNotFound, code: protocol.InvalidRequest, detail: "there is nothing here"}
	}
	if !protocol.ValidRoom(room) {
		return protocol.Join{}, invalid("room", "1 to 128 characters of A-Z a-z 0-9 _ - . : @ /")
	}
	j := protocol.Join{Room: room}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return j, invalid("query", "it does not parse")
	}
	if len(query["last"])+len(query["since"]) > 1 {
		return j, invalid("last", "once, and not together with since")
	}
	if query.Has("last") {
		last, err := strconv.ParseUint(query.Get("last"), 10, 31)
		if err != nil {
			return j, invalid("last", "an integer from 0 to 2^31-1")
		}
		j.Last = int(last)
	}
	if since := query.Get("since"); query.Has("since") {
		if j.Since, ok = parseSince(since); !ok {
			return j, invalid("since", "EPOCH:SEQ")
		}
	}
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		if j.Since, ok = parseSince(id); !ok {
			return j, invalid("Last-Event-ID", "EPOCH:SEQ, the id of the last event")
		}
		j.Last = 0
	}
	if query.Has("presence") {
		if j.Presence, err = strconv.ParseBool(query.Get("presence")); err != nil {
			return j, invalid("presence", "true or false")
		}
	}
	return j, nil
}

// roomOf is the room that a path names before the end that says what is asked.
func roomOf(u *url.URL, behind string) (name string, ok bool) {
	escaped := u.EscapedPath()
	if name, ok = strings.CutPrefix(escaped, eventsBefore); !ok {
		return "", false
	}
	if name, ok = strings.CutSuffix(name, behind); !ok {
		return "", false
	}
	name, err := url.PathUnescape(name)
	return name, err == nil
}

func parseSince(text string) (*protocol.Position, bool) {
	p, err := protocol.ParsePosition(text)
	return &p, err == nil
}
