{{- define "idp.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains "idp" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-idp" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "idp.selector" -}}
app.kubernetes.io/name: idp
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "idp.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "idp.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "idp.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "idp.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "idp.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{- /* The secrets of the server: by setting, the name of a Secret and the key in it. */}}
{{- define "idp.secrets" -}}
{{- $found := dict -}}
{{- range $setting, $value := .Values.secrets -}}
{{- $_ := set $found $setting (dict "name" (include "idp.name" $) "key" $setting) -}}
{{- end -}}
{{- range $setting, $where := .Values.existingSecrets -}}
{{- if hasKey $found $setting -}}
{{- fail (printf "%s is in secrets and in existingSecrets. Remove one of them." $setting) -}}
{{- end -}}
{{- $_ := set $found $setting (dict "name" $where.name "key" ($where.key | default $setting)) -}}
{{- end -}}
{{- range $setting := list "database_url" "master_key" -}}
{{- if not (hasKey $found $setting) -}}
{{- fail (printf "There is no %s. Name a Secret with it in existingSecrets.%s, or set secrets.%s." $setting $setting $setting) -}}
{{- end -}}
{{- end -}}
{{- toYaml $found -}}
{{- end }}

{{- define "idp.env" -}}
{{- range $setting, $value := .Values.settings }}
- name: IDP_{{ upper $setting }}
  value: {{ if kindIs "slice" $value }}{{ join "," $value | quote }}{{ else if kindIs "string" $value }}{{ quote $value }}{{ else }}{{ toJson $value | quote }}{{ end }}
{{- end }}
{{- range $setting, $_ := include "idp.secrets" . | fromYaml }}
- name: IDP_{{ upper $setting }}_FILE
  value: /run/secrets/idp/{{ $setting }}
{{- end }}
- name: IDP_MIGRATE_ON_START
  value: {{ eq .Values.migrations "server" | quote }}
{{- if .Values.metrics.enabled }}
- name: IDP_METRICS_ADDRESS
  value: "0.0.0.0:9464"
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "idp.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "idp.mounts" -}}
- name: secrets
  mountPath: /run/secrets/idp
  readOnly: true
- name: keys
  mountPath: /app/keys
- name: data
  mountPath: /app/data
- name: tmp
  mountPath: /tmp
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* What the server and the job of migrations have in common: who they are, and their volumes. */}}
{{- define "idp.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: secrets
    projected:
      defaultMode: 0440
      sources:
        {{- range $setting, $where := include "idp.secrets" . | fromYaml }}
        - secret:
            name: {{ $where.name }}
            items:
              - key: {{ $where.key }}
                path: {{ $setting }}
        {{- end }}
  - name: keys
    {{- toYaml (.Values.volumes.keys | default (dict "emptyDir" dict)) | nindent 4 }}
  - name: data
    {{- toYaml (.Values.volumes.data | default (dict "emptyDir" dict)) | nindent 4 }}
  - name: tmp
    emptyDir:
      sizeLimit: 256Mi
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- /* The paths of the issuer, as docs/operations.md lists them for proxies. */}}
{{- define "idp.paths" -}}
{{- $path := (urlParse .Values.settings.issuer).path -}}
- {path: {{ $path | default "/" }}, type: Prefix}
{{- if $path }}
- {path: /.well-known/oauth-authorization-server{{ $path }}, type: Exact}
- {path: /.well-known/openid-configuration{{ $path }}, type: Exact}
{{- end }}
{{- end }}

{{- define "idp.host" -}}
{{- $host := (urlParse .Values.settings.issuer).host -}}
{{- regexReplaceAll ":[0-9]+$" $host "" -}}
{{- end }}
