{{/* dict root, component -> annotations of its pods. A changed profile restarts the gateway alone: it creates each request's
     plan, which travels with the request. */}}
{{- define "tandem.podAnnotations" -}}
{{- $own := dict "prometheus.io/scrape" "true" "prometheus.io/port" "9090" -}}
{{- if eq .component.key "gateway" -}}
{{- $files := list -}}
{{- range (include "tandem.pairs" .root | fromYaml).pairs }}{{ $files = append $files (printf "%s%v%v" .name .files .binaryFiles) }}{{ end -}}
{{- $_ := set $own "checksum/profile" (join "," $files | sha256sum) -}}
{{- end -}}
{{ mustMergeOverwrite $own (deepCopy .root.Values.podAnnotations) .component.podAnnotations | toYaml }}
{{- end }}

{{/* dict root, component -> labels of its pods */}}
{{- define "tandem.podLabels" -}}
{{- $own := include "tandem.labels" (dict "root" .root "component" .component.name) | fromYaml -}}
{{- $selector := include "tandem.selector" (dict "root" .root "component" .component.name) | fromYaml -}}
{{ mustMergeOverwrite $own .component.podLabels $selector | toYaml }}
{{- end }}
