package charttest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// switches are the values that turn parts of the chart on or another way. Each is
// rendered with each other.
var switches = map[string]string{
	"nothing":        `{}`,
	"embedded redis": `{replicas: 3, redis: {embedded: {enabled: true}}}`,
	"external redis": `{replicas: 3, secrets: {redisURL: {name: r}}}`,
	"sentinel":       `{replicas: 3, secrets: {redisURL: {name: r}, redisSentinelPassword: {name: r}, redisCA: {name: ca}}, config: {redis: {mode: sentinel, addresses: ["s:26379"], sentinel_master: m}}}`,
	"cluster":        `{replicas: 3, secrets: {redisURL: {name: r}}, config: {redis: {mode: cluster, addresses: ["a:6379", "b:6379"]}}}`,
	"secrets":        `{secrets: {apiKeys: {name: k}, hs256: [{name: h, key: a}, {name: h, key: b}], publicKeys: [{name: p, key: p}], jwks: {name: j}, tls: {name: t}}}`,
	"traces":         `{secrets: {otlpHeaders: {name: o}}, config: {tracing: {sample: 0.001, endpoint: "https://otel.example.com:4318"}}}`,
	"ingress":        `{ingress: {enabled: true, className: nginx, annotations: {a/b: c}, hosts: [{host: a.example.com}, {host: b.example.com, paths: [{path: /ws, pathType: Exact}]}], tls: [{secretName: t, hosts: [a.example.com]}]}}`,
	"ingress of all": `{ingress: {enabled: true}}`,
	"route":          `{httpRoute: {enabled: true, parentRefs: [{name: g, namespace: gateways}], hostnames: [a.example.com], annotations: {a/b: c}}}`,
	"endless route":  `{httpRoute: {enabled: true, parentRefs: [{name: g}], timeout: null}}`,
	"by cpu":         `{secrets: {redisURL: {name: r}}, autoscaling: {enabled: true}, resources: {requests: {cpu: 1}}}`,
	"by connections": `{secrets: {redisURL: {name: r}}, autoscaling: {enabled: true, by: connections}}`,
	"by keda":        `{secrets: {redisURL: {name: r}}, autoscaling: {enabled: true, by: keda, keda: {authenticationRef: {name: a, kind: ClusterTriggerAuthentication}}}}`,
	"policy":         `{networkPolicy: {enabled: true}}`,
	"policy in full": `{networkPolicy: {enabled: true, publicFrom: [{ipBlock: {cidr: 10.0.0.0/8}}], adminFrom: [{namespaceSelector: {}}], redisTo: [{podSelector: {}}], redisPorts: [6380], egress: [{ports: [{port: 443}]}]}}`,
	"monitoring":     `{serviceMonitor: {enabled: true, labels: {a: b}}, prometheusRule: {enabled: true, labels: {a: b}}, dashboards: {enabled: true, annotations: {grafana_folder: f}}}`,
	"balancer":       `{service: {type: LoadBalancer, nodePort: 30080, externalTrafficPolicy: Local, loadBalancerSourceRanges: [10.0.0.0/8], annotations: {a/b: c}}, adminService: {annotations: {a/b: c}}}`,
	"node port":      `{service: {type: NodePort}}`,
	"bare":           `{podDisruptionBudget: {enabled: false}, serviceAccount: {create: false}, topologySpread: [], resources: {requests: null, limits: null}, termination: {preStopSeconds: 0}, rollout: {onConfigChange: never}}`,
	"of one's own":   `{fullnameOverride: other, serviceAccount: {name: sa, annotations: {a/b: c}}, image: {digest: "sha256:0123", pullSecrets: [{name: p}]}, test: {room: lobby}}`,
	"placement":      `{nodeSelector: {a: b}, tolerations: [{key: k, operator: Exists}], affinity: {nodeAffinity: {}}, priorityClassName: high, podLabels: {team: a}, podAnnotations: {a/b: c}, goMaxProcs: 4}`,
	"extras":         `{podSecurityContext: {sysctls: [{name: net.ipv4.tcp_keepalive_time, value: "60"}]}, extraEnv: [{name: FANFARE_ECHO, value: "true"}], extraVolumes: [{name: v, emptyDir: {}}], extraVolumeMounts: [{name: v, mountPath: /v}]}`,
	"slow drain":     `{config: {drain: {period: 2m30s}}, termination: {preStopSeconds: 30}, rollout: {minReadySeconds: 5, maxSurge: 25%, onConfigChange: always}, resources: {limits: {cpu: 1500m, memory: 4Gi}}}`,
}

