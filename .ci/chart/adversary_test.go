package charttest

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
)

// inFull are values that make each kind of object there is, with its optional parts.
var inFull = []string{
	`{secrets: {redisURL: {name: r}, redisSentinelPassword: {name: s}, redisCA: {name: ca}, apiKeys: {name: k}, jwks: {name: j}, tls: {name: t}},
		ingress: {enabled: true, hosts: [{host: a.example.com, paths: [{path: /, pathType: Prefix}]}]}, httpRoute: {enabled: true, parentRefs: [{name: g}]},
		networkPolicy: {enabled: true}, serviceMonitor: {enabled: true}, prometheusRule: {enabled: true}, dashboards: {enabled: true}, autoscaling: {enabled: true, by: keda}}`,
	`{redis: {embedded: {enabled: true}}, autoscaling: {enabled: true, by: connections}}`,
}

// each visits every value that the chart has, by its path.
func each(at []string, of values, visit func(path []string, value any)) {
	for _, key := range slices.Sorted(maps.Keys(of)) {
		path := append(slices.Clone(at), key)
		visit(path, of[key])
		if below, ok := of[key].(map[string]any); ok {
			each(path, below, visit)
		}
	}
}

// at puts a value below the path of keys.
func at(path []string, value any) values {
	for _, key := range slices.Backward(path) {
		value = map[string]any{key: value}
	}
	return value.(values)
}

// altogether lays what is put at each path over values, as far as the schema takes it.
func altogether(t *testing.T, over values, put func(path []string, value any) (values, bool)) values {
	t.Helper()
	c := load(t)
	v := over
	each(nil, load(t).Values, func(path []string, value any) {
		layer, ok := put(path, value)
		if !ok || path[0] == "config" && len(path) > 1 {
			return
		}
		next := merge(v, layer)
		all, err := chartutil.CoalesceValues(c, next)
		if err != nil {
			t.Fatal(err)
		}
		if chartutil.ValidateAgainstSchema(c, all) == nil {
			v = next
		}
	})
	return v
}

// A text that YAML takes for a number, as a key that is called by its date, stays one.
func TestTextsStayTexts(t *testing.T) {
	c, schema := load(t), scaledObjects(t)
	for _, text := range inFull {
		v := altogether(t, parse(t, text), func(path []string, value any) (values, bool) {
			_, is := value.(string)
			return at(path, "20260101"), is && (path[0] != "secrets" || !strings.Contains(text, "embedded")) // there is one Redis
		})
		for _, m := range mustRender(t, c, v) {
			if err := conforms(m, m.APIVersion+"/"+m.Kind, schema); err != nil {
				t.Errorf("%v: %v", m, err)
			}
		}
	}
	for _, name := range []string{"20260101-fanfare", "1e5", "true"} {
		if _, err := renderAs(c, name, values{"fullnameOverride": "chat"}); err != nil {
			t.Errorf("a release called %s: %v", name, err)
		}
	}
}

// A value that is taken away, as by --set a.b=null, is refused by the schema, or is
// not missed.
func TestAMissingValueIsToldOf(t *testing.T) {
	v := altogether(t, parse(t, inFull[0]), func(path []string, _ any) (values, bool) {
		return at(path, nil), path[len(path)-1] != "parentRefs" // a route without one is refused in words
	})
	if _, err := render(load(t), v); err != nil {
		t.Errorf("%v\n%v", err, v)
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	c := load(t)
	for text, why := range map[string]string{
		`{rollout: {maxSurge: -1}}`:                                                                      "/rollout/maxSurge",
		`{rollout: {maxSurge: some}}`:                                                                    "/rollout/maxSurge",
		`{rollout: {maxSurge: 0}, redis: {embedded: {enabled: true}}}`:                                   "no gateway could be replaced",
		`{rollout: {maxSurge: 0%}, redis: {embedded: {enabled: true}}}`:                                  "no gateway could be replaced",
		`{podDisruptionBudget: {maxUnavailable: -3}}`:                                                    "/podDisruptionBudget/maxUnavailable",
		`{resources: {limits: {cpu: lots}}}`:                                                             "/resources/limits/cpu",
		`{resources: {limits: {memory: ""}}}`:                                                            "/resources/limits/memory",
		`{fullnameOverride: My_Name}`:                                                                    "/fullnameOverride",
		`{config: {limits: {connections: -1}}}`:                                                          "/config/limits/connections",
		`{config: {limits: {message_bytes: lots}}}`:                                                      "/config/limits/message_bytes",
		`{config: {drain: {period: nonsense}}}`:                                                          "/config/drain/period",
		`{config: {drain: {period: -20s}}}`:                                                              "/config/drain/period",
		`{config: {redis: {mode: many}}}`:                                                                "/config/redis/mode",
		`{config: {log: {level: loud}}}`:                                                                 "/config/log/level",
		`{config: {rooms: [{match: a, slow: {policy: wait}}]}}`:                                          "/config/rooms/0/slow/policy",
		`{config: {rooms: [{match: a, histroy: {}}]}}`:                                                   "histroy",
		`{podLabels: {app.kubernetes.io/name: other}}`:                                                   "podLabels: app.kubernetes.io/name is the chart's",
		`{podAnnotations: {checksum/config: other}}`:                                                     "podAnnotations: checksum/config is the chart's",
		`{dashboards: {enabled: true, labels: {app.kubernetes.io/name: other}}}`:                         "dashboards.labels",
		`{extraEnv: [{name: FANFARE_DRAIN_PERIOD, value: 10m}]}`:                                         "config.drain.period",
		`{extraEnv: [{name: FANFARE_LISTEN, value: ":80"}]}`:                                             "service.port",
		`{secrets: {tls: {name: t}}, config: {tls: {key: /k}}}`:                                          "config.tls.key",
		`{config: {redis: {mode: sentinel, addresses: ["a:1"]}}}`:                                        "sentinel_master",
		`{config: {redis: {mode: cluster}}}`:                                                             "config.redis.mode",
		`{termination: {preStopSeconds: -1}}`:                                                            "/termination/preStopSeconds",
		`{replicas: -1}`:                                                                                 "/replicas",
		`{autoscaling: {enabled: true, minReplicas: 4, maxReplicas: 3}, secrets: {redisURL: {name: r}}}`: "minReplicas: 4 is more",
	} {
		if _, err := render(c, parse(t, text)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", text, err, why)
		}
	}
	for _, name := range []string{"1st", "a.b"} {
		if _, err := renderAs(c, name, values{}); err == nil || !strings.Contains(err.Error(), "fullnameOverride") {
			t.Errorf("a release called %s: %v", name, err)
		}
	}
}

// Two releases in one namespace have no object in common, and none has the other's pods.
func TestReleasesAreApart(t *testing.T) {
	c := load(t)
	owner := make(map[string]string)
	for _, name := range []string{"chat", "fanfare", "chat-fanfare-two", strings.Repeat("a", 53)} {
		for _, text := range inFull {
			all, err := renderAs(c, name, parse(t, text))
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range all {
				object := m.Kind + "/" + m.Name
				if other := owner[object]; other != "" && other != name {
					t.Errorf("%s is of %s and of %s", object, other, name)
				}
				owner[object] = name
				if got := m.Labels["app.kubernetes.io/instance"]; got != name {
					t.Errorf("%s of %s is labelled %q", object, name, got)
				}
			}
			connected(t, name, all)
		}
	}
}
