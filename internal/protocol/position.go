package protocol

import (
	"errors"
	"strconv"
	"strings"
)

// Position is a place in a room's log: everything up to and with Seq of Epoch.
type Position struct {
	Epoch string
	Seq   uint64
}

// String returns the position as EPOCH:SEQ, the form of ?since= and of an
// event stream's id.
func (p Position) String() string {
	return p.Epoch + ":" + strconv.FormatUint(p.Seq, 10)
}

var (
	errPositionForm  = errors.New("position: want EPOCH:SEQ")
	errPositionEpoch = errors.New("position: epoch: 1 to 64 characters of A-Z a-z 0-9 _ -")
	errPositionSeq   = errors.New("position: seq: an integer from 0 to 2^53-1")
)

// ParsePosition reads what [Position.String] writes. Seq is plain decimal
// without sign or leading zeros, at most [MaxSeq].
func ParsePosition(s string) (Position, error) {
	epoch, digits, ok := strings.Cut(s, ":")
	if !ok {
		return Position{}, errPositionForm
	}
	if !ValidEpoch(epoch) {
		return Position{}, errPositionEpoch
	}
	seq, ok := integer(digits)
	if !ok {
		return Position{}, errPositionSeq
	}
	return Position{Epoch: epoch, Seq: seq}, nil
}
