package account

import (
	"bytes"
	"hash/crc32"
	"strconv"
)

// Key names a publication within a run.
type Key struct {
	Publisher uint32
	Number    uint64 // counts a publisher's messages, from 1
}

// Stamp is what the data of a published message says. All of the data follows
// from it, and a sum over it stands there too, so that a receiver can tell whether
// any byte was changed.
type Stamp struct {
	Key
	Due  int64 // when the message was to be sent, Unix nanoseconds
	Size int   // of the data, in bytes; what is longer without any filling stays so
}

const (
	stampOpen = `{"run":"`
	filler    = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
)

// AppendData appends the data of a message: a JSON object of the stamp's size.
func AppendData(dst []byte, run string, s Stamp) []byte {
	start := len(dst)
	dst = append(append(dst, stampOpen...), run...)
	dst = strconv.AppendUint(append(dst, `","p":`...), uint64(s.Publisher), 10)
	dst = strconv.AppendUint(append(dst, `,"n":`...), s.Number, 10)
	dst = strconv.AppendInt(append(dst, `,"t":`...), s.Due, 10)
	dst = strconv.AppendUint(append(dst, `,"c":`...), uint64(crc32.ChecksumIEEE(dst[start:])), 10)
	dst = append(dst, `,"x":"`...)
	from := int(s.Number % uint64(len(filler)))
	for left := s.Size - (len(dst) - start) - len(`"}`); left > 0; {
		n := min(left, len(filler)-from)
		dst = append(dst, filler[from:from+n]...)
		left -= n
		from = 0
	}
	return append(dst, `"}`...)
}

// parseData reads a message's data. ours: it is of this run; intact: it is what
// AppendData wrote, byte for byte.
func parseData(data []byte, run string, scratch []byte) (s Stamp, ours, intact bool) {
	rest, ok := bytes.CutPrefix(data, []byte(stampOpen))
	if !ok || !bytes.HasPrefix(rest, []byte(run+`"`)) {
		return s, false, false
	}
	rest = rest[len(run)+1:]
	publisher, rest, ok1 := field(rest, `,"p":`)
	number, rest, ok2 := field(rest, `,"n":`)
	due, _, ok3 := field(rest, `,"t":`)
	s = Stamp{Key{uint32(publisher), number}, int64(due), len(data)}
	intact = ok1 && ok2 && ok3 && bytes.Equal(data, AppendData(scratch[:0], run, s))
	return s, true, intact
}

// field reads a name and the digits behind it.
func field(b []byte, name string) (n uint64, rest []byte, ok bool) {
	if b, ok = bytes.CutPrefix(b, []byte(name)); !ok {
		return 0, b, false
	}
	digits := 0
	for digits < len(b) && b[digits] >= '0' && b[digits] <= '9' {
		digits++
	}
	n, err := strconv.ParseUint(string(b[:digits]), 10, 64)
	return n, b[digits:], err == nil
}
