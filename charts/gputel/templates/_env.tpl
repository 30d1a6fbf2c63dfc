{{/* Environment of the roles: docs/configuration.md has every variable. */}}

{{/*
All variables of a role's container. A name is there once: extraEnv of the role replaces that of all
roles, and both replace the chart's own.
*/}}
{{- define "gputel.allEnv" -}}
{{- $own := include "gputel.env" . | fromYamlArray -}}
{{- $own = concat $own (include (printf "gputel.%s.env" .component) . | fromYamlArray) -}}
{{- include "gputel.envOnce" (concat $own (include "gputel.extraEnv" . | fromYamlArray)) -}}
{{- end -}}

{{- define "gputel.extraEnv" -}}
{{- tpl (toYaml (concat (.root.Values.extraEnv | default list) (.values.extraEnv | default list))) .root -}}
{{- end -}}

{{- define "gputel.extraEnvFrom" -}}
{{- with concat (.root.Values.extraEnvFrom | default list) (.values.extraEnvFrom | default list) -}}
envFrom:
  {{- tpl (toYaml .) $.root | nindent 2 }}
{{- end -}}
{{- end -}}

{{/*
A list of variables in YAML: of each name the last, in the place of the first, since one may name
those before it, $(LIKE_THIS).
*/}}
{{- define "gputel.envOnce" -}}
{{- $last := dict -}}
{{- $names := list -}}
{{- range . -}}
{{- $_ := set $last .name . -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- $kept := list -}}
{{- range uniq $names -}}
{{- $kept = append $kept (get $last .) -}}
{{- end -}}
{{- toYaml $kept -}}
{{- end -}}

{{/* One variable, when there is something to say: (list NAME VALUE). */}}
{{- define "gputel.var" -}}
{{- if ne (toString (index . 1 | default "")) "" }}
- name: {{ index . 0 }}
  value: {{ index . 1 | toString | quote }}
{{- end }}
{{- end -}}

{{/* One variable from a Secret: (list NAME SECRET KEY). */}}
{{- define "gputel.secretVar" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 | quote }}
      key: {{ index . 2 | quote }}
{{- end -}}

{{- define "gputel.env" -}}
{{- $values := .root.Values -}}
- name: GPUTEL_HOST
  value: {{ $values.listenAddress | quote }}
- name: GPUTEL_DATA_DIR
  value: /data
- name: GPUTEL_LOG_LEVEL
  value: {{ $values.logLevel | quote }}
- name: GPUTEL_LOG_FORMAT
  value: {{ $values.logFormat | quote }}
- name: GPUTEL_DRAIN_DEADLINE_S
  value: {{ $values.drainDeadlineSeconds | quote }}
{{- if and $values.auth.enabled (include "gputel.holdsTokens" .component) }}
- name: GPUTEL_TOKEN_FILE
  value: /etc/gputel/tokens/tokens
{{- else if $values.auth.enabled }}
{{ include "gputel.secretVar" (list "METRICS_TOKEN" (include "gputel.tokensSecret" .root) "read") }}
- name: GPUTEL_TOKENS
  value: read read $(METRICS_TOKEN)
{{- else }}
- name: GPUTEL_INSECURE
  value: "true"
{{- /* Without tokens only own names are answered: NAME.NAMESPACE, and those of the Ingress. */}}
{{- $names := list (printf ".%s-%s.%s" (include "gputel.fullname" .root) .component .root.Release.Namespace) }}
{{- if and (eq .component "api") $values.ingress.enabled }}
{{- $names = concat $names $values.ingress.hosts }}
{{- end }}
- name: GPUTEL_ALLOWED_HOSTS
  value: {{ join "," $names | quote }}
{{- end }}
{{- if $values.tls.enabled }}
- name: GPUTEL_TLS_CERT
  value: /etc/gputel/tls/tls.crt
- name: GPUTEL_TLS_KEY
  value: /etc/gputel/tls/tls.key
{{- end }}
{{- end -}}

{{/*
Whether a role is asked by others, and holds the file of all tokens. The two that are asked for
metrics alone know the token that reads.
*/}}
{{- define "gputel.holdsTokens" -}}
{{- if has . (list "broker" "api") }}yes{{ end -}}
{{- end -}}

