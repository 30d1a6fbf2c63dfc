{{/* Names and labels. */}}

{{/*
What resource names begin with: a letter, without dots, and short enough for the 52 characters that
a StatefulSet's name may have; a long one is cut, and told from its like by a hash.
*/}}
{{- define "gputel.fullname" -}}
{{- $base := default .Chart.Name .Values.nameOverride -}}
{{- $name := .Values.fullnameOverride | default (contains $base .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $base)) -}}
{{- $name = replace "." "-" $name -}}
{{- if regexMatch "^[0-9]" $name -}}
{{- $name = printf "gputel-%s" $name -}}
{{- end -}}
{{- if gt (len $name) 40 -}}
{{- printf "%s-%s" (trunc 31 $name | trimSuffix "-") (sha256sum $name | trunc 8) -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{/* What a pod of a component is found by: (dict "root" $ "component" "broker"). Never changes. */}}
{{- define "gputel.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* All labels of a component's resources. */}}
{{- define "gputel.labels" -}}
{{ include "gputel.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* Name, namespace and labels of a component's resource; "suffix" where it is not the component. */}}
{{- define "gputel.metadata" -}}
name: {{ printf "%s-%s" (include "gputel.fullname" .root) (default .component .suffix) }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- include "gputel.labels" . | nindent 2 }}
{{- end -}}

{{/* The image of a role: the chart's, with what the role has of its own. */}}
{{- define "gputel.image" -}}
{{- $image := merge (dict) (.values.image | default dict) .root.Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "gputel.pullPolicy" -}}
{{ (merge (dict) (.values.image | default dict) .root.Values.image).pullPolicy }}
{{- end -}}

{{- define "gputel.serviceAccountName" -}}
{{- $made := .Values.serviceAccount.create | ternary (include "gputel.fullname" .) "default" -}}
{{ .Values.serviceAccount.name | default $made }}
{{- end -}}

{{/* The Secrets, by what they are for. */}}
{{- define "gputel.tokensSecret" -}}
{{ .Values.auth.existingSecret | default (printf "%s-tokens" (include "gputel.fullname" .)) }}
{{- end -}}

{{- define "gputel.postgresSecret" -}}
{{ .Values.postgres.auth.existingSecret | default (printf "%s-postgres" (include "gputel.fullname" .)) }}
{{- end -}}

{{- define "gputel.databaseSecret" -}}
{{- if .Values.postgres.enabled -}}
{{ include "gputel.postgresSecret" . }}
{{- else -}}
{{ required "externalDatabase.existingSecret: name the Secret with the DSN of your database, or set postgres.enabled=true" .Values.externalDatabase.existingSecret }}
{{- end -}}
{{- end -}}

{{/*
Where the broker is, or all brokers are: the headless Service has an address for each, and clients
look it up again as the set changes.
*/}}
{{- define "gputel.brokerUrl" -}}
{{- $scheme := gt (int .Values.mqBroker.replicaCount) 1 | ternary "dns+http" "http" -}}
{{ printf "%s://%s-broker:8081" $scheme (include "gputel.fullname" .) }}
{{- end -}}
