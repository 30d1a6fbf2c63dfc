{{/* What NetworkPolicies are put together from. */}}

{{/* Pods of components, as peers: (list $ "streamer" "collector"). */}}
{{- define "gputel.peers" -}}
{{- $root := first . }}
{{- range rest . }}
- podSelector:
    matchLabels:
      {{- include "gputel.selector" (dict "root" $root "component" .) | nindent 6 }}
{{- end }}
{{- end -}}

{{/* All pods of namespaces, as one peer. */}}
{{- define "gputel.namespacePeer" -}}
- namespaceSelector:
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: In
        values: {{ toJson . }}
{{- end -}}

{{/*
Wherever the cluster has its name server, on a node as well. A policy counts where the packet
arrives: OpenShift's name servers listen on 5353, behind a Service of port 53.
*/}}
{{- define "gputel.dnsEgress" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
    - {port: 5353, protocol: UDP}
    - {port: 5353, protocol: TCP}
{{- end -}}

{{- define "gputel.brokerEgress" -}}
- to:
    {{- include "gputel.peers" (list . "broker") | trim | nindent 4 }}
  ports:
    - {port: {{ include "gputel.port" "broker" }}, protocol: TCP}
{{- end -}}

{{- define "gputel.databaseEgress" -}}
{{- if .Values.postgres.enabled }}
- to:
    {{- include "gputel.peers" (list . "postgres") | trim | nindent 4 }}
  ports:
    - {port: {{ .Values.postgres.port }}, protocol: TCP}
{{- else }}
- {{ with .Values.externalDatabase.cidrs }}to:
    {{- range . }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  {{ end }}ports:
    - {port: {{ .Values.externalDatabase.port }}, protocol: TCP}
{{- end }}
{{- end -}}

{{/* Ports, as a rule's: a list of numbers. */}}
{{- define "gputel.tcpPorts" -}}
ports:
  {{- range . }}
  - {port: {{ . }}, protocol: TCP}
  {{- end }}
{{- end -}}

{{/*
Where the streamer's source is. Exporters may be on the network of their nodes, which no selector of
pods matches: so a port that is a number is open to all addresses.
*/}}
{{- define "gputel.sourceEgress" -}}
{{- $source := .Values.streamer.source -}}
{{- $exporter := $source.dcgmExporter -}}
{{- $ports := list -}}
{{- if eq $source.type "object" -}}
{{- $ports = list (include "gputel.objectPort" .) -}}
{{- else if eq $source.type "scrape" -}}
{{- $ports = $source.scrape.ports -}}
{{- else if and (eq $source.type "dcgmExporter") (not (kindIs "string" $exporter.port)) -}}
{{- $ports = list $exporter.port -}}
{{- else if eq $source.type "dcgmExporter" }}
- to:
    {{- include "gputel.namespacePeer" (list $exporter.namespace) | nindent 4 }}
{{- end }}
{{- if include "gputel.asksCluster" (dict "root" . "component" "streamer") -}}
{{- $ports = concat $ports (.Values.networkPolicy.apiServerPorts | default list) | uniq -}}
{{- end -}}
{{- with $ports }}
- {{ include "gputel.tcpPorts" . | nindent 2 | trim }}
{{- end }}
{{- end -}}

{{- define "gputel.policyHead" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "gputel.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "gputel.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
{{- end }}
