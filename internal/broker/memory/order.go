package memory

import "container/heap"

// recent is a list of rooms, the one published to longest ago first.
type recent struct{ first, last *room }

// add puts a room at the end unless it is in the list.
func (l *recent) add(r *room) {
	if r.listed {
		return
	}
	r.listed = true
	r.prev, r.next = l.last, nil
	if l.last != nil {
		l.last.next = r
	} else {
		l.first = r
	}
	l.last = r
}

func (l *recent) remove(r *room) {
	if !r.listed {
		return
	}
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		l.first = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	} else {
		l.last = r.prev
	}
	r.prev, r.next, r.listed = nil, nil, false
}

// moveToBack makes a room the last one where it is in the list.
func (l *recent) moveToBack(r *room) {
	if r.listed && l.last != r {
		l.remove(r)
		l.add(r)
	}
}

// dues is a heap of rooms by their due time.
type dues struct{ rooms []*room }

func (d *dues) next() int64 {
	if len(d.rooms) == 0 {
		return never
	}
	return d.rooms[0].due
}

func (d *dues) add(r *room, due int64) {
	r.due = due
	heap.Push((*dueHeap)(d), r)
}

func (d *dues) remove(r *room) {
	if r.duePlace == 0 {
		return
	}
	heap.Remove((*dueHeap)(d), int(r.duePlace)-1)
	if n := len(d.rooms); cap(d.rooms) > 1024 && n < cap(d.rooms)/4 {
		d.rooms = append(make([]*room, 0, 2*n), d.rooms...)
	}
}

// dueHeap is dues as container/heap wants it.
type dueHeap dues

func (h *dueHeap) Len() int           { return len(h.rooms) }
func (h *dueHeap) Less(i, j int) bool { return h.rooms[i].due < h.rooms[j].due }
func (h *dueHeap) Swap(i, j int) {
	h.rooms[i], h.rooms[j] = h.rooms[j], h.rooms[i]
	h.rooms[i].duePlace, h.rooms[j].duePlace = int32(i+1), int32(j+1)
}
func (h *dueHeap) Push(x any) {
	r := x.(*room)
	h.rooms = append(h.rooms, r)
	r.duePlace = int32(len(h.rooms))
}
func (h *dueHeap) Pop() any {
	n := len(h.rooms) - 1
	r := h.rooms[n]
	h.rooms[n] = nil
	h.rooms = h.rooms[:n]
	r.duePlace = 0
	return r
}
