{{/* The Deployment of a role that keeps nothing: streamer, collector, api. */}}
{{- define "gputel.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "gputel.metadata" . | nindent 2 }}
spec:
  {{- if not (or .values.autoscaling.enabled (dig "keda" "enabled" false .values)) }}
  replicas: {{ .values.replicaCount }}
  {{- end }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0
  selector:
    matchLabels:
      {{- include "gputel.selector" . | nindent 6 }}
  template:
    {{- include "gputel.pod" . | nindent 4 }}
{{- end -}}
