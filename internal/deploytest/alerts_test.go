package deploytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func unmarshal(t *testing.T, name string, v any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, name)), v); err != nil {
		t.Fatal(err)
	}
}

const alertsTest = "deploy/prometheus/alerts_test.yml"

func TestAlertsFireWhenTheyShould(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", alerts}, {"test", "rules", alertsTest}} {
		cmd := exec.Command(program(t, "promtool"), args...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// Each alert is seen firing and seen silent, and the operator's book has a paragraph on it.
func TestEveryAlertIsTested(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations struct{ Runbook string }
			}
		}
	}
	var tests struct {
		Tests []struct {
			Cases []struct {
				Alert    string `yaml:"alertname"`
				Expected []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	unmarshal(t, alerts, &rules)
	unmarshal(t, alertsTest, &tests)
	fires, silent := make(map[string]bool), make(map[string]bool)
	for _, test := range tests.Tests {
		for _, c := range test.Cases {
			fires[c.Alert] = fires[c.Alert] || len(c.Expected) > 0
			silent[c.Alert] = silent[c.Alert] || len(c.Expected) == 0
		}
	}
	exported, runbook := exportedSeries(t), read(t, "deploy/README.md")
	for _, rule := range rules.Groups[0].Rules {
		if !fires[rule.Alert] || !silent[rule.Alert] {
			t.Errorf("%s is seen firing: %v, silent: %v", rule.Alert, fires[rule.Alert], silent[rule.Alert])
		}
		if link := "deploy/README.md#" + strings.ToLower(rule.Alert); rule.Annotations.Runbook != link || !strings.Contains(runbook, "\n### "+rule.Alert+"\n") {
			t.Errorf("%s has no paragraph at %s", rule.Alert, link)
		}
		for _, series := range regexp.MustCompile(`\bfanfare_\w+`).FindAllString(rule.Expr, -1) {
			if !exported[regexp.MustCompile("_(bucket|sum)$").ReplaceAllString(series, "")] {
				t.Errorf("%s asks for %s, which no gateway has", rule.Alert, series)
			}
		}
	}
}

// exportedSeries are the names that internal/metrics gives.
func exportedSeries(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "internal/metrics/*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	all := make(map[string]bool)
	for _, file := range files {
		name, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"(fanfare_\w+)"`).FindAllStringSubmatch(read(t, name), -1) {
			all[m[1]] = true
		}
	}
	return all
}
