{{/* What the streamers' source takes: roles, scrape jobs, rights in other namespaces. */}}

{{/* Whether streamers run. */}}
{{- define "gputel.hasStreamer" -}}
{{- if ne .Values.streamer.source.type "none" }}yes{{ end -}}
{{- end -}}

{{/* The roles that run as Deployments. */}}
{{- define "gputel.deployed" -}}
{{ include "gputel.hasStreamer" . | empty | ternary (list "collector" "api") (list "streamer" "collector" "api") | toJson }}
{{- end -}}

{{/* Whether the streamers scrape exporters. */}}
{{- define "gputel.scrapes" -}}
{{- if has .Values.streamer.source.type (list "dcgmExporter" "scrape") }}yes{{ end -}}
{{- end -}}

{{/* The scrape jobs in Prometheus' words, as a list in JSON, where 1000000 is not 1e+06. */}}
{{- define "gputel.scrapeConfigs" -}}
{{- $source := .Values.streamer.source -}}
{{- if eq $source.type "dcgmExporter" -}}
{{- $of := $source.dcgmExporter -}}
{{- $endpoints := dict "namespace" $of.namespace "service" $of.service "port" $of.port -}}
{{- list (dict "job_name" $of.service "scrape_interval" $of.interval "kubernetes_endpointslices" $endpoints) | toJson -}}
{{- else if eq $source.type "scrape" -}}
{{- $source.scrape.scrapeConfigs | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{/* The namespaces whose EndpointSlices the streamers list. */}}
{{- define "gputel.discoveredNamespaces" -}}
{{- $namespaces := list -}}
{{- range include "gputel.scrapeConfigs" . | fromYamlArray -}}
{{- $namespaces = append $namespaces (dig "kubernetes_endpointslices" "namespace" "" .) -}}
{{- end -}}
{{- $namespaces | compact | uniq | toJson -}}
{{- end -}}

{{/* Whether the pods of a component have a token for the API server. */}}
{{- define "gputel.asksCluster" -}}
{{- if eq .component "streamer" -}}
{{- if include "gputel.discoveredNamespaces" .root | fromYamlArray }}yes{{ end -}}
{{- end -}}
{{- end -}}

{{/* Who the pods of a component are; streamers that list EndpointSlices have an account of their own. */}}
{{- define "gputel.accountOf" -}}
{{- if and (include "gputel.asksCluster" .) .root.Values.serviceAccount.create -}}
{{ printf "%s-streamer" (include "gputel.fullname" .root) }}
{{- else -}}
{{ include "gputel.serviceAccountName" .root }}
{{- end -}}
{{- end -}}
