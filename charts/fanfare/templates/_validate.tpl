{{/* Refuses what would install and then not work. */}}
{{- define "fanfare.validate" -}}
{{- $config := .Values.config -}}
{{- $secrets := .Values.secrets -}}
{{- include "fanfare.plainKeys" (dict "at" "config" "of" $config) -}}
{{- if or (hasKey $config "listen") (hasKey ($config.admin | default dict) "listen") -}}
{{- fail "config.listen and config.admin.listen are the chart's: set service.port and adminService.port" -}}
{{- end -}}
{{- if or (dig "redis" "url" "" $config) (dig "redis" "sentinel_password" "" $config) -}}
{{- fail "config.redis.url and config.redis.sentinel_password may hold a password: name a Secret in secrets.redisURL and secrets.redisSentinelPassword" -}}
{{- end -}}
{{- $mode := dig "redis" "mode" "standalone" $config -}}
{{- if and (ne $mode "standalone") (not $secrets.redisURL.name) (not (dig "redis" "addresses" "" $config)) -}}
{{- fail (printf "config.redis.mode: %s needs secrets.redisURL or config.redis.addresses" $mode) -}}
{{- end -}}
{{- if and (eq $mode "sentinel") (not (dig "redis" "sentinel_master" "" $config)) -}}
{{- fail "config.redis.mode: sentinel needs config.redis.sentinel_master" -}}
{{- end -}}
{{- if and .Values.redis.embedded.enabled (or $secrets.redisURL.name (dig "redis" "addresses" "" $config)) -}}
{{- fail "redis.embedded.enabled goes with neither secrets.redisURL nor config.redis.addresses: there is one Redis" -}}
{{- end -}}
{{- if not (include "fanfare.shared" .) -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) -}}
{{- fail "more than one gateway needs a Redis that they share: secrets.redisURL, config.redis.addresses, or redis.embedded.enabled for trying out" -}}
{{- end -}}
{{- end -}}
{{- range list (list $secrets.apiKeys.name "api" "keys_file" "secrets.apiKeys") (list $secrets.hs256 "auth" "hs256_secret_file" "secrets.hs256")
  (list $secrets.publicKeys "auth" "public_key_files" "secrets.publicKeys") (list $secrets.jwks.name "auth" "jwks_file" "secrets.jwks")
  (list $secrets.redisCA.name "redis" "ca_file" "secrets.redisCA") (list $secrets.tls.name "tls" "cert" "secrets.tls") (list $secrets.tls.name "tls" "key" "secrets.tls") -}}
{{- if and (index . 0) (dig (index . 1) (index . 2) "" $config) -}}
{{- fail (printf "%s sets config.%s.%s, which is set too: use one of the two" (index . 3) (index . 1) (index . 2)) -}}
{{- end -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "fanfare.name" . | lower)) -}}
{{- fail (printf "no Service can be called %q: set fullnameOverride to a name of a-z, 0-9 and -, with a letter first" (include "fanfare.name" .)) -}}
{{- end -}}
{{- include "fanfare.ownWords" . -}}
{{- $grace := include "fanfare.grace" . | int64 -}}
{{- $least := include "fanfare.leastGrace" . | int64 -}}
{{- if lt $grace $least -}}
{{- fail (printf "termination.gracePeriodSeconds: %d is shorter than the drain: preStop (%d s), config.drain.period (%s s) and 5 s take %d"
  $grace (int64 .Values.termination.preStopSeconds) (include "fanfare.drainSeconds" .) $least) -}}
{{- end -}}
{{- if and (include "fanfare.shared" .) (eq (toString .Values.rollout.maxSurge | trimSuffix "%") "0") (eq (toString .Values.rollout.maxUnavailable | trimSuffix "%") "0") -}}
{{- fail "rollout.maxSurge and rollout.maxUnavailable are both 0: no gateway could be replaced" -}}
{{- end -}}
{{- if .Values.autoscaling.enabled -}}
{{- include "fanfare.validateScaling" . -}}
{{- end -}}
{{- end -}}

{{- define "fanfare.validateScaling" -}}
{{- $a := .Values.autoscaling -}}
{{- if gt (int $a.minReplicas) (int $a.maxReplicas) -}}
{{- fail (printf "autoscaling.minReplicas: %d is more than maxReplicas, %d" (int $a.minReplicas) (int $a.maxReplicas)) -}}
{{- end -}}
{{- if and (eq $a.by "cpu") (not (dig "requests" "cpu" "" .Values.resources)) -}}
{{- fail "autoscaling.by cpu is a share of resources.requests.cpu, which is not set" -}}
{{- end -}}
{{- end -}}

{{/* What the chart says itself cannot be said otherwise: a key would stand there twice, or what follows from it be wrong. */}}
{{- define "fanfare.ownWords" -}}
{{- $selector := include "fanfare.selector" (dict "root" . "component" "gateway") | fromYaml -}}
{{- $labels := include "fanfare.labels" (dict "root" . "component" "gateway") | fromYaml -}}
{{- $annotations := dict "checksum/config" "" "kubectl.kubernetes.io/default-container" "" -}}
{{- range list (list "podLabels" .Values.podLabels $selector) (list "podAnnotations" .Values.podAnnotations $annotations) (list "serviceMonitor.labels" .Values.serviceMonitor.labels $labels)
  (list "prometheusRule.labels" .Values.prometheusRule.labels $labels) (list "dashboards.labels" .Values.dashboards.labels $labels) -}}
{{- $at := index . 0 -}}
{{- $own := index . 2 -}}
{{- range $key, $_ := index . 1 -}}
{{- if hasKey $own $key -}}
{{- fail (printf "%s: %s is the chart's" $at $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $keys := dict "FANFARE_LISTEN" "service.port" "FANFARE_ADMIN_LISTEN" "adminService.port" "FANFARE_CONFIG" "config" "FANFARE_DRAIN_PERIOD" "config.drain.period" -}}
{{- range .Values.extraEnv -}}
{{- if hasKey $keys (.name | default "") -}}
{{- fail (printf "extraEnv: %s is the chart's: set %s" .name (get $keys .name)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Fanfare takes a.b too; here it would go beside a: {b}, and not be seen. */}}
{{- define "fanfare.plainKeys" -}}
{{- $at := .at -}}
{{- range $key, $value := .of -}}
{{- if contains "." $key -}}
{{- fail (printf "%s: write the key %q nested, not with dots" $at $key) -}}
{{- end -}}
{{- if kindIs "map" $value -}}
{{- include "fanfare.plainKeys" (dict "at" (printf "%s.%s" $at $key) "of" $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
