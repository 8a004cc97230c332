{{/* Which secrets a pod has: decided here alone, for its volumes and for where its container has them. */}}

{{/* dict root, component -> a list of folders below /etc/tandem, each with its volume */}}
{{- define "tandem.secrets" -}}
{{- $v := .root.Values -}}{{- $c := .component -}}
{{- if $v.tls.enabled }}
- folder: tls
  volume: {{- include "tandem.tlsVolume" . | nindent 4 }}
{{- end }}
{{- if $c.serves }}
{{- with $v.redis.usersSecret | default $v.redis.passwordSecret }}
{{- /* where each process has a user, its own password alone */}}
{{- $key := ternary $c.role $v.redis.passwordSecretKey (not (empty $v.redis.usersSecret)) }}
- folder: redis
  volume: {name: redis-password, secret: {secretName: {{ . }}, items: [{key: {{ $key }}, path: password}]}}
{{- end }}
{{- with $v.redis.tls.existingSecret }}
- folder: redis-tls
  volume: {name: redis-tls, secret: {secretName: {{ . }}}}
{{- end }}
{{- end }}
{{- if include "tandem.hasPayloadKeys" . }}
- folder: payload-keys
  volume: {name: payload-keys, secret: {secretName: {{ $v.temporal.payloadKeysSecret }}}}
{{- end }}
{{- if $c.fixed.temporal }}
{{- /* From cert-manager a client's secret has the client's own authority, which says nothing of the server. */}}
{{- with $v.temporal.tls.existingSecret }}
- folder: temporal
  volume: {name: temporal-tls, secret: {secretName: {{ . }}, items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]}}
{{- end }}
{{- with $v.temporal.tls.caSecret }}
- folder: temporal-ca
  volume: {name: temporal-ca, secret: {secretName: {{ . }}, items: [{key: ca.crt, path: ca.crt}]}}
{{- end }}
{{- end }}
{{- if eq $c.key "gateway" }}
{{- with $v.auth.existingSecret }}
- folder: keys
  volume: {name: api-keys, secret: {secretName: {{ . }}}}
{{- end }}
{{- if include "tandem.hasTenants" .root }}
- folder: tenants
  {{- if $v.tenants.existingSecret }}
  volume: {name: tenants, secret: {secretName: {{ $v.tenants.existingSecret }}}}
  {{- else }}
  volume: {name: tenants, configMap: {name: {{ include "tandem.fullname" .root }}-tenants}}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Whoever reads or writes text of a request in Temporal or Redis. */}}
{{- define "tandem.hasPayloadKeys" -}}
{{- if and .root.Values.temporal.payloadKeysSecret .component.serves }}yes{{ end -}}
{{- end }}
