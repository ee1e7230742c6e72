package account

// Tops is the greatest seq known of each log: room, then epoch.
type Tops map[string]map[string]uint64

// Merge takes what another process knows.
func (t Tops) Merge(o Tops) {
	for room, logs := range o {
		for epoch, seq := range logs {
			t.set(room, epoch, seq)
		}
	}
}

func (t Tops) set(room, epoch string, seq uint64) {
	if t[room] == nil {
		t[room] = make(map[string]uint64)
	}
	t[room][epoch] = max(t[room][epoch], seq)
}

// Tops returns what this book knows.
func (b *Book) Tops() Tops {
	t := make(Tops, len(b.rooms))
	for _, r := range b.rooms {
		for _, l := range r.logs {
			t.set(r.name, l.epoch, l.top)
		}
	}
	return t
}

// Learn takes what other processes know, so that a member which is owed what only
// they have seen counts as behind.
func (b *Book) Learn(t Tops) {
	for name, logs := range t {
		r := b.rooms[name]
		if r == nil {
			continue // nobody here is in it
		}
		for _, l := range r.logs {
			l.top = max(l.top, logs[l.epoch])
		}
	}
}

// Close ends the account: what a member still lacks is unexplained, and what the
// logs that began anew had beyond who was in them is behind a reset. members
// calls its argument for each member that has not left.
func (b *Book) Close(members func(func(*Member))) {
	members(func(m *Member) {
		if m.log == nil {
			return
		}
		b.Unexplained += m.Behind()
		if present := m.room.logs[len(m.room.logs)-1]; present != m.log {
			// The room goes on in another log, and nobody said so.
			b.Unexplained += present.top
		}
	})
	for _, r := range b.rooms {
		for _, p := range r.left {
			if p.log.top > p.seq {
				b.BehindReset += p.log.top - p.seq
			}
		}
		r.left = nil
	}
}
