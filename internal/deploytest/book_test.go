package deploytest

import (
	"flag"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/fanfare-ws/fanfare/internal/metrics"
)

const book = "deploy/README.md"

var update = flag.Bool("update", false, "write what "+book+" has of other files, in place of comparing it")

// inBook compares a part of the operator's book, which stands between two comments,
// with what it should be, or writes it.
func inBook(t *testing.T, part, want string) {
	t.Helper()
	begin, end := "<!-- "+part+": make book -->\n", "<!-- end of "+part+" -->\n"
	text := read(t, book)
	before, rest, found := strings.Cut(text, begin)
	is, after, ended := strings.Cut(rest, end)
	switch {
	case !found || !ended:
		t.Errorf("%s has no place for %s", book, part)
	case is == want:
	case *update:
		if err := os.WriteFile(filepath.Join(root, book), []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("what %s says of %s is not what it is made of: make book writes it", book, part)
	}
}

// gatewayMetrics are all that a gateway with a Redis exports, as it is before anything
// happened.
func gatewayMetrics(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	set := metrics.NewSet("test", metrics.NewLoops(1))
	set.AddRelay(metrics.NewRelay())
	page := httptest.NewRecorder()
	set.Handler().ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	parser := expfmt.NewTextParser(model.LegacyValidation)
	all, err := parser.TextToMetricFamilies(page.Body)
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(all, func(name string, _ *dto.MetricFamily) bool { return !strings.HasPrefix(name, "fanfare_") })
	return all
}

func TestTheBookHasEveryMetric(t *testing.T) {
	all, shown := gatewayMetrics(t), shownIn(t)
	var table strings.Builder
	table.WriteString("| series | kind | is | labels | dashboard |\n| --- | --- | --- | --- | --- |\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		family := all[name]
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s | %s |\n", name, strings.ToLower(family.GetType().String()),
			strings.ReplaceAll(family.GetHelp(), "|", `\|`), labelsOf(family), strings.Join(shown[name], ", "))
	}
	inBook(t, "metrics", table.String())
}

// labelsOf are the labels of a series with their values, in their order.
func labelsOf(family *dto.MetricFamily) string {
	var names []string
	values := make(map[string][]string)
	for _, m := range family.Metric {
		for _, l := range m.Label {
			if !slices.Contains(names, l.GetName()) {
				names = append(names, l.GetName())
			}
			if v := "`" + l.GetValue() + "`"; !slices.Contains(values[l.GetName()], v) {
				values[l.GetName()] = append(values[l.GetName()], v)
			}
		}
	}
	if family.GetName() == "fanfare_build_info" {
		return strings.Join(names, ", ") // whose values are of a build
	}
	var text []string
	for _, name := range names {
		text = append(text, name+": "+strings.Join(values[name], " "))
	}
	return strings.Join(text, "; ")
}

// shownIn are the dashboards that show a series.
func shownIn(t *testing.T) map[string][]string {
	t.Helper()
	shown := make(map[string][]string)
	for _, b := range boards(t) {
		for _, q := range b.questions() {
			for _, name := range names.FindAllString(q.expr, -1) {
				name = regexp.MustCompile("_(bucket|sum|count)$").ReplaceAllString(name, "")
				if !slices.Contains(shown[name], b.file) {
					shown[name] = append(shown[name], b.file)
				}
			}
		}
	}
	return shown
}

// countedAs says where what a limit refuses is counted: the label of
// fanfare_limit_refusals_total, or another series.
var countedAs = map[string]string{
	"connections": "connections", "queued_bytes": "queued_bytes", "memory_bytes": "memory",
	"messages_per_second": "connection_messages", "bytes_per_second": "connection_bytes",
	"rooms_per_connection": "connection_rooms", "history_per_second": "connection_history",
	"members_per_room": "room_members", "room.messages_per_second": "room_messages",
	"message_bytes": `fanfare_connections_closed_total{reason="too_big"}`, "message_fragments": `fanfare_connections_closed_total{reason="too_big"}`,
	"reply_bytes": `fanfare_connections_closed_total{reason="replies_unread"}`,
	"handshakes":  `fanfare_handshakes_rejected_total{reason="handshakes"}`, "handshakes_per_address": `fanfare_handshakes_rejected_total{reason="handshakes_per_address"}`,
	"handshake_timeout": `fanfare_handshakes_rejected_total{reason="timeout"}`, "handshake_bytes": `fanfare_handshakes_rejected_total{reason="head_too_large"}`,
	"handshake_headers": `fanfare_handshakes_rejected_total{reason="too_many_headers"}`,
}

// limitKey is a key below limits, in what fanfare config defaults prints.
type limitKey struct{ name, value, what string }

// limitKeys are all of them.
func limitKeys(t *testing.T) (all []limitKey) {
	t.Helper()
	text, err := exec.Command(binary(t), "config", "defaults").Output()
	if err != nil {
		t.Fatal(err)
	}
	section, comment := "-", ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		said, isComment := strings.CutPrefix(line, "  # ")
		key, value, isKey := strings.Cut(line, ": ")
		switch {
		case strings.HasPrefix(line, "limits") && strings.HasSuffix(line, ":"):
			section = strings.TrimPrefix(strings.TrimSuffix(line, ":")+".", "limits.")
		case line != "" && line[0] != ' ' && line[0] != '#':
			section = "-"
		case section == "-":
		case isComment:
			comment += said + " "
		case isKey:
			what, _, _ := strings.Cut(comment, " Default ")
			all = append(all, limitKey{section + strings.TrimSpace(key), value, what})
			comment = ""
		}
	}
	return all
}

func TestTheBookHasEveryLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the gateway: not with -short")
	}
	keys, all := limitKeys(t), gatewayMetrics(t)
	if len(keys) < 20 {
		t.Fatalf("fanfare config defaults has the limits %v", keys)
	}
	labels := labelsOf(all["fanfare_limit_refusals_total"])
	var table strings.Builder
	table.WriteString("| `limits.…` | default | is | what it refuses is counted in |\n| --- | --- | --- | --- |\n")
	for _, k := range keys {
		counted := countedAs[k.name]
		if of, rate, ok := strings.Cut(k.name, "."); ok && of != "room" {
			counted = of + "_" + strings.TrimSuffix(rate, "_per_second")
		}
		switch {
		case strings.HasPrefix(counted, "fanfare_"):
			name, label, _ := strings.Cut(counted, `{reason="`)
			if !strings.Contains(labelsOf(all[name]), "`"+strings.TrimSuffix(label, `"}`)+"`") {
				t.Errorf("there is no %s", counted)
			}
		case !strings.Contains(labels, "`"+counted+"`"):
			t.Errorf("what limits.%s refuses is counted nowhere: %q", k.name, counted)
		default:
			labels = strings.Replace(labels, "`"+counted+"`", "", 1)
			counted = `fanfare_limit_refusals_total{limit="` + counted + `"}`
		}
		fmt.Fprintf(&table, "| `%s` | `%s` | %s | `%s` |\n", k.name, k.value, k.what, counted)
	}
	if left := strings.TrimSpace(strings.TrimPrefix(labels, "limit:")); left != "" {
		t.Errorf("no key is the limit of %s", left)
	}
	inBook(t, "limits", table.String())
}
