{{/*
The pod of a role, for all four: (dict "root" $ "component" "broker" "values" .Values.mqBroker).
What a role has of its own it defines by its name: gputel.<component>.env, .mounts, .volumes, .init.
*/}}
{{- define "gputel.pod" -}}
{{- $own := printf "gputel.%s" .component -}}
{{- $values := .root.Values -}}
metadata:
  labels:
    {{- $labels := merge (dict "gputel/metrics" "true") (.values.podLabels | default dict) ($values.podLabels | default dict) }}
    {{- include "gputel.labels" (merge (dict "labels" $labels) .) | nindent 4 }}
  {{- with include "gputel.map" (list .values.podAnnotations $values.podAnnotations $values.commonAnnotations) }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
spec:
  {{- include "gputel.podDefaults" (merge (dict "base" $values.podSecurityContext) .) | nindent 2 }}
  {{- include "gputel.topologySpread" . | nindent 2 }}
  terminationGracePeriodSeconds: {{ add .values.preStopSeconds $values.drainDeadlineSeconds 10 }}
  {{- $init := include (printf "%s.init" $own) . }}
  {{- if or $init .values.initContainers }}
  initContainers:
    {{- with $init }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with .values.initContainers }}
    {{- tpl (toYaml .) $.root | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "gputel.image" . | quote }}
      imagePullPolicy: {{ include "gputel.pullPolicy" . }}
      args: [run, --role, {{ .component }}]
      env:
        {{- include "gputel.allEnv" . | nindent 8 }}
      {{- include "gputel.extraEnvFrom" . | nindent 6 }}
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
      {{- include "gputel.resources" .values | nindent 6 }}
      {{- with include "gputel.containerSecurity" . }}
      securityContext:
        {{- . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: data
          mountPath: /data
        {{- if and $values.auth.enabled (include "gputel.holdsTokens" .component) }}
        - name: tokens
          mountPath: /etc/gputel/tokens
          readOnly: true
        {{- end }}
        {{- include "gputel.tlsMount" .root | nindent 8 }}
        {{- with include (printf "%s.mounts" $own) . }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- include "gputel.extraVolumeMounts" . | nindent 8 }}
    {{- with .values.sidecars }}
    {{- tpl (toYaml .) $.root | nindent 4 }}
    {{- end }}
  volumes:
    - name: data
      emptyDir:
        sizeLimit: {{ $values.scratchSize | quote }}
    {{- if and $values.auth.enabled (include "gputel.holdsTokens" .component) }}
    - name: tokens
      secret:
        secretName: {{ include "gputel.tokensSecret" .root | quote }}
        defaultMode: {{ include "gputel.secretMode" (merge (dict "base" $values.podSecurityContext) .) }}
        items:
          - key: tokens
            path: tokens
    {{- end }}
    {{- if $values.tls.enabled }}
    {{- include "gputel.tlsVolume" (merge (dict "base" $values.podSecurityContext "keys" (list "tls.crt" "tls.key")) .) | nindent 4 }}
    {{- end }}
    {{- with include (printf "%s.volumes" $own) . }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with concat ($values.extraVolumes | default list) (.values.extraVolumes | default list) }}
    {{- tpl (toYaml .) $.root | nindent 4 }}
    {{- end }}
{{- end -}}

{{/*
What every pod of the release says of itself, whatever it runs; "base" is its security context,
which the role's own is laid over.
*/}}
{{- define "gputel.podDefaults" -}}
serviceAccountName: {{ include "gputel.accountOf" . | quote }}
automountServiceAccountToken: {{ include "gputel.asksCluster" . | empty | not }}
# GPUTEL_..._PORT of a Service has the name of a setting.
enableServiceLinks: false
{{- with include "gputel.podSecurity" . }}
securityContext:
  {{- . | nindent 2 }}
{{- end }}
{{- with concat (.root.Values.image.pullSecrets | default list) (dig "imagePullSecrets" list (.root.Values.global | default dict) | default list) | uniq }}
imagePullSecrets:
  {{- range . }}
  - name: {{ kindIs "map" . | ternary (get (kindIs "map" . | ternary . dict) "name") . | quote }}
  {{- end }}
{{- end }}
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

{{- define "gputel.extraVolumeMounts" -}}
{{- with concat (.root.Values.extraVolumeMounts | default list) (.values.extraVolumeMounts | default list) -}}
{{- tpl (toYaml .) $.root -}}
{{- end -}}
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

{{/* CPU and memory of a container, where its values say something of them. */}}
{{- define "gputel.resources" -}}
{{- with .resources -}}
resources:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* The port of a component's server. */}}
{{- define "gputel.port" -}}
{{ get (dict "broker" 8081 "api" 8080 "streamer" 8082 "collector" 8082) . }}
{{- end -}}

{{/* Alive: the process answers. Ready: it can do its work. A slow start is neither's business. */}}
{{- define "gputel.probes" -}}
{{- $scheme := include "gputel.scheme" .root | upper -}}
startupProbe:
  httpGet: {path: /healthz, port: http, scheme: {{ $scheme }}}
  periodSeconds: 2
  failureThreshold: {{ div (add .root.Values.database.waitSeconds 60) 2 }}
livenessProbe:
  httpGet: {path: /healthz, port: http, scheme: {{ $scheme }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http, scheme: {{ $scheme }}}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
{{- end -}}
