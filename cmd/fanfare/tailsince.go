package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fanfare-ws/fanfare/internal/client"
)

// since is what --since says: a place of one room, or a time.
type since struct {
	at   *client.Position // nil: a time
	time time.Time
}

// parseSince reads EPOCH:SEQ, how long ago, or a time: of RFC 3339, or of today's
// clock.
func parseSince(text string, now time.Time) (s since, err error) {
	if ago, err := time.ParseDuration(text); err == nil {
		if ago < 0 {
			return s, errors.New("--since: how long ago is not less than nothing")
		}
		return since{time: now.Add(-ago)}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return since{time: at}, nil
	}
	for _, clock := range []string{"15:04", "15:04:05"} {
		if at, err := time.ParseInLocation(time.DateOnly+" "+clock, now.Format(time.DateOnly)+" "+text, now.Location()); err == nil {
			return since{time: at}, nil
		}
	}
	at, err := client.ParsePosition(text)
	if err != nil || strings.ContainsAny(text, " ") {
		return s, fmt.Errorf("--since %q: want EPOCH:SEQ, how long ago (5m, 1h30m), a time of today (14:05) or one of RFC 3339", text)
	}
	return since{at: &at}, nil
}
