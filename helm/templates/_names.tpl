{{/* Names and labels. The version is never part of a selector. */}}

{{- define "tandem.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "tandem.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "tandem.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "tandem.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* dict root, component (kebab case) */}}
{{- define "tandem.selector" -}}
app.kubernetes.io/name: {{ include "tandem.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* dict root, component -> labels of a pod template. The chart's version is none of them: it would restart every model for itself. */}}
{{- define "tandem.templateLabels" -}}
{{- $versions := list "helm.sh/chart" "app.kubernetes.io/version" -}}
{{- $own := include "tandem.labels" . | fromYaml -}}
{{- range $versions }}{{ if not (hasKey $.root.Values.commonLabels .) }}{{ $_ := unset $own . }}{{ end }}{{ end -}}
{{ toYaml $own }}
{{- end }}

{{- define "tandem.labels" -}}
{{- $chart := printf "%s-%s" .root.Chart.Name .root.Chart.Version -}}
{{- $own := dict "app.kubernetes.io/part-of" "tandem" "app.kubernetes.io/version" .root.Chart.AppVersion "helm.sh/chart" $chart -}}
{{- $fixed := mustMerge (dict "app.kubernetes.io/managed-by" .root.Release.Service) (include "tandem.selector" . | fromYaml) -}}
{{ mustMergeOverwrite $own .root.Values.commonLabels $fixed | toYaml }}
{{- end }}

{{/* dict root, component (the component's values) -> name of its objects. A Service's may have 63 characters, with the end that is
     put to it: -pods, or KServe's -predictor. A release's name that is cut for it ends with its hash. */}}
{{- define "tandem.objectName" -}}
{{- $room := sub (ternary 52 57 (eq .root.Values.serving.mode "kserve")) (len .component.name) | int -}}
{{- $name := include "tandem.fullname" .root -}}
{{- if gt (len $name) $room -}}
{{- $name = printf "%s-%s" ($name | trunc (sub $room 7 | int) | trimSuffix "-") ($name | sha256sum | trunc 6) -}}
{{- end -}}
{{ $name }}-{{ .component.name }}
{{- end }}

{{/* name of a Deployment -> a pattern of its pods' names and of no others': NAME-HASH-RANDOM, of which Kubernetes cuts all before RANDOM
     to 58 characters */}}
{{- define "tandem.podPattern" -}}
{{- $random := "[bcdfghjklmnpqrstvwxz2456789]" -}}
{{- if le (len .) 46 -}}{{ . }}-{{ $random }}{1,10}-{{ $random }}{5}
{{- else if le (len .) 57 -}}{{ . }}-{{ $random }}{0,10}-?{{ $random }}{5}
{{- else -}}{{ trunc 58 . }}{{ $random }}{5}
{{- end -}}
{{- end }}

{{/* root -> which families of addresses a Service has; nothing where the cluster decides */}}
{{- define "tandem.families" -}}
{{- with .Values.network.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .Values.network.ipFamilies }}
ipFamilies: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* root -> the address that processes listen on: without IPv6 a kernel has no :: */}}
{{- define "tandem.listen" -}}
{{- $v6 := or (has "IPv6" (default list .Values.network.ipFamilies)) (hasSuffix "DualStack" .Values.network.ipFamilyPolicy) -}}
{{- ternary "::" "0.0.0.0" $v6 -}}
{{- end }}

{{/* dict root, job -> metadata of its pod */}}
{{- define "tandem.jobMetadata" -}}
{{- $own := include "tandem.templateLabels" (dict "root" .root "component" .job) | fromYaml -}}
labels: {{- mustMerge $own .root.Values.jobs.podLabels | toYaml | nindent 2 }}
{{- with merge (default dict .annotations) (deepCopy .root.Values.jobs.podAnnotations) }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* dict root, key, pair: host:port of the pods that serve the pair; the client balances over them */}}
{{- define "tandem.target" -}}
{{- $host := .pair -}}
{{- if has .key (splitList " " (include "tandem.perPair" .root)) -}}{{- $host = include "tandem.hostOf" . -}}{{- end -}}
{{- $c := include "tandem.component" (dict "root" .root "key" .key "pair" $host) | fromYaml -}}
{{ include "tandem.podsTarget" (dict "root" .root "component" $c "port" $c.port) }}
{{- end }}

{{/* dict root, component, port */}}
{{- define "tandem.podsTarget" -}}
dns:///{{ include "tandem.objectName" . }}-pods.{{ .root.Release.Namespace }}.svc:{{ .port }}
{{- end }}

{{/* dict component, port, target: the port of a Service */}}
{{- define "tandem.servicePort" -}}
{{- $c := .component -}}
{name: {{ ternary "http" "grpc" $c.fixed.http }}, port: {{ .port }}, targetPort: {{ .target }}, protocol: TCP, appProtocol: {{ ternary "http" (ternary "https" "kubernetes.io/h2c" $c.tls) $c.fixed.http }}}
{{- end }}

{{/* URL -> its port */}}
{{- define "tandem.portOf" -}}
{{- regexFind ":[0-9]+(/|$)" . | trimPrefix ":" | trimSuffix "/" | default (ternary "80" "443" (hasPrefix "http:" .)) -}}
{{- end }}
