package config

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// setting is a field of a Config with the rules for its value.
type setting interface {
	// set takes the value as a flag or a variable gives it. Where the text is
	// not what the setting wants, the field stays as it is.
	set(text string) error
	text() string // what set takes to make the field as it is
	yaml() string // the same as a YAML value
	kind() kind
	wants() string // what a value must be, behind "it takes"
	valid() error  // of a field that was set without set
}

type kind string

const (
	kindText     kind = "string"
	kindBool     kind = "bool"
	kindInt      kind = "int"
	kindFloat    kind = "float"
	kindDuration kind = "duration"
	kindSize     kind = "size"
	kindList     kind = "list"
	kindRooms    kind = "classes"
)

// minHeartbeat is some ticks of a loop's clock.
const minHeartbeat = 100 * time.Millisecond

// scalar is the setting of a field with one value.
type scalar[T any] struct {
	field  *T
	of     kind
	takes  string // see wants
	parse  func(string) (T, bool)
	format func(T) string
	quoted bool // in YAML
}

func (s *scalar[T]) set(text string) error {
	v, ok := s.parse(text)
	if !ok {
		return misfit(text, s.takes)
	}
	*s.field = v
	return nil
}

func (s *scalar[T]) text() string  { return s.format(*s.field) }
func (s *scalar[T]) kind() kind    { return s.of }
func (s *scalar[T]) wants() string { return s.takes }

func (s *scalar[T]) yaml() string {
	if s.quoted {
		return strconv.Quote(s.text())
	}
	return s.text()
}

func (s *scalar[T]) valid() error {
	if _, ok := s.parse(s.text()); !ok {
		return misfit(s.text(), s.takes)
	}
	return nil
}

// misfit is the error of a value that cannot be taken; it follows the key.
func misfit(text, wants string) error {
	return fmt.Errorf("cannot be %q: it takes %s", text, wants)
}

func boolean(field *bool) setting {
	return &scalar[bool]{field: field, of: kindBool, takes: "true or false", format: strconv.FormatBool,
		parse: func(s string) (bool, bool) { v, err := strconv.ParseBool(s); return v, err == nil }}
}

func integer(field *int, low, high int) setting {
	return &scalar[int]{field: field, of: kindInt, format: strconv.Itoa,
		takes: fmt.Sprintf("a whole number from %d to %d", low, high),
		parse: func(s string) (int, bool) {
			v, err := strconv.Atoi(s)
			return v, err == nil && v >= low && v <= high
		}}
}

func duration(field *time.Duration, least time.Duration) setting {
	return &scalar[time.Duration]{field: field, of: kindDuration, format: formatDuration,
		takes: fmt.Sprintf("a duration of at least %s, such as 500ms, 25s or 1h30m", formatDuration(least)),
		parse: func(s string) (time.Duration, bool) {
			v, err := time.ParseDuration(s)
			return v, err == nil && v >= least
		}}
}

func choice(field *string, names ...string) setting {
	return &scalar[string]{field: field, of: kindText, takes: strings.Join(names, " or "),
		format: func(s string) string { return s },
		parse:  func(s string) (string, bool) { return s, slices.Contains(names, s) }}
}

// text takes anything on one line.
func text(field *string, takes string) setting {
	return &scalar[string]{field: field, of: kindText, quoted: true, takes: takes,
		format: func(s string) string { return s },
		parse:  func(s string) (string, bool) { return s, !strings.ContainsFunc(s, unicode.IsControl) }}
}

func level(field *slog.Level) setting {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	return &scalar[slog.Level]{field: field, of: kindText, takes: "debug, info, warn or error",
		format: func(l slog.Level) string { return strings.ToLower(l.String()) },
		parse:  func(s string) (slog.Level, bool) { l, ok := levels[s]; return l, ok }}
}

func address(field *string) setting {
	return &scalar[string]{field: field, of: kindText, quoted: true,
		takes:  "host:port or :port, with a port from 0 to 65535, such as :8080, 127.0.0.1:8080 or [::1]:8080",
		format: func(s string) string { return s }, parse: parseAddress}
}

func parseAddress(s string) (string, bool) {
	host, port, err := net.SplitHostPort(s)
	if err != nil || strings.ContainsFunc(host, notInHost) {
		return "", false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return s, err == nil
}

// notInHost tells what is part of no host name, IPv6 address or its zone.
func notInHost(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`/\?#@[]"'*,;`, r)
}

// listSetting is the setting of a field with several values.
type listSetting struct {
	field *[]string
	item  func(string) (string, error)
	takes string
}

func list(field *[]string, item func(string) (string, error), takes string) setting {
	return &listSetting{field, item, takes}
}

func (s *listSetting) set(text string) error {
	items := []string{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		v, err := s.item(part)
		if err != nil {
			return fmt.Errorf("cannot have %q: %w; it takes %s", part, err, s.takes)
		}
		items = append(items, v)
	}
	*s.field = items
	return nil
}

func (s *listSetting) text() string  { return strings.Join(*s.field, ",") }
func (s *listSetting) kind() kind    { return kindList }
func (s *listSetting) wants() string { return s.takes }

func (s *listSetting) yaml() string {
	quoted := make([]string, len(*s.field))
	for i, v := range *s.field {
		quoted[i] = strconv.Quote(v)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func (s *listSetting) valid() error {
	var copied []string
	return (&listSetting{&copied, s.item, s.takes}).set(s.text())
}

// formatDuration is Duration.String without the zeros behind: 2m, not 2m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
