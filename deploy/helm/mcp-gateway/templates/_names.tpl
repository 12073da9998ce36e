{{- define "gateway.labels" -}}
app.kubernetes.io/part-of: mcp-gateway
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "gateway.domain" -}}
{{- required "domain is not set: the hosts are auth.<domain> and mcp-<name>.<domain>" .Values.domain | lower -}}
{{- end }}

{{- define "gateway.hosts" -}}
{{- $domain := include "gateway.domain" . -}}
(Host(`auth.{{ $domain }}`) || HostRegexp(`^mcp-[a-z0-9-]+\.{{ regexQuoteMeta $domain }}\.?$`))
{{- end }}

{{- define "gateway.tls" -}}
{{- if .Values.traefik.tlsSecretName }}
tls: {secretName: {{ .Values.traefik.tlsSecretName }}}
{{- else }}
tls: {certResolver: {{ .Values.traefik.certResolver }}}
{{- end }}
{{- end }}

{{/* What every container gets: no rights, nothing to write to. */}}
{{- define "gateway.container-security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "gateway.pod-security" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "gateway.services" -}}
{{- $names := list -}}
{{- range $name, $_ := .Values.services }}{{ $names = append $names (printf "mcp-%s" $name) }}{{ end -}}
{{- join "," $names -}}
{{- end }}

{{/* A setting as text. Helm reads numbers as floating point and would write 16777216 as 1.6777216e+07. */}}
{{- define "gateway.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . | quote }}{{ else }}{{ toString . | quote }}{{ end -}}
{{- end }}

{{/* Where pods run and with what their images are fetched. */}}
{{- define "gateway.scheduling" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- end }}
