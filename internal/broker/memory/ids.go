package memory

import (
	"unsafe"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// ids remembers publish IDs for at least the window. They lie in two maps; once in
// a window the older one is dropped whole. That frees the memory of a burst,
// which a map that entries are deleted from would not, and costs nothing per
// entry; an entry stays for up to two windows but counts for one.
type ids struct {
	window             int64 // nanoseconds; 0: nothing is remembered
	young, old         map[idKey]idEntry
	youngCost, oldCost int64
	turnAt             int64 // when the maps change places, while either holds something
}

// idKey refers to the room and not to its name: a room is not forgotten before its
// IDs have left the window.
type idKey struct {
	room *room
	id   string
}

type idEntry struct {
	first broker.Position
	at    int64
}

// idCost is the memory that remembering p's ID takes: its place in a map, which
// with what is free around it comes to three times its size, and the room where nothing else may keep that alive. r is
// nil for a room that is not known.
func idCost(r *room, p *broker.Publication, now int64) int64 {
	cost := 3*int64(unsafe.Sizeof(idKey{})+unsafe.Sizeof(idEntry{})) + int64(len(p.ID))
	if r == nil || now >= r.idsUntil {
		cost += roomCost + int64(len(p.Room))
	}
	return cost
}

func (d *ids) cost() int64 { return d.youngCost + d.oldCost }

// find returns the position that the room's first message with that ID got.
func (d *ids) find(r *room, id string, now int64) (broker.Position, bool) {
	if now >= r.idsUntil {
		return broker.Position{}, false
	}
	key := idKey{r, id}
	e, ok := d.young[key]
	if !ok {
		e, ok = d.old[key]
	}
	return e.first, ok && now-e.at < d.window
}

func (d *ids) add(r *room, p *broker.Publication, first broker.Position, now int64) {
	if d.young == nil {
		d.young = make(map[idKey]idEntry)
		if d.old == nil {
			d.turnAt = now + d.window
		}
	}
	d.youngCost += idCost(r, p, now)
	d.young[idKey{r, p.ID}] = idEntry{first, now}
	r.idsUntil = now + d.window
}

// turn drops the older map when the window has passed.
func (d *ids) turn(now int64) {
	if now < d.due() {
		return
	}
	d.old, d.oldCost = d.young, d.youngCost
	d.young, d.youngCost = nil, 0
	d.turnAt = now + d.window
}

// due says when turn has something to do.
func (d *ids) due() int64 {
	if d.young == nil && d.old == nil {
		return never
	}
	return d.turnAt
}
