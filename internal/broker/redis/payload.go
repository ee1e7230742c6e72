package redis

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// What is stored and published of a message. Integers are big-endian. The publisher
// makes the body:
//
//	VERSION(1) STAMP(8) len FROM len EVENT DATA     lengths as unsigned varints
//
// The script puts two numbers before it, which makes the value of the entry:
//
//	TIME(8) BYTES-BEFORE(8) body
//
// and publishes one of
//
//	'M' SEQ(8) len(1) EPOCH entry     a message
//	'R' SEQ(8) len(1) EPOCH           the log began anew behind this position
//
// Right before a message that is traced comes
//
//	'T' SEQ(8) TRACE(16) SPAN(8)      of the message with this number; what follows is ignored
//
// which is published alone: a gateway that does not know it counts it as junk, and
// has the message as ever.
//
// What is published of a room's users is
//
//	'P' COUNT(8) JOINED(2) LEFT(2) len(2) USER ...   as many users as both numbers say
const version = 1

const maxSeq = 1<<53 - 1

// maxUser bounds the bytes of a user's name in what others publish.
const maxUser = 1024

var errJunk = errors.New("not in our form")

// appendBody makes the body of a message.
func appendBody(dst []byte, p *broker.Publication, stamp uint64) []byte {
	dst = append(dst, version)
	dst = binary.BigEndian.AppendUint64(dst, stamp)
	dst = binary.AppendUvarint(dst, uint64(len(p.From)))
	dst = append(dst, p.From...)
	dst = binary.AppendUvarint(dst, uint64(len(p.Event)))
	dst = append(dst, p.Event...)
	return append(dst, p.Data...)
}

// decodeMessage reads what a channel brought behind its 'M'.
func decodeMessage(room, s string) (broker.Message, error) {
	p, entry, ok := cutPosition(s)
	if !ok {
		return broker.Message{}, errJunk
	}
	return decodeEntry(room, p, entry)
}

// decodeReset reads what a channel brought behind its 'R'.
func decodeReset(s string) (broker.Position, error) {
	p, rest, ok := cutPosition(s)
	if !ok || rest != "" {
		return p, errJunk
	}
	return p, nil
}

// traceBytes is what a trace takes: its id and that of a span.
const traceBytes = 16 + 8

// appendTrace makes what the script is given of a trace.
func appendTrace(dst []byte, t *broker.Trace) []byte {
	return append(append(dst, t.ID[:]...), t.Span[:]...)
}

// decodeTrace reads what a channel brought behind its 'T': of which message it is,
// and its trace.
func decodeTrace(s string) (seq uint64, t *broker.Trace, err error) {
	if len(s) < 8+traceBytes {
		return 0, nil, errJunk
	}
	t = new(broker.Trace)
	copy(t.ID[:], s[8:])
	copy(t.Span[:], s[8+len(t.ID):])
	return integer(s), t, nil
}

// decodePresence reads what a channel brought behind its 'P'.
func decodePresence(room, s string) (broker.PresenceEvent, error) {
	e := broker.PresenceEvent{Room: room}
	if len(s) < 12 || integer(s) > math.MaxInt32 {
		return e, errJunk
	}
	e.Count = int(integer(s))
	joined, left := short(s[8:]), short(s[10:])
	// Before anything is allocated: each user takes three bytes at least.
	if joined+left == 0 || 3*(joined+left) > len(s)-12 {
		return e, errJunk
	}
	users := make([]string, joined+left)
	s = s[12:]
	for i := range users {
		if len(s) < 3 || short(s) == 0 || short(s) > min(maxUser, len(s)-2) {
			return e, errJunk
		}
		users[i], s = s[2:2+short(s)], s[2+short(s):]
		if !utf8.ValidString(users[i]) {
			return e, errJunk
		}
	}
	if s != "" {
		return e, errJunk
	}
	e.Joined, e.Left = users[:joined:joined], users[joined:]
	return e, nil
}

// short reads the first 2 bytes.
func short(s string) int { return int(s[0])<<8 | int(s[1]) }

// decodeEntry reads the value of a stream's entry. Strings of the message are parts
// of entry; Data is a copy.
func decodeEntry(room string, p broker.Position, entry string) (broker.Message, error) {
	m := broker.Message{Room: room, Position: p}
	if len(entry) < 16+9 || entry[16] != version || p.Seq == 0 {
		return m, errJunk
	}
	time, before := integer(entry), integer(entry[8:])
	if time > maxSeq || before > maxSeq {
		return m, errJunk
	}
	m.Time = int64(time)
	m.Stamp = integer(entry[17:])
	body, ok := entry[25:], false
	if m.From, body, ok = cutString(body); !ok {
		return m, errJunk
	}
	if m.Event, body, ok = cutString(body); !ok {
		return m, errJunk
	}
	m.Data = []byte(body)
	return m, nil
}

// integer reads the first 8 bytes.
func integer(s string) uint64 {
	n := uint64(0)
	for i := range 8 {
		n = n<<8 | uint64(s[i])
	}
	return n
}

// cutPosition reads SEQ len EPOCH, and returns what follows.
func cutPosition(s string) (p broker.Position, rest string, ok bool) {
	if len(s) < 9 || len(s)-9 < int(s[8]) {
		return p, "", false
	}
	p = broker.Position{Epoch: s[9 : 9+int(s[8])], Seq: integer(s)}
	return p, s[9+int(s[8]):], p.Seq <= maxSeq && validEpoch(p.Epoch)
}

// position reads EPOCH ' ' SEQ, as the script answers.
func position(s string) (broker.Position, error) {
	epoch, digits, _ := strings.Cut(s, " ")
	seq, ok := number(digits)
	if !ok || !validEpoch(epoch) {
		return broker.Position{}, errJunk
	}
	return broker.Position{Epoch: epoch, Seq: seq}, nil
}

// number reads plain digits up to maxSeq.
func number(s string) (uint64, bool) {
	if s == "" || len(s) > 16 || s[0] == '+' || (s[0] == '0' && len(s) > 1) {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n <= maxSeq
}

func cutString(s string) (string, string, bool) {
	n, used := uvarint(s)
	if used <= 0 || n > uint64(len(s)-used) {
		return "", "", false
	}
	return s[used : used+int(n)], s[used+int(n):], true
}

// uvarint is binary.Uvarint for a string, and takes the shortest form only.
func uvarint(s string) (n uint64, used int) {
	for i := 0; i < len(s) && i < binary.MaxVarintLen64; i++ {
		b := s[i]
		if i == binary.MaxVarintLen64-1 && b > 1 {
			return 0, -1
		}
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if b == 0 && i > 0 {
				return 0, -1
			}
			return n, i + 1
		}
	}
	return 0, -1
}

func validEpoch(s string) bool {
	if len(s) < 1 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// stampText is a stamp as the room's state keeps it, and as an epoch's name: 11
// characters.
func stampText(stamp uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], stamp)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// parseStamp is stampText undone; 0 where there is none.
func parseStamp(s string) uint64 {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}