// types are those of the API, by kind. KEDA's ScaledObject is held against its
// schema.
var types = map[string]func() any{
	"v1/ConfigMap":                            func() any { return new(corev1.ConfigMap) },
	"v1/Pod":                                  func() any { return new(corev1.Pod) },
	"v1/Service":                              func() any { return new(corev1.Service) },
	"v1/ServiceAccount":                       func() any { return new(corev1.ServiceAccount) },
	"apps/v1/Deployment":                      func() any { return new(appsv1.Deployment) },
	"autoscaling/v2/HorizontalPodAutoscaler":  func() any { return new(autoscalingv2.HorizontalPodAutoscaler) },
	"networking.k8s.io/v1/Ingress":            func() any { return new(networkingv1.Ingress) },
	"networking.k8s.io/v1/NetworkPolicy":      func() any { return new(networkingv1.NetworkPolicy) },
	"policy/v1/PodDisruptionBudget":           func() any { return new(policyv1.PodDisruptionBudget) },
	"gateway.networking.k8s.io/v1/HTTPRoute":  func() any { return new(gatewayv1.HTTPRoute) },
	"monitoring.coreos.com/v1/ServiceMonitor": func() any { return new(monitoringv1.ServiceMonitor) },
	"monitoring.coreos.com/v1/PrometheusRule": func() any { return new(monitoringv1.PrometheusRule) },
}

// permutations are what each pair of switches and each example renders.
func permutations(t *testing.T) map[string][]*manifest {
	t.Helper()
	permute.Do(func() {
		c := load(t)
		permuted = make(map[string][]*manifest)
		for name, v := range pairs(t) {
			found, err := render(c, v)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			permuted[name] = found
		}
	})
	return permuted
}

var (
	permute  sync.Once // it takes longer than all that is made of it
	permuted map[string][]*manifest
)

func pairs(t *testing.T) map[string]values {
	t.Helper()
	all := make(map[string]values)
	names := slices.Sorted(maps.Keys(switches))
	for i, a := range names {
		for _, b := range names[i+1:] {
			v := merge(parse(t, switches[a]), parse(t, switches[b]))
			if strings.Contains(a+b, "embedded") {
				v = withoutExternal(v)
			}
			all[a+" + "+b] = v
		}
	}
	for name, v := range examples(t) {
		all[name] = v
	}
	return all
}

// withoutExternal leaves the embedded Redis as the only one.
func withoutExternal(v values) values {
	for _, path := range [][]string{{"secrets", "redisURL"}, {"secrets", "redisCA"}, {"config", "redis"}} {
		if section, ok := v[path[0]].(map[string]any); ok {
			delete(section, path[1])
		}
	}
	return v
}

func TestEveryObjectIsOneOfTheAPI(t *testing.T) {
	schema := scaledObjects(t)
	seen := make(map[string]int)
	for name, found := range permutations(t) {
		for _, m := range found {
			kind := m.APIVersion + "/" + m.Kind
			seen[kind]++
			if err := conforms(m, kind, schema); err != nil {
				t.Errorf("%s: %v: %v\n%s", name, m, err, m.text)
			}
		}
		connected(t, name, found)
	}
	for kind := range types {
		if seen[kind] == 0 {
			t.Errorf("no %s was rendered", kind)
		}
	}
}

// conforms tells what of an object its kind does not have.
func conforms(m *manifest, kind string, schema validator) error {
	for _, problem := range validation.IsDNS1123Subdomain(m.Name) {
		return fmt.Errorf("its name: %s", problem)
	}
	for key, value := range m.Labels {
		if problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(problems) > 0 {
			return fmt.Errorf("its label %s: %s", key, problems[0])
		}
	}
	if kind == "keda.sh/v1alpha1/ScaledObject" {
		return schema.validate(m)
	}
	object, ok := types[kind]
	if !ok {
		return fmt.Errorf("no kind that this test knows: %s", kind)
	}
	return m.into(object())
}

