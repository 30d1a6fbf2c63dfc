{{/* Security contexts: from values, a key that is null is left out. */}}

{{/*
A pod's: (dict "root" $ "values" ROLE "base" VALUES). On OpenShift the namespace says which uids and
groups may be, and a fixed one is refused.
*/}}
{{- define "gputel.podSecurity" -}}
{{- $context := include "gputel.map" (list (.values.podSecurityContext | default dict) (.base | default dict)) | fromYaml -}}
{{- if eq (include "gputel.adapted" .root) "true" -}}
{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" -}}
{{- end -}}
{{- if $context -}}
{{- toYaml $context -}}
{{- end -}}
{{- end -}}

{{/* A container's: the same arguments. */}}
{{- define "gputel.containerSecurity" -}}
{{- include "gputel.map" (list (.values.securityContext | default dict) .root.Values.securityContext) -}}
{{- end -}}

{{- define "gputel.adapted" -}}
{{- $mode := dig "compatibility" "openshift" "adaptSecurityContext" "auto" (.Values.global | default dict) -}}
{{- $openshift := .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
{{- or (eq $mode "force") (and (eq $mode "auto") $openshift) -}}
{{- end -}}

{{/*
The mode of a Secret's files: for the pod's group alone. Without a group of its own (OpenShift gives
one later) it may be that nothing but the last digit lets the process read.
*/}}
{{- define "gputel.secretMode" -}}
{{- $context := include "gputel.podSecurity" . | fromYaml -}}
{{- hasKey $context "fsGroup" | ternary "0440" "0444" -}}
{{- end -}}
