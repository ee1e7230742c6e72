package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../../"

func TestTheFilesAreWhatTheyAreMadeOf(t *testing.T) {
	want, err := files()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range want {
		if got, err := os.ReadFile(filepath.Join(root, folder, name)); err != nil || string(got) != text {
			t.Errorf("%s/%s is not what internal/dashboards says: make dashboards writes it (%v)", folder, name, err)
		}
	}
	there, err := filepath.Glob(filepath.Join(root, folder, "*"))
	if err != nil || len(there) != len(want) {
		t.Errorf("%s has %v (%v), want %d files", folder, there, err, len(want))
	}
}

func TestTheFilesAreWritten(t *testing.T) {
	there := filepath.Join(t.TempDir(), "new")
	if err := write(there); err != nil {
		t.Fatal(err)
	}
	want, _ := files()
	for name, text := range want {
		if got, err := os.ReadFile(filepath.Join(there, name)); err != nil || string(got) != text {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each panel says what it shows, in which unit, and what is to be done; and each
// alert is seen in one.
func TestEveryPanelSaysWhatToDo(t *testing.T) {
	text, err := os.ReadFile(root + "deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)- alert: (\w+)`).FindAllStringSubmatch(string(text), -1) {
		shown[m[1]] = false
	}
	for _, p := range pages {
		for _, r := range p.rows {
			for _, x := range r.panels {
				if x.title == "" || !strings.HasSuffix(x.shows, ".") || !strings.ContainsAny(x.todo[max(0, len(x.todo)-1):], ".?") || x.unit == "" || len(x.queries) == 0 {
					t.Errorf("%s, %q: something is missing", p.name, x.title)
				}
				if _, there := shown[x.alert]; !there && x.alert != "" {
					t.Errorf("%s, %q: there is no alert %s", p.name, x.title, x.alert)
				}
				shown[x.alert] = true
			}
		}
	}
	for alert, is := range shown {
		if !is {
			t.Errorf("no panel belongs to %s", alert)
		}
	}
}

// What is not restricted to the gateways that are chosen would show all of them.
func TestEveryQueryIsOfWhatIsChosen(t *testing.T) {
	series := regexp.MustCompile(`\b(fanfare|process|redis)_\w+(\{[^}]*\})?`)
	for _, p := range pages {
		for _, r := range p.rows {
			for _, x := range r.panels {
				for _, q := range x.queries {
					restrictedTo(t, x.title, series.FindAllString(expand(q.expr), -1))
				}
			}
		}
	}
	for _, a := range annotations {
		restrictedTo(t, a.name, series.FindAllString(expand(a.expr), -1))
	}
}

func restrictedTo(t *testing.T, title string, series []string) {
	t.Helper()
	for _, s := range series {
		want := "{" + chosen
		if strings.HasPrefix(s, "redis_") {
			want = `{instance=~"$redis"`
		}
		if !strings.Contains(s, want) {
			t.Errorf("%q asks for %s", title, s)
		}
	}
	if len(series) == 0 {
		t.Errorf("%q asks for nothing", title)
	}
}
