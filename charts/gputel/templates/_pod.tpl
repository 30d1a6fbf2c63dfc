{{/*
The pod of a role, for all four: (dict "root" $ "component" "broker" "values" .Values.mqBroker).
What a role has of its own it defines by its name: gputel.<component>.env, .mounts, .volumes, .init.
*/}}
{{- define "gputel.pod" -}}
{{- $own := printf "gputel.%s" .component -}}
metadata:
  labels:
    {{- include "gputel.labels" . | nindent 4 }}
    gputel/metrics: "true"
    {{- with .values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with merge (dict) .values.podAnnotations .root.Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "gputel.podDefaults" (set . "uid" 10001) | nindent 2 }}
  {{- include "gputel.pullSecrets" .root | nindent 2 }}
  {{- include "gputel.topologySpread" . | nindent 2 }}
  terminationGracePeriodSeconds: {{ add .values.preStopSeconds .root.Values.drainDeadlineSeconds 10 }}
  {{- with include (printf "%s.init" $own) . }}
  initContainers:
    {{- . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "gputel.image" . | quote }}
      imagePullPolicy: {{ include "gputel.pullPolicy" . }}
      args: [run, --role, {{ .component }}]
      env:
        {{- include "gputel.env" . | nindent 8 }}
        {{- with include (printf "%s.env" $own) . }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with .values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - name: http
          containerPort: {{ include "gputel.port" .component }}
          protocol: TCP
      {{- include "gputel.probes" . | nindent 6 }}
      {{- if .values.preStopSeconds }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ .values.preStopSeconds }}
      {{- end }}
      resources:
        {{- toYaml .values.resources | nindent 8 }}
      securityContext:
        {{- include "gputel.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - name: data
          mountPath: /data
        {{- if and .root.Values.auth.enabled (include "gputel.holdsTokens" .component) }}
        - name: tokens
          mountPath: /etc/gputel/tokens
          readOnly: true
        {{- end }}
        {{- with include (printf "%s.mounts" $own) . }}
        {{- . | nindent 8 }}
        {{- end }}
  volumes:
    - name: data
      emptyDir:
        sizeLimit: {{ .root.Values.scratchSize }}
    {{- if and .root.Values.auth.enabled (include "gputel.holdsTokens" .component) }}
    - name: tokens
      secret:
        secretName: {{ include "gputel.tokensSecret" .root | quote }}
        defaultMode: 0440
        items:
          - key: tokens
            path: tokens
    {{- end }}
    {{- with include (printf "%s.volumes" $own) . }}
    {{- . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* What every pod of the release says of itself, whatever it runs; "uid" is its user and group. */}}
{{- define "gputel.podDefaults" -}}
serviceAccountName: {{ include "gputel.serviceAccountName" .root | quote }}
automountServiceAccountToken: false
# GPUTEL_..._PORT of a Service would be taken for a setting.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .uid }}
  runAsGroup: {{ .uid }}
  fsGroup: {{ .uid }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "gputel.topologySpread" -}}
{{- if .root.Values.topologySpread.enabled -}}
topologySpreadConstraints:
  {{- $context := . }}
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: {{ $context.root.Values.topologySpread.whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "gputel.selector" $context | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "gputel.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- define "gputel.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The port of a component's server. */}}
{{- define "gputel.port" -}}
{{ get (dict "broker" 8081 "api" 8080 "streamer" 8082 "collector" 8082) . }}
{{- end -}}

{{/* Alive: the process answers. Ready: it can do its work. A slow start is neither's business. */}}
{{- define "gputel.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 2
  failureThreshold: {{ div (add .root.Values.database.waitSeconds 60) 2 }}
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
{{- end -}}

{{/* One variable, when there is something to say: (list NAME VALUE). */}}
{{- define "gputel.var" -}}
{{- if ne (toString (index . 1)) "" }}
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
