{{/* dict root, component -> annotations of its pods. A changed profile restarts the gateway alone: it creates each request's
     plan, which travels with the request. */}}
{{- define "tandem.podAnnotations" -}}
{{- $own := dict "prometheus.io/scrape" "true" "prometheus.io/port" "9090" -}}
{{- if eq .component.key "gateway" }}{{ $_ := set $own "checksum/profile" (include "tandem.profileChecksum" .root) }}{{ end -}}
{{ mustMergeOverwrite $own (deepCopy .root.Values.podAnnotations) .component.podAnnotations | toYaml }}
{{- end }}

{{/* root -> a checksum of all pairs' files */}}
{{- define "tandem.profileChecksum" -}}
{{- $files := list -}}
{{- range (include "tandem.pairs" . | fromYaml).pairs }}{{ $files = append $files (printf "%s%v%v" .name .files .binaryFiles) }}{{ end -}}
{{ join "," $files | sha256sum }}
{{- end }}

{{/* dict root, component -> labels of its pods */}}
{{- define "tandem.podLabels" -}}
{{- $scope := dict "root" .root "component" .component.name -}}
{{- $own := include "tandem.templateLabels" $scope | fromYaml -}}
{{ mustMergeOverwrite $own .component.podLabels (include "tandem.selector" $scope | fromYaml) | toYaml }}
{{- end }}
