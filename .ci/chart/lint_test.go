package charttest

import (
	"testing"

	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
)

// What `helm lint --strict` does: warnings are errors.
func TestTheLinterFindsNothing(t *testing.T) {
	all := examples(t)
	all["values"] = values{}
	for name, v := range all {
		t.Run(name, func(t *testing.T) {
			for _, m := range lint.All(chartPath, v, namespace, true).Messages {
				if m.Severity >= support.WarningSev {
					t.Error(m)
				}
			}
		})
	}
}
