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

{{/* dict root, component */}}
{{- define "tandem.volumes" -}}
{{- $root := .root -}}{{- $c := .component -}}
- name: tmp
  emptyDir: {{- if $c.fixed.isolated }} {medium: Memory, sizeLimit: 256Mi}{{ else }} {}{{ end }}
{{- include "tandem.profileVolumes" (dict "root" $root "names" $c.serves) }}
{{- range include "tandem.secrets" . | fromYamlArray }}
{{ toYaml (list .volume) }}
{{- end }}
{{- with $c.shmSize }}
- name: shm
  emptyDir: {medium: Memory, sizeLimit: {{ . }}}
{{- end }}
{{- if and $c.fixed.temporal $root.Values.fileStore.existingClaim }}
- name: files
  persistentVolumeClaim: {claimName: {{ $root.Values.fileStore.existingClaim }}}
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
{{- include "tandem.profileMounts" (dict "root" $root "names" $c.serves) }}
{{- range include "tandem.secrets" . | fromYamlArray }}
- {name: {{ .volume.name }}, mountPath: /etc/tandem/{{ .folder }}, readOnly: true}
{{- end }}
{{- if $c.shmSize }}
- {name: shm, mountPath: /dev/shm}
{{- end }}
{{- if and $c.fixed.temporal $root.Values.fileStore.existingClaim }}
- {name: files, mountPath: /files}
{{- end }}
{{- if or (include "tandem.needsModels" .) (eq $c.key "gateway") }}
- {name: models, mountPath: /models, readOnly: true}
{{- end }}
{{- with $c.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}
