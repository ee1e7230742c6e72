{{/* Not empty where there is a Redis that gateways share. */}}
{{- define "fanfare.shared" -}}
{{- $redis := .Values.config.redis | default dict -}}
{{- if or .Values.redis.embedded.enabled .Values.secrets.redisURL.name $redis.addresses -}}yes{{- end -}}
{{- end -}}

{{- define "fanfare.drainSeconds" -}}
{{- include "fanfare.seconds" (dig "drain" "period" "20s" .Values.config) -}}
{{- end -}}

{{/* The least grace: what is still there when the drain period ends is closed within 5 seconds more. */}}
{{- define "fanfare.leastGrace" -}}
{{- add .Values.termination.preStopSeconds (include "fanfare.drainSeconds" .) 5 -}}
{{- end -}}

{{/* 10 seconds beyond the least: for the last words to Redis, which may be away. */}}
{{- define "fanfare.grace" -}}
{{- if kindIs "invalid" .Values.termination.gracePeriodSeconds -}}
{{- add (include "fanfare.leastGrace" .) 10 -}}
{{- else -}}
{{- int64 .Values.termination.gracePeriodSeconds -}}
{{- end -}}
{{- end -}}

{{/* The paths of secrets, as keys of the configuration. */}}
{{- define "fanfare.secretPaths" -}}
{{- $s := .Values.secrets -}}
{{- $at := "/etc/fanfare/secrets" -}}
{{- if $s.apiKeys.name }}
api: { keys_file: {{ $at }}/api-keys.yaml }
{{- end }}
{{- if or $s.hs256 $s.publicKeys $s.jwks.name }}
auth:
  {{- if $s.hs256 }}
  hs256_secret_file: [{{ range $i, $_ := $s.hs256 }}{{ if $i }}, {{ end }}{{ $at }}/hs256-{{ $i }}{{ end }}]
  {{- end }}
  {{- if $s.publicKeys }}
  public_key_files: [{{ range $i, $_ := $s.publicKeys }}{{ if $i }}, {{ end }}{{ $at }}/public-key-{{ $i }}.pem{{ end }}]
  {{- end }}
  {{- if $s.jwks.name }}
  jwks_file: {{ $at }}/jwks.json
  {{- end }}
{{- end }}
{{- if $s.redisCA.name }}
redis: { ca_file: {{ $at }}/redis-ca.pem }
{{- end }}
{{- if $s.tls.name }}
tls: { cert: {{ $at }}/tls.crt, key: {{ $at }}/tls.key }
{{- end }}
{{- end -}}

{{/* What follows from the memory limit. The ratios are those of the defaults in a container of 1 GiB. */}}
{{- define "fanfare.memory" -}}
{{- with dig "limits" "memory" "" .Values.resources -}}
{{- $bytes := include "fanfare.bytes" . | int64 -}}
limits:
  memory_bytes: {{ mulf $bytes 0.8 | int64 }}
  queued_bytes: {{ min 536870912 (div $bytes 2) }}
memory:
  bytes: {{ min 268435456 (div $bytes 4) }}
{{- end -}}
{{- end -}}

{{/* The whole configuration, as YAML. */}}
{{- define "fanfare.config" -}}
{{- $config := dict "listen" ":8080" "admin" (dict "listen" ":9090") -}}
{{- $config = mergeOverwrite $config (include "fanfare.memory" . | fromYaml) (include "fanfare.secretPaths" . | fromYaml) -}}
{{- if .Values.redis.embedded.enabled -}}
{{- $config = mergeOverwrite $config (dict "redis" (dict "url" (printf "redis://%s-redis:6379" (include "fanfare.name" .)))) -}}
{{- end -}}
{{- mergeOverwrite $config (deepCopy .Values.config) | toYaml -}}
{{- end -}}

{{/*
What of the configuration a gateway cannot take over while it runs: everything but the keys that `fanfare config
defaults` calls live.
*/}}
{{- define "fanfare.fixedConfig" -}}
{{- $config := include "fanfare.config" . | fromYaml -}}
{{- range list "limits" "rooms" "auth" "origins" "origin_required" "trusted_proxies" "tls" "accept_rate" -}}
{{- $_ := unset $config . -}}
{{- end -}}
{{- with $config.log }}{{ $_ := unset . "level" }}{{ end -}}
{{- with $config.api }}{{ $_ := unset . "keys_file" }}{{ end -}}
{{- if not $config.api }}{{ $_ := unset $config "api" }}{{ end -}}
{{- toYaml $config -}}
{{- end -}}
