{{/* Quantities of Kubernetes as numbers. */}}

{{/* Of a text like 1.5Gi, 500m or 2, or a number; nothing when there is none. */}}
{{- define "gputel.quantity" -}}
{{- if not (kindIs "invalid" .) -}}
{{- $text := kindIs "string" . | ternary . (toString (float64 .)) -}}
{{- if kindIs "string" . -}}
{{- $number := regexFind "^[0-9.]+" $text -}}
{{- $unit := trimPrefix $number $text -}}
{{- $units := dict "" 1.0 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0 -}}
{{- mulf (float64 $number) (get $units $unit) -}}
{{- else -}}
{{- $text -}}
{{- end -}}
{{- end -}}
{{- end -}}
