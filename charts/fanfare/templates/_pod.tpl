{{/* The restricted profile of Pod Security Standards, for a container. */}}
{{- define "fanfare.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "fanfare.podSecurity" -}}
{{- $restricted := dict "runAsNonRoot" true "runAsUser" .Values.runAsUser "runAsGroup" .Values.runAsUser "fsGroup" .Values.runAsUser
  "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- mergeOverwrite $restricted (deepCopy (.Values.podSecurityContext | default dict)) | toYaml -}}
{{- end -}}

{{/* One volume of all secrets that are files. Kubernetes replaces what changes. */}}
{{- define "fanfare.secretSources" -}}
{{- $s := .Values.secrets -}}
{{- $files := list -}}
{{- if $s.apiKeys.name }}{{ $files = append $files (list $s.apiKeys.name $s.apiKeys.key "api-keys.yaml") }}{{ end -}}
{{- range $i, $secret := $s.hs256 }}{{ $files = append $files (list $secret.name $secret.key (printf "hs256-%d" $i)) }}{{ end -}}
{{- range $i, $secret := $s.publicKeys }}{{ $files = append $files (list $secret.name $secret.key (printf "public-key-%d.pem" $i)) }}{{ end -}}
{{- if $s.jwks.name }}{{ $files = append $files (list $s.jwks.name $s.jwks.key "jwks.json") }}{{ end -}}
{{- if $s.redisCA.name }}{{ $files = append $files (list $s.redisCA.name $s.redisCA.key "redis-ca.pem") }}{{ end -}}
{{- if $s.tls.name }}{{ $files = concat $files (list (list $s.tls.name "tls.crt" "tls.crt") (list $s.tls.name "tls.key" "tls.key")) }}{{ end -}}
{{- range $files }}
- secret:
    name: {{ index . 0 | quote }}
    items:
      - key: {{ index . 1 | quote }}
        path: {{ index . 2 }}
{{- end }}
{{- end -}}

{{- define "fanfare.env" -}}
- name: FANFARE_CONFIG
  value: /etc/fanfare/config/fanfare.yaml
{{- with dig "limits" "memory" "" .Values.resources }}
- name: GOMEMLIMIT
  value: {{ printf "%dMiB" (div (mulf (include "fanfare.bytes" . | int64) 0.9 | int64) 1048576) }}
{{- end }}
{{- if dig "limits" "cpu" "" .Values.resources }}
- name: GOMAXPROCS
  valueFrom:
    resourceFieldRef:
      containerName: fanfare
      resource: limits.cpu
      divisor: "1"
{{- else if .Values.goMaxProcs }}
- name: GOMAXPROCS
  value: {{ .Values.goMaxProcs | quote }}
{{- end }}
{{- with .Values.secrets.redisURL }}
{{- if .name }}
- name: FANFARE_REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- with .Values.secrets.redisSentinelPassword }}
{{- if .name }}
- name: FANFARE_REDIS_SENTINEL_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- with .Values.secrets.otlpHeaders }}
{{- if .name }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
