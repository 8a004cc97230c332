{{/* A changed profile restarts the gateway alone: it creates each request's plan, which travels with the request. */}}
{{- define "tandem.podAnnotations" -}}
prometheus.io/scrape: "true"
prometheus.io/port: "9090"
{{- if eq .component.name "gateway" }}
checksum/profile: {{ printf "%v%v" .root.Values.profile.files .root.Values.profile.binaryFiles | sha256sum }}
{{- end }}
{{- with .root.Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}
