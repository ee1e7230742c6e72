package gateway

import (
	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/pattern"
	"github.com/fanfare-ws/fanfare/internal/room"
)

// Class says how the rooms are kept whose names match, and who may do what in
// them. Its zero Rules let anyone do all.
type Class struct {
	room.Class
	Rules       auth.Rules
	PublishRate int  // messages a second, of each room; 0: Limits.RoomMessages
	Presence    bool // who is in a room is kept, for members and presence
}

// Classes are tried in their order; the first match wins. The last matches every
// room.
type Classes []Class

// Of returns the class of a room, or nil if none matches.
func (cs Classes) Of(room string) *Class {
	for i := range cs {
		if pattern.Match(cs[i].Match, room) {
			return &cs[i]
		}
	}
	return nil
}
