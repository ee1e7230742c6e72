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
  (list $secrets.redisCA.name "redis" "ca_file" "secrets.redisCA") (list $secrets.tls.name "tls" "cert" "secrets.tls") -}}
{{- if and (index . 0) (dig (index . 1) (index . 2) "" $config) -}}
{{- fail (printf "%s sets config.%s.%s, which is set too: use one of the two" (index . 3) (index . 1) (index . 2)) -}}
{{- end -}}
{{- end -}}
{{- $grace := include "fanfare.grace" . | int64 -}}
{{- $least := include "fanfare.leastGrace" . | int64 -}}
{{- if lt $grace $least -}}
{{- fail (printf "termination.gracePeriodSeconds: %d is shorter than the drain: preStop (%d s), config.drain.period (%s s) and 5 s take %d"
  $grace (int64 .Values.termination.preStopSeconds) (include "fanfare.drainSeconds" .) $least) -}}
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
