package client

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"
)

// table is internal/protocol/testdata/conformance.json; CONFORMANCE.md beside it
// says what its parts mean.
type table struct {
	Version    int              `json:"version"`
	CloseCodes []map[string]any `json:"close_codes"` // the protocol package's test holds them
	Handshakes []struct {
		Status     int    `json:"status"`
		Verdict    string `json:"verdict"`
		RetryAfter int    `json:"retry_after_s"`
	} `json:"handshakes"`
	Backoff []struct {
		Base    int     `json:"base_ms"`
		Cap     int     `json:"cap_ms"`
		Attempt int     `json:"attempt"`
		Random  float64 `json:"random"`
		Wait    int     `json:"wait_ms"`
	} `json:"backoff"`
	Conversations []conversation `json:"conversations"`
}

func conformance(t *testing.T) table {
	t.Helper()
	text, err := os.ReadFile("../protocol/testdata/conformance.json")
	if err != nil {
		t.Fatal(err)
	}
	var all table
	if err := strictly(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Handshakes) == 0 || len(all.Backoff) == 0 || len(all.Conversations) == 0 {
		t.Fatal("a part of the table is empty")
	}
	return all
}

// strictly decodes what has no field that is not known.
func strictly(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

func TestConformanceOfHandshakes(t *testing.T) {
	for _, row := range conformance(t).Handshakes {
		refused := &RefusedError{Status: row.Status, RetryAfter: time.Duration(row.RetryAfter) * time.Second}
		if got := verdict(refused).String(); got != row.Verdict {
			t.Errorf("%d: %s, want %s", row.Status, got, row.Verdict)
		}
		none := &backoff{base: 1, cap: 1, jitter: func(time.Duration) time.Duration { return 0 }}
		if pause := pauseFor(nil, refused, none); pause != refused.RetryAfter {
			t.Errorf("%d: waits %v, want %v", row.Status, pause, refused.RetryAfter)
		}
	}
}

func TestConformanceOfBackoff(t *testing.T) {
	for _, row := range conformance(t).Backoff {
		b := &backoff{
			base: ms(row.Base), cap: ms(row.Cap), attempt: row.Attempt,
			jitter: func(ceiling time.Duration) time.Duration { return share(ceiling, row.Random) },
		}
		if got := b.next(); got != ms(row.Wait) {
			t.Errorf("attempt %d, random %v: %v, want %d ms", row.Attempt, row.Random, got, row.Wait)
		}
	}
}

func TestConformanceOfConversations(t *testing.T) {
	for _, c := range conformance(t).Conversations {
		t.Run(c.Name, func(t *testing.T) {
			bubble(t, func(t *testing.T) { converse(t, c) })
		})
	}
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func share(ceiling time.Duration, random float64) time.Duration {
	return time.Duration(random * float64(ceiling))
}
