package redis

import (
	"fmt"
	"strconv"
	"strings"
)

// slots is the number of hash slots of a Cluster.
const slots = 16384

// names makes the names of one shard's keys and channels. A room's name is their
// last part, and where something stands behind it its length is before it, so that
// no two rooms can meet.
type names struct {
	keys     string // begins every key
	channels string // begins every channel: pub/sub knows no databases
}

// newNames of a shard; tag is empty outside of a Cluster.
func newNames(prefix, tag string, db int) names {
	n := names{keys: prefix + ":"}
	if tag != "" {
		n.keys += "{" + tag + "}:"
	}
	n.channels = n.keys
	if db != 0 {
		n.channels += "db" + strconv.Itoa(db) + ":"
	}
	return n
}

func (n names) state(room string) string  { return n.keys + "m:" + room }
func (n names) stream(room string) string { return n.keys + "s:" + room }

func (n names) id(room, id string) string {
	return n.keys + "d:" + strconv.Itoa(len(room)) + ":" + room + ":" + id
}

func (n names) channel(room string) string { return n.channels + "c:" + room }

// room is channel undone.
func (n names) room(channel string) (string, bool) {
	return strings.CutPrefix(channel, n.channels+"c:")
}

func (n names) probe(id string) string    { return n.channels + "p:" + id }
func (n names) probeKey(id string) string { return n.keys + "p:" + id }
func (n names) control() string           { return n.channels + "control" }
func (n names) leases() string            { return n.keys + "fleet:leases" }
func (n names) members() string           { return n.keys + "fleet:members" }

// Of a master's term: who is waited for, and what it is open by.
func (n names) term() string { return n.keys + "fleet:term" }
func (n names) open() string { return n.keys + "fleet:open" }

func (n names) records() string { return n.keys + "fleet:records" }

// Of users: the rooms that have some, and of a room its users in order and their
// connections.
func (n names) active() string            { return n.keys + "active" }
func (n names) online(room string) string { return n.keys + "o:" + room }
func (n names) totals(room string) string { return n.keys + "t:" + room }

// Of a holder: its rooms, its users in a room, its connections and its names.
func (n names) roomsOf(holder string) string       { return n.keys + "r:" + holder }
func (n names) connectionsOf(holder string) string { return n.keys + "k:" + holder }
func (n names) namesOf(holder string) string       { return n.keys + "n:" + holder }
func (n names) usersOf(holder, room string) string {
	return n.keys + "u:" + strconv.Itoa(len(holder)) + ":" + holder + ":" + room
}

func (n names) events() string   { return n.keys + "events" }
func (n names) claims() string   { return n.keys + "names" }
func (n names) released() string { return n.keys + "names:released" }
func (n names) revoked() []string {
	return []string{n.keys + "revoked", n.keys + "revoked:ends", n.keys + "revoked:version"}
}

// hashOf spreads rooms over shards: FNV-1a, the same in every gateway.
func hashOf(room string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(room) {
		h = (h ^ uint64(room[i])) * 1099511628211
	}
	return h ^ h>>32
}

// tags returns the hash tags of n partitions. Each is the first of its partition's
// row whose slot lies in the partition's part of the slots, so that nodes which own
// ranges of slots own like numbers of partitions.
func tags(n int) []string {
	out := make([]string, n)
	for i := range out {
		for try := 0; out[i] == ""; try++ {
			tag := fmt.Sprintf("p%d.%d", i, try)
			if slot(tag)*n/slots == i {
				out[i] = tag
			}
		}
	}
	return out
}

// slot is CRC16 (XMODEM) of a hash tag, as the Cluster's specification has it.
func slot(tag string) int {
	crc := uint16(0)
	for i := range len(tag) {
		crc ^= uint16(tag[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % slots
}
