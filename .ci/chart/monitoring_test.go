package charttest

import (
	"path/filepath"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// What Grafana and Prometheus get is what lies in deploy/, not a byte changed by
// the templates: both are full of braces.
func TestDashboardsAndAlertsArriveAsTheyAre(t *testing.T) {
	all := mustRender(t, load(t), parse(t, `{prometheusRule: {enabled: true}, dashboards: {enabled: true, annotations: {grafana_folder: Live}}}`))
	dashboards := glob(t, chartPath+"/files/dashboards/*.json")
	if want := glob(t, repository+"/deploy/grafana/dashboards/*.json"); len(want) == 0 || len(dashboards) != len(want) {
		t.Errorf("the chart has the dashboards %q, deploy/ has %q", dashboards, want)
	}
	for _, path := range dashboards {
		name := filepath.Base(path)
		dashboard := one[corev1.ConfigMap](t, all, "ConfigMap", "live-fanfare-dashboard-"+strings.TrimSuffix(name, ".json"))
		if got, want := dashboard.Data[name], strings.TrimSpace(read(t, path)); got != want {
			t.Errorf("%s arrives as\n%s", name, got)
		}
		if dashboard.Labels["grafana_dashboard"] != "1" || dashboard.Annotations["grafana_folder"] != "Live" {
			t.Errorf("%s is not found by the sidecar: %v %v", name, dashboard.Labels, dashboard.Annotations)
		}
	}
	for _, path := range glob(t, chartPath+"/files/alerts.yml") {
		var want monitoringv1.PrometheusRuleSpec
		if err := yaml.UnmarshalStrict([]byte(read(t, path)), &want); err != nil {
			t.Fatal(err)
		}
		rule := one[monitoringv1.PrometheusRule](t, all, "PrometheusRule", "")
		if got, _ := yaml.Marshal(rule.Spec); len(want.Groups) == 0 || string(got) != asYAML(t, want) {
			t.Errorf("the alerts arrive as\n%s", got)
		}
	}
}

func asYAML(t *testing.T, v any) string {
	t.Helper()
	text, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
