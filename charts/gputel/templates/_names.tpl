{{/* Names, labels, annotations and images. All text is quoted: 1e3, 123, on and null are names too. */}}

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

{{/* The name of something of the release, quoted: (list $ "scripts"). */}}
{{- define "gputel.name" -}}
{{ printf "%s-%s" (include "gputel.fullname" (first .)) (last .) | quote }}
{{- end -}}

{{/* What a pod of a component is found by: (dict "root" $ "component" "broker"). Never changes. */}}
{{- define "gputel.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component | quote }}
{{- end -}}

{{/* All labels of a component's resources; "labels" are more of them, which do not replace ours. */}}
{{- define "gputel.labels" -}}
{{- $own := include "gputel.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{ include "gputel.map" (list $own .labels .root.Values.commonLabels) }}
{{- end -}}

{{/*
Name, namespace, labels and annotations of a component's resource: "suffix" where the name does not
end in the component, "namespace" where it is not the release's, "labels" and "annotations" beside
those that all have.
*/}}
{{- define "gputel.metadata" -}}
name: {{ include "gputel.name" (list .root (default .component .suffix)) }}
namespace: {{ .namespace | default .root.Release.Namespace | quote }}
labels:
  {{- include "gputel.labels" . | nindent 2 }}
{{- with include "gputel.map" (list .annotations .root.Values.commonAnnotations) }}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
Maps of text as one, in YAML; of a key in several the first counts. What is null is left out: it
takes away what a later map has.
*/}}
{{- define "gputel.map" -}}
{{- $all := dict -}}
{{- range . -}}
{{- range $key, $value := . | default dict -}}
{{- if not (hasKey $all $key) -}}{{- $_ := set $all $key $value -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- $kept := dict -}}
{{- range $key, $value := $all -}}
{{- if not (kindIs "invalid" $value) -}}{{- $_ := set $kept $key $value -}}{{- end -}}
{{- end -}}
{{- if $kept -}}{{- toYaml $kept -}}{{- end -}}
{{- end -}}

{{/* An image: (list $ IMAGE TAG), where TAG counts when the image has none. */}}
{{- define "gputel.imageOf" -}}
{{- $image := index . 1 -}}
{{- $registry := $image.registry | default (dig "imageRegistry" "" ((first .).Values.global | default dict)) -}}
{{- $name := empty $registry | not | ternary (printf "%s/%s" (trimSuffix "/" (toString $registry)) $image.repository) $image.repository -}}
{{- $version := empty $image.digest | not | ternary (printf "@%s" $image.digest) (printf ":%s" (default (last .) $image.tag)) -}}
{{ printf "%s%s" $name $version }}
{{- end -}}

{{/* The image of a role: the chart's, with what the role has of its own. */}}
{{- define "gputel.image" -}}
{{ include "gputel.imageOf" (list .root (merge (dict) (.values.image | default dict) .root.Values.image) .root.Chart.AppVersion) }}
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

{{/* http or https: how the roles' servers are talked to. */}}
{{- define "gputel.scheme" -}}
{{ .Values.tls.enabled | ternary "https" "http" }}
{{- end -}}

{{/*
Where the broker is, or all brokers are. The headless Service has an address for each, and clients
look it up again as the set changes. A certificate is for names, so with TLS each broker is named.
*/}}
{{- define "gputel.brokerUrl" -}}
{{- $service := printf "%s-broker" (include "gputel.fullname" .) -}}
{{- $count := int .Values.mqBroker.replicaCount -}}
{{- if le $count 1 -}}
{{ include "gputel.scheme" . }}://{{ $service }}:8081
{{- else if .Values.tls.enabled -}}
{{- $urls := list -}}
{{- range until $count -}}
{{- $urls = append $urls (printf "https://%s-%d.%s:8081" $service . $service) -}}
{{- end -}}
{{ join "," $urls }}
{{- else -}}
dns+http://{{ $service }}:8081
{{- end -}}
{{- end -}}
