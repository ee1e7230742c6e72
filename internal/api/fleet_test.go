package api

import (
	"strings"
	"testing"
	"time"
)

func TestTheGatewaysAreListed(t *testing.T) {
	s := serve(t)
	if a := s.ask("GET", "/v1/gateways", ""); a.body != `{"gateways":[{"id":"gw1","version":"v1","connections":3,"rooms":2,"load":0.25,"draining":false}]}` {
		t.Errorf("%s", a.body)
	}
}

func TestRevocationsAreReadStrictly(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 1, time.UTC)
	for _, tt := range []struct{ body, want string }{
		{`{"jti":"t1"}`, "t1   2035-12-31T03:04:05.001Z"},
		{`{"jti":"t1","until":"2026-01-02T04:04:05+01:00","until2":7}`, "400 until"}, // which is past
		{`{"jti":"t1","until":"2026-01-02T05:04:05+01:00"}`, "t1   2026-01-02T04:04:05Z"},
		{`{"user":"Zoe\u0308"}`, " Zoë 2026-01-02T03:04:05.001Z 2035-12-31T03:04:05.001Z"},
		{`{"user":"ada","before":"2025-01-01T00:00:00.0001Z","until":"2027-01-01T00:00:00Z"}`, " ada 2025-01-01T00:00:00.001Z 2027-01-01T00:00:00Z"},
		{`{"user":"ada","before":"2030-01-01T00:00:00Z"}`, " ada 2030-01-01T00:00:00Z 2035-12-31T03:04:05.001Z"},

		{`{}`, "400 jti"},
		{`{"jti":"a","user":"b"}`, "400 jti"},
		{`{"jti":""}`, "400 jti"},
		{`{"jti":7}`, "400 jti"},
		{`{"jti":"` + strings.Repeat("x", 257) + `"}`, "400 jti"},
		{`{"jti":"a","before":"2025-01-01T00:00:00Z"}`, "400 before"},
		{`{"user":""}`, "400 user"},
		{`{"user":"a b"}`, "400 user"},
		{`{"user":"a","before":1767322800}`, "400 before"},
		{`{"user":"a","before":"yesterday"}`, "400 before"},
		{`{"user":"a","before":"0000-01-01T00:00:00Z"}`, "400 before"},
		{`{"user":"a","before":"9999-12-31T23:59:59.9999Z"}`, "400 before"},
		{`{"user":"a","until":"9999-12-31T23:59:59.9999-23:59"}`, "400 until"},
		{`{"user":"a","until":"2026-01-02T03:04:05Z"}`, "400 until"},
		{`{"user":"a","user":"b"}`, "400 "},
		{`{"user":"a"} {}`, "400 "},
		{"{\"user\":\"\xff\"}", "400 "},
		{`["a"]`, "400 "},
		{`"a"`, "400 "},
		{`null`, "400 "},
		{``, "400 "},
		{strings.Repeat(`{"a":`, 20000), "400 "},
	} {
		got := ""
		if r, p := parseRevocation([]byte(tt.body), now); p != nil {
			got = "400 " + p.field
			if p.status != 400 || p.detail == "" || (p.code == "bad_json") != (p.field == "") {
				t.Errorf("%.50s: %+v", tt.body, p)
			}
		} else {
			before := ""
			if !r.Before.IsZero() {
				before = r.Before.Format(time.RFC3339Nano)
			}
			got = r.TokenID + " " + r.User + " " + before + " " + r.Until.Format(time.RFC3339Nano)
		}
		if got != tt.want {
			t.Errorf("%.50s: %q, want %q", tt.body, got, tt.want)
		}
	}
}

func TestWhatIsRevokedIsListed(t *testing.T) {
	s := serve(t)
	if a := s.ask("GET", "/v1/revocations", ""); a.body != `{"revocations":[]}` {
		t.Errorf("%s", a.body)
	}
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second).Format(time.RFC3339)
	first := `{"jti":"t1","until":"` + until + `"}`
	second := `{"user":"ada","before":"2025-01-01T00:00:00Z","until":"` + until + `"}`
	for _, body := range []string{first, second} {
		if a := s.ask("POST", "/v1/revocations", body); a.status != 200 || a.body != body {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	if a := s.ask("GET", "/v1/revocations", ""); a.body != `{"revocations":[`+first+`,`+second+`]}` {
		t.Errorf("%s", a.body)
	}
}
