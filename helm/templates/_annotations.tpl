{{/* dict root, component -> annotations of its pods. A changed profile restarts the gateway alone: it creates each request's
     plan, which travels with the request. */}}
{{- define "tandem.podAnnotations" -}}
prometheus.io/scrape: "true"
prometheus.io/port: "9090"
{{- if eq .component.key "gateway" }}
{{- $files := list }}
{{- range (include "tandem.pairs" .root | fromYaml).pairs }}{{ $files = append $files (printf "%s%v%v" .name .files .binaryFiles) }}{{ end }}
checksum/profile: {{ join "," $files | sha256sum }}
{{- end }}
{{- with mustMergeOverwrite (deepCopy .root.Values.podAnnotations) .component.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* dict root, component -> labels of its pods */}}
{{- define "tandem.podLabels" -}}
{{ include "tandem.labels" (dict "root" .root "component" .component.name) }}
{{- with .component.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}