{{/* What streamer, collector and api have in common: they use broker and database. */}}
{{- define "gputel.clientEnv" -}}
{{- $values := .root.Values -}}
- name: GPUTEL_BROKER_URL
  value: {{ include "gputel.brokerUrl" .root | quote }}
{{ include "gputel.caEnv" .root }}
{{- if $values.auth.enabled }}
{{ include "gputel.secretVar" (list "GPUTEL_TOKEN" (include "gputel.tokensSecret" .root) "pipeline") }}
{{- end }}
{{ include "gputel.secretVar" (list "GPUTEL_POSTGRES_DSN" (include "gputel.databaseSecret" .root) ($values.postgres.enabled | ternary "dsn" $values.externalDatabase.existingSecretKey)) }}
- name: GPUTEL_POSTGRES_POOL_SIZE
  value: {{ $values.database.poolSize | int64 | quote }}
- name: GPUTEL_POSTGRES_WAIT_S
  value: {{ $values.database.waitSeconds | quote }}
{{- end -}}

{{/* Collectors extend leases by the broker's visibility timeout, so both are told. */}}
{{- define "gputel.visibilityEnv" -}}
- name: GPUTEL_VISIBILITY_TIMEOUT_S
  value: {{ .root.Values.mqBroker.visibilityTimeoutSeconds | quote }}
{{- end -}}

{{- define "gputel.broker.env" -}}
{{ include "gputel.visibilityEnv" . }}
- name: GPUTEL_QUEUE_MAX_MESSAGES
  value: {{ .values.queueCapacity | int64 | quote }}
- name: GPUTEL_QUEUE_MAX_BYTES
  value: {{ .values.queueBytes | int64 | quote }}
- name: GPUTEL_BROKER_MAX_BYTES
  value: {{ .values.queueBytes | int64 | quote }}
- name: GPUTEL_REQUESTS_MAX_BYTES  # the 512 MiB beside the queues are for these, twice, and copies
  value: "67108864"
- name: GPUTEL_MESSAGE_MAX_BYTES
  value: "33554432"
- name: GPUTEL_MAX_ATTEMPTS
  value: {{ .values.maxAttempts | int64 | quote }}
{{- if .values.journal.enabled }}
- name: GPUTEL_JOURNAL
  value: /journal/queue
- name: GPUTEL_JOURNAL_SYNC
  value: {{ .values.journal.sync | quote }}
{{- end }}
{{- end -}}

{{/* Whether the streamer loops: as its values say, else over the sample; empty is gputel's default. */}}
{{- define "gputel.loop" -}}
{{- if ne (toString .loop) "" -}}
{{ .loop }}
{{- else if eq .source.type "sample" -}}
true
{{- end -}}
{{- end -}}

{{- define "gputel.streamer.env" -}}
{{ include "gputel.clientEnv" . }}
- name: GPUTEL_HEALTH_PORT
  value: {{ include "gputel.port" .component | quote }}
{{- if include "gputel.scrapes" .root }}
- name: GPUTEL_SCRAPE_CONFIG
  value: /etc/gputel/scrape/scrape.yml
{{- else }}
- name: GPUTEL_CSV
  value: {{ include "gputel.sourcePath" . | quote }}
{{- end }}
{{- if .values.sleepMillis }}
- name: GPUTEL_RATE
  value: {{ divf 1000 .values.sleepMillis | quote }}
{{- else }}
{{- include "gputel.var" (list "GPUTEL_RATE" (toString .values.rate)) }}
{{- end }}
{{- include "gputel.var" (list "GPUTEL_LOOP" (include "gputel.loop" .values)) }}
{{- include "gputel.var" (list "GPUTEL_TIMESTAMPS" .values.timestamps) }}
{{- include "gputel.var" (list "GPUTEL_STREAM_ID" .values.streamId) }}
{{- end -}}

{{- define "gputel.collector.env" -}}
{{ include "gputel.clientEnv" . }}
{{ include "gputel.visibilityEnv" . }}
- name: GPUTEL_HEALTH_PORT
  value: {{ include "gputel.port" .component | quote }}
- name: GPUTEL_WORKERS
  value: {{ .values.workers | int64 | quote }}
{{- include "gputel.var" (list "GPUTEL_RETENTION" .values.retention) }}
{{- include "gputel.var" (list "GPUTEL_ROLLUP_RETENTION" .values.rollupRetention) }}
{{- end -}}

{{- define "gputel.api.env" -}}
{{ include "gputel.clientEnv" . }}
{{- end -}}
