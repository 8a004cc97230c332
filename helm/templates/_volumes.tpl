{{/* Volumes of a pod and where its container has them: each define of volumes has its mounts beside it. */}}

{{/* dict root, names: ConfigMaps of these profiles */}}
{{- define "tandem.profileVolumes" -}}
{{- range .names }}
{{- $pair := include "tandem.pair" (dict "root" $.root "name" .) | fromYaml }}
- name: profile{{ with $pair.key }}-{{ . }}{{ end }}
  configMap: {name: {{ include "tandem.profileMap" (dict "root" $.root "pair" $pair) }}}
{{- end }}
{{- end }}

{{- define "tandem.profileMounts" -}}
{{- range .names }}
{{- $pair := include "tandem.pair" (dict "root" $.root "name" .) | fromYaml }}
- {name: profile{{ with $pair.key }}-{{ . }}{{ end }}, mountPath: /etc/tandem/profiles/{{ $pair.name }}, readOnly: true}
{{- end }}
{{- end }}

{{/* Whoever reads or writes text of a request in Temporal or Redis. */}}
{{- define "tandem.hasPayloadKeys" -}}
{{- if and .root.Values.temporal.payloadKeysSecret .component.serves }}yes{{ end -}}
{{- end }}

{{/* dict root, component */}}
{{- define "tandem.volumes" -}}
{{- $root := .root -}}{{- $c := .component -}}
- name: tmp
  emptyDir: {{- if $c.fixed.isolated }} {medium: Memory, sizeLimit: {{ $c.scratchSize }}}{{ else }} {}{{ end }}
{{- if $root.Values.tls.enabled }}
- {{- include "tandem.tlsVolume" . | nindent 2 }}
{{- end }}
{{- include "tandem.profileVolumes" (dict "root" $root "names" $c.serves) }}
{{- include "tandem.redisVolumes" . }}
{{- if include "tandem.hasPayloadKeys" . }}
- name: payload-keys
  secret: {secretName: {{ $root.Values.temporal.payloadKeysSecret }}}
{{- end }}
{{- with $c.shmSize }}
- name: shm
  emptyDir: {medium: Memory, sizeLimit: {{ . }}}
{{- end }}
{{- if $c.fixed.temporal }}
{{- with $root.Values.temporal.tls.existingSecret }}
- name: temporal-tls
  secret: {secretName: {{ . }}}
{{- end }}
{{- with $root.Values.fileStore.existingClaim }}
- name: files
  persistentVolumeClaim: {claimName: {{ . }}}
{{- end }}
{{- end }}
{{- if eq $c.key "gateway" }}
{{- with $root.Values.auth.existingSecret }}
- name: api-keys
  secret: {secretName: {{ . }}}
{{- end }}
{{- if include "tandem.hasTenants" $root }}
- name: tenants
  {{- if $root.Values.tenants.existingSecret }}
  secret: {secretName: {{ $root.Values.tenants.existingSecret }}}
  {{- else }}
  configMap: {name: {{ include "tandem.fullname" $root }}-tenants}
  {{- end }}
{{- end }}
{{- end }}
{{- if include "tandem.needsModels" . }}
- name: models
  {{- include "tandem.modelVolume" . | nindent 2 }}
{{- else if eq $c.key "gateway" }}
- name: models
  {{- if $root.Values.modelCache.pull }}
  emptyDir: {sizeLimit: 2Gi}
  {{- else }}
  {{- include "tandem.modelVolume" . | nindent 2 }}
  {{- end }}
{{- end }}
{{- with $c.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tandem.mounts" -}}
{{- $root := .root -}}{{- $c := .component -}}
- {name: tmp, mountPath: /tmp}
{{- if $root.Values.tls.enabled }}
- {name: tls, mountPath: /etc/tandem/tls, readOnly: true}
{{- end }}
{{- include "tandem.profileMounts" (dict "root" $root "names" $c.serves) }}
{{- include "tandem.redisMounts" . }}
{{- if include "tandem.hasPayloadKeys" . }}
- {name: payload-keys, mountPath: /etc/tandem/payload-keys, readOnly: true}
{{- end }}
{{- if $c.shmSize }}
- {name: shm, mountPath: /dev/shm}
{{- end }}
{{- if $c.fixed.temporal }}
{{- if $root.Values.temporal.tls.existingSecret }}
- {name: temporal-tls, mountPath: /etc/tandem/temporal, readOnly: true}
{{- end }}
{{- if $root.Values.fileStore.existingClaim }}
- {name: files, mountPath: /files}
{{- end }}
{{- end }}
{{- if eq $c.key "gateway" }}
{{- if $root.Values.auth.existingSecret }}
- {name: api-keys, mountPath: /etc/tandem/keys, readOnly: true}
{{- end }}
{{- if include "tandem.hasTenants" $root }}
- {name: tenants, mountPath: /etc/tandem/tenants, readOnly: true}
{{- end }}
{{- end }}
{{- if or (include "tandem.needsModels" .) (eq $c.key "gateway") }}
- {name: models, mountPath: /models, readOnly: true}
{{- end }}
{{- with $c.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}
