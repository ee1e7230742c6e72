package faulttest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// agreedIn is how long after a fault every gateway says of every room who is there.
const (
	agreedIn   = 15 * time.Second
	agreeEvery = 200 * time.Millisecond
)

// truth is who is in the rooms, by how many connections, as the clients know it.
func (w *world) truth() map[string]map[string]int {
	truth := make(map[string]map[string]int)
	for _, c := range w.fleet.clients {
		addUser(truth, c.room, c.whois())
	}
	w.people.present(truth)
	return truth
}

// ghosts is the first thing in which the gateways' lists, or what a watcher was told,
// differ from the truth; "": none. Each gateway is asked of its share of the rooms,
// of others at each turn.
func (w *world) ghosts(ctx context.Context, gateways []*gateway, turn int) string {
	truth := w.truth()
	for _, c := range w.fleet.clients {
		if !c.watches {
			continue
		}
		if what := c.misjudges(truth[c.room]); what != "" {
			return fmt.Sprintf("%s: client %d, who watches: %s", c.room, c.id, what)
		}
	}
	names := slices.Sorted(maps.Keys(truth))
	found := make([]string, len(gateways))
	var asking sync.WaitGroup
	for k, g := range gateways {
		asking.Go(func() {
			lists := &http.Client{Timeout: connectWait}
			defer lists.CloseIdleConnections()
			for i := (k + turn) % len(gateways); i < len(names) && found[k] == ""; i += len(gateways) {
				list, err := g.members(ctx, lists, names[i])
				if what := difference(list, truth[names[i]]); err != nil || what != "" {
					found[k] = fmt.Sprintf("%s: %s: %s, %v", g.name, names[i], what, err)
				}
			}
		})
	}
	asking.Wait()
	return strings.Join(found, "")
}

// ghostBySocket is ghosts, for one room by one gateway's WebSocket.
func (w *world) ghostBySocket(ctx context.Context, g *gateway, room string) string {
	list, err := g.membersBySocket(ctx, room)
	if err != nil {
		return fmt.Sprintf("%s: %s by a socket: %v", g.name, room, err)
	}
	if what := difference(list, w.truth()[room]); what != "" {
		return fmt.Sprintf("%s: %s by a socket: %s", g.name, room, what)
	}
	return ""
}

// agreement is what came of waiting for the gateways' lists to be the truth.
type agreement struct {
	took  time.Duration // until it was wrong last
	ghost string        // what was wrong last; empty: nothing
}

// agree waits until the lists are the truth, each of each gateway, for agreedIn since
// then.
func (w *world) agree(ctx context.Context, since time.Duration, gateways []*gateway) (a agreement) {
	for right, turn := 0, 0; right < len(gateways); turn++ {
		begun := w.fleet.clock()
		if a.ghost = w.ghosts(ctx, gateways, turn); a.ghost == "" {
			right++
			continue
		}
		right, a.took = 0, begun-since
		if a.took > agreedIn || !wait(ctx, agreeEvery) {
			return a
		}
	}
	return a
}

// agreed notes how soon the lists were the truth; that they never were is a violation.
func (w *world) agreed(after string, a agreement) []violation {
	if a.ghost != "" {
		return []violation{{ghost, fmt.Sprintf("%s after %s: %s", a.took.Round(time.Millisecond), after, a.ghost)}}
	}
	w.listed = max(w.listed, a.took)
	return nil
}

// others is all gateways but one.
func (w *world) others(g *gateway) []*gateway {
	return slices.DeleteFunc(slices.Clone(w.gateways), func(o *gateway) bool { return o == g })
}

// members is who is in a room by a gateway's HTTP.
func (g *gateway) members(ctx context.Context, client *http.Client, room string) (map[string]int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.admin+"/v1/rooms/"+url.PathEscape(room)+"/members?limit=1000", nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	var page struct {
		Count int
		Users []struct {
			User        string
			Connections int
		}
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered with %s", answer.Status)
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, err
	}
	list := make(map[string]int)
	for _, u := range page.Users {
		list[u.User] = u.Connections
	}
	if page.Count != len(list) {
		return nil, fmt.Errorf("counts %d users and lists %d", page.Count, len(list))
	}
	return list, nil
}

// membersBySocket is the same by a WebSocket, of someone who is not in the room.
func (g *gateway) membersBySocket(ctx context.Context, room string) (map[string]int, error) {
	s, err := connect(ctx, g.addr, "", 0)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := s.send(frame.OpText, protocol.AppendMembersRequest(nil, membersID, protocol.MembersRequest{Room: room, Limit: rollMost})); err != nil {
		return nil, err
	}
	for {
		msg, err := s.next()
		if err != nil {
			return nil, err
		}
		m, err := protocol.DecodeServer(msg)
		switch {
		case err != nil:
			return nil, err
		case m.Err != nil:
			return nil, m.Err
		case m.Type != protocol.ServerMembers:
			continue
		}
		list := make(map[string]int)
		for _, u := range m.Members.Users {
			list[u.User] = u.Connections
		}
		return list, nil
	}
}
