{{/* Certificates of the roles' servers, and whose certificates their clients believe. */}}

{{/* The authority that signed: a file that OpenSSL takes in place of the system's. */}}
{{- define "gputel.caEnv" -}}
{{- if and .Values.tls.enabled .Values.tls.caKey -}}
- name: SSL_CERT_FILE
  value: /etc/gputel/tls/ca.crt
{{- end -}}
{{- end -}}

{{- define "gputel.tlsMount" -}}
{{- if .Values.tls.enabled -}}
- name: tls
  mountPath: /etc/gputel/tls
  readOnly: true
{{- end -}}
{{- end -}}

{{/* The Secret as a volume; "keys" are what is shown of it, the authority besides. */}}
{{- define "gputel.tlsVolume" -}}
{{- $tls := .root.Values.tls -}}
- name: tls
  secret:
    secretName: {{ required "tls.existingSecret: name the Secret with tls.crt and tls.key" $tls.existingSecret | quote }}
    defaultMode: {{ include "gputel.secretMode" . }}
    items:
      {{- range .keys }}
      - key: {{ . }}
        path: {{ . }}
      {{- end }}
      {{- with $tls.caKey }}
      - key: {{ . | quote }}
        path: ca.crt
      {{- end }}
{{- end -}}
