package charttest

import (
	"os"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// deploy/loadtest's Jobs are what the API takes, fit together, and say what the
// load generator understands.
func TestLoadtestJobsAreTakenByTheAPI(t *testing.T) {
	text, err := os.ReadFile("../../deploy/loadtest/kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var service corev1.Service
	var agents, lead batchv1.Job
	documents := strings.Split(string(text), "\n---\n")
	if len(documents) != 3 {
		t.Fatalf("%d documents, want a Service and two Jobs", len(documents))
	}
	for i, into := range []any{&service, &agents, &lead} {
		if err := yaml.UnmarshalStrict([]byte(documents[i]), into); err != nil {
			t.Fatalf("document %d: %v", i+1, err)
		}
	}
	for key, value := range service.Spec.Selector {
		if agents.Spec.Template.Labels[key] != value {
			t.Errorf("the service selects %s=%s, which the agents' pods have not", key, value)
		}
	}
	port := agents.Spec.Template.Spec.Containers[0].Ports[0]
	if service.Spec.ClusterIP != "None" || service.Spec.Ports[0].Port != port.ContainerPort {
		t.Errorf("the service %+v does not name the agents one by one at port %d", service.Spec, port.ContainerPort)
	}
	args := strings.Join(lead.Spec.Template.Spec.Containers[0].Args, " ")
	for _, want := range []string{"--agents=" + service.Name + ":7700", "--await-agents=3", "--key-file=/key/key"} {
		if !strings.Contains(args, want) {
			t.Errorf("the lead's arguments %q lack %s", args, want)
		}
	}
	if *agents.Spec.Completions != 3 || *agents.Spec.Parallelism != 3 {
		t.Errorf("%d agents at a time of %d, and the lead awaits 3", *agents.Spec.Parallelism, *agents.Spec.Completions)
	}
	for _, job := range []*batchv1.Job{&agents, &lead} {
		pod := job.Spec.Template.Spec
		if *job.Spec.BackoffLimit != 0 || pod.RestartPolicy != corev1.RestartPolicyNever {
			t.Errorf("%s would be run again until it finds nothing wrong", job.Name)
		}
		if pod.Volumes[0].Secret.SecretName != "loadtest-key" || pod.Containers[0].VolumeMounts[0].MountPath != "/key" {
			t.Errorf("%s has no key", job.Name)
		}
	}
}
