{{/* Volumes of the roles, and what fills them before a role starts. */}}

{{- define "gputel.broker.init" }}{{ end -}}
{{- define "gputel.collector.init" }}{{ end -}}
{{- define "gputel.collector.mounts" }}{{ end -}}
{{- define "gputel.collector.volumes" }}{{ end -}}
{{- define "gputel.api.init" }}{{ end -}}
{{- define "gputel.api.mounts" }}{{ end -}}
{{- define "gputel.api.volumes" }}{{ end -}}

{{/* The journal's volume is a claim of the StatefulSet. */}}
{{- define "gputel.broker.volumes" }}{{ end -}}
{{- define "gputel.broker.mounts" -}}
{{- if .values.journal.enabled -}}
- name: journal
  mountPath: /journal
{{- end -}}
{{- end -}}

{{/* Where the streamer's file is in its pod. */}}
{{- define "gputel.sourcePath" -}}
{{- $source := .values.source -}}
{{- if eq $source.type "sample" -}}
{{ $source.samplePath }}
{{- else -}}
/source/{{ $source.file }}
{{- end -}}
{{- end -}}

{{- define "gputel.streamer.mounts" -}}
{{- if include "gputel.scrapes" .root -}}
- name: scrape
  mountPath: /etc/gputel/scrape
  readOnly: true
{{- else if ne .values.source.type "sample" -}}
- name: source
  mountPath: /source
  readOnly: true
{{- end -}}
{{- end -}}

{{- define "gputel.streamer.volumes" -}}
{{- $source := .values.source -}}
{{- if include "gputel.scrapes" .root -}}
- name: scrape
  secret:
    secretName: {{ include "gputel.name" (list .root "scrape") }}
    defaultMode: {{ include "gputel.secretMode" (merge (dict "base" .root.Values.podSecurityContext) .) }}
{{- else if eq $source.type "pvc" -}}
- name: source
  persistentVolumeClaim:
    claimName: {{ required "streamer.source.pvc.existingClaim: name the claim that has the file" $source.pvc.existingClaim | quote }}
    readOnly: true
{{- else if eq $source.type "hostPath" -}}
- name: source
  hostPath:
    path: {{ required "streamer.source.hostPath.path: name the nodes' directory that has the file" $source.hostPath.path | quote }}
    type: Directory
{{- else if eq $source.type "object" -}}
- name: source
  emptyDir:
    sizeLimit: {{ $source.object.size | quote }}
- name: scripts
  configMap:
    name: {{ include "gputel.name" (list .root "scripts") }}
{{- end -}}
{{- end -}}

{{/* The streamer's own extras are the fetch's too: a proxy, a CA bundle. */}}
{{- define "gputel.streamer.init" -}}
{{- if eq .values.source.type "object" -}}
- name: fetch
  image: {{ include "gputel.image" . | quote }}
  imagePullPolicy: {{ include "gputel.pullPolicy" . }}
  command: [python, /scripts/fetch.py, {{ printf "/source/%s" .values.source.file | quote }}]
  env:
    {{- $own := include "gputel.fetchEnv" . | fromYamlArray }}
    {{- include "gputel.envOnce" (concat $own (include "gputel.extraEnv" . | fromYamlArray)) | nindent 4 }}
  {{- include "gputel.extraEnvFrom" . | nindent 2 }}
  {{- include "gputel.resources" .values | nindent 2 }}
  {{- with include "gputel.containerSecurity" . }}
  securityContext:
    {{- . | nindent 4 }}
  {{- end }}
  volumeMounts:
    - name: source
      mountPath: /source
    - name: scripts
      mountPath: /scripts
      readOnly: true
    {{- include "gputel.extraVolumeMounts" . | nindent 4 }}
{{- end -}}
{{- end -}}

{{- define "gputel.fetchEnv" -}}
{{- $object := .values.source.object -}}
- name: OBJECT_URL
  value: {{ required "streamer.source.object.url: say where the file is to be fetched from" $object.url | quote }}
{{- include "gputel.var" (list "OBJECT_SHA256" $object.sha256) }}
{{- with $object.existingSecret }}
{{ include "gputel.secretVar" (list "OBJECT_AUTHORIZATION" . "authorization") }}
{{- end }}
{{- end -}}

{{/* The port that the object is fetched from. */}}
{{- define "gputel.objectPort" -}}
{{- $url := urlParse .Values.streamer.source.object.url -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (eq $url.scheme "http" | ternary "80" "443") -}}
{{- end -}}
