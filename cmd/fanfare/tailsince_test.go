package main

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"
)

func TestSinceIsAPlaceOrATime(t *testing.T) {
	now := time.Date(2026, 1, 31, 14, 30, 0, 0, time.FixedZone("", 3600))
	for text, want := range map[string]string{
		"5m": "2026-01-31T14:25:00+01:00", "1h30m": "2026-01-31T13:00:00+01:00", "0s": "2026-01-31T14:30:00+01:00",
		"14:05": "2026-01-31T14:05:00+01:00", "14:05:07": "2026-01-31T14:05:07+01:00",
		"2026-01-01T00:00:00Z": "2026-01-01T00:00:00Z",
		"e1:7":                 "e1:7", "e1:0": "e1:0",
		"-5m": "", "": "", "yesterday": "", "7": "", "e1:": "", ":7": "", "e1:x": "", "25:00": "",
	} {
		s, err := parseSince(text, now)
		got := ""
		switch {
		case err != nil:
		case s.at != nil:
			got = s.at.String()
		default:
			got = s.time.Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestWhatCouldMoveATerminalIsShown(t *testing.T) {
	for text, want := range map[string]string{
		"plain ü\ttab": "plain ü\ttab", "\x1b[2J": `\x1b[2J`, "a\r\nb": `a\x0d\x0ab`, "\u009b1m": `\u009b1m`, "a\u202eb": `a\u202eb`, "\x7f": `\x7f`,
	} {
		if got := harmless(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestJSONOnATerminalIsTheSameJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":"plain ü\ttab"}` + "\n": `{"a":"plain ü\ttab"}` + "\n", "\"\u009b1m\u202e\x7f\"": `"\u009b1m\u202e\u007f"`,
	} {
		got := harmlessJSON([]byte(text))
		var is, was any
		if err := errors.Join(json.Unmarshal(got, &is), json.Unmarshal([]byte(text), &was)); err != nil || !reflect.DeepEqual(is, was) {
			t.Errorf("%q is %q, which says %v: %v", text, got, is, err)
		}
		if string(got) != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
