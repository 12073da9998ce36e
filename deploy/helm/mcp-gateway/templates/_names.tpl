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
