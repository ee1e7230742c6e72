{{/* Seconds of a duration as Go writes it, such as 1m30s, rounded up. */}}
{{- define "fanfare.seconds" -}}
{{- $factors := dict "h" 3600 "m" 60 "s" 1 "ms" 0.001 "us" 0.000001 "µs" 0.000001 "ns" 0.000000001 -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ns|us|µs|ms|h|m|s)" (toString .) -1 -}}
{{- $unit := regexFind "[^0-9.]+$" . -}}
{{- $sum = addf $sum (mulf (trimSuffix $unit . | float64) (get $factors $unit)) -}}
{{- end -}}
{{- ceil $sum | int64 -}}
{{- end -}}

{{/* Bytes of a quantity as Kubernetes writes it, such as 1.5Gi. */}}
{{- define "fanfare.bytes" -}}
{{- $factors := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- if kindIs "string" . -}}
{{- $unit := regexFind "[^0-9.]*$" . -}}
{{- if not (hasKey $factors $unit) -}}
{{- fail (printf "resources.limits.memory: %q is no quantity such as 512Mi or 2Gi" .) -}}
{{- end -}}
{{- mulf (trimSuffix $unit . | float64) (get $factors $unit) | int64 -}}
{{- else -}}
{{- int64 . -}}
{{- end -}}
{{- end -}}