// connected tells of objects that name others, or ports or labels of others, that
// are not there.
func connected(t *testing.T, name string, all []*manifest) {
	t.Helper()
	pods := make(map[string]labels.Set)
	ports := make(map[string][]string)
	names := make(map[string]bool)
	for _, m := range all {
		names[m.Kind+"/"+m.Name] = true
		if m.Kind != "Deployment" {
			continue
		}
		d := one[appsv1.Deployment](t, all, "Deployment", m.Name)
		pods[m.Name] = d.Spec.Template.Labels
		if !labels.SelectorFromSet(d.Spec.Selector.MatchLabels).Matches(labels.Set(d.Spec.Template.Labels)) {
			t.Errorf("%s: %v selects other pods than its own", name, m)
		}
		for _, p := range d.Spec.Template.Spec.Containers[0].Ports {
			ports[m.Name] = append(ports[m.Name], p.Name)
		}
	}
	selected := func(m *manifest, selector map[string]string) (owner string) {
		for deployment, set := range pods {
			if labels.SelectorFromSet(selector).Matches(set) {
				if owner != "" {
					t.Errorf("%s: %v selects pods of %s and %s", name, m, owner, deployment)
				}
				owner = deployment
			}
		}
		if owner == "" {
			t.Errorf("%s: %v selects no pod", name, m)
		}
		return owner
	}
	for _, m := range all {
		switch m.Kind {
		case "Service":
			s := one[corev1.Service](t, all, m.Kind, m.Name)
			owner := selected(m, s.Spec.Selector)
			for _, p := range s.Spec.Ports {
				if !slices.Contains(ports[owner], p.TargetPort.String()) {
					t.Errorf("%s: %v: %s has no port %s", name, m, owner, p.TargetPort.String())
				}
			}
		case "PodDisruptionBudget":
			selected(m, one[policyv1.PodDisruptionBudget](t, all, m.Kind, m.Name).Spec.Selector.MatchLabels)
		case "NetworkPolicy":
			selected(m, one[networkingv1.NetworkPolicy](t, all, m.Kind, m.Name).Spec.PodSelector.MatchLabels)
		case "HorizontalPodAutoscaler":
			to := one[autoscalingv2.HorizontalPodAutoscaler](t, all, m.Kind, m.Name).Spec.ScaleTargetRef
			if !names[to.Kind+"/"+to.Name] {
				t.Errorf("%s: %v scales %v, which is not there", name, m, to)
			}
		case "ServiceMonitor":
			monitored(t, name, all, one[monitoringv1.ServiceMonitor](t, all, m.Kind, m.Name))
		}
	}
}

// monitored tells of a ServiceMonitor that does not select exactly one Service.
func monitored(t *testing.T, name string, all []*manifest, monitor *monitoringv1.ServiceMonitor) {
	t.Helper()
	var found []string
	for _, m := range all {
		if m.Kind == "Service" && labels.SelectorFromSet(monitor.Spec.Selector.MatchLabels).Matches(labels.Set(m.Labels)) {
			found = append(found, one[corev1.Service](t, all, "Service", m.Name).Spec.Ports[0].Name)
		}
	}
	if !slices.Equal(found, []string{monitor.Spec.Endpoints[0].Port}) {
		t.Errorf("%s: the ServiceMonitor finds ports %v", name, found)
	}
}

// The profile is evaluated by the code that admits pods to a namespace.
func TestEveryPodFitsTheRestrictedProfile(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	pods := 0
	for name, found := range permutations(t) {
		for _, m := range found {
			meta, spec := podOf(t, m)
			if spec == nil {
				continue
			}
			pods++
			if result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, meta, spec)); !result.Allowed {
				t.Errorf("%s: %v: %s", name, m, result.ForbiddenDetail())
			}
			if token := spec.AutomountServiceAccountToken; token == nil || *token {
				t.Errorf("%s: %v has a token", name, m)
			}
			for _, container := range spec.Containers {
				if own := container.SecurityContext.ReadOnlyRootFilesystem; own == nil || !*own {
					t.Errorf("%s: %v: %s may write to its root", name, m, container.Name)
				}
			}
		}
	}
	if pods == 0 {
		t.Error("no pod was looked at")
	}
}

// podOf is the pod of an object that has one.
func podOf(t *testing.T, m *manifest) (*metav1.ObjectMeta, *corev1.PodSpec) {
	t.Helper()
	switch m.Kind {
	case "Deployment":
		var d appsv1.Deployment
		if err := m.into(&d); err != nil {
			t.Fatalf("%v: %v", m, err)
		}
		return &d.Spec.Template.ObjectMeta, &d.Spec.Template.Spec
	case "Pod":
		var p corev1.Pod
		if err := m.into(&p); err != nil {
			t.Fatalf("%v: %v", m, err)
		}
		return &p.ObjectMeta, &p.Spec
	}
	return nil, nil
}
