{{/* What autoscalers look at. */}}

{{/* component -> the metric of its pods' waiting and running work */}}
{{- define "tandem.loadMetric" -}}
{{- ternary "tandem_gateway_streams" "tandem_engine_requests" (eq .key "gateway") -}}
{{- end }}

{{/* root -> name of the TriggerAuthentication for Temporal; empty where Temporal asks for no credentials */}}
{{- define "tandem.temporalAuthentication" -}}
{{- if or .Values.temporal.apiKeySecret .Values.temporal.tls.existingSecret -}}
{{ include "tandem.fullname" . }}-temporal
{{- end -}}
{{- end }}

{{/* dict root, queue, types, target -> a trigger of KEDA */}}
{{- define "tandem.temporalTrigger" -}}
- type: temporal
  metadata:
    endpoint: {{ include "tandem.temporalAddress" .root }}
    namespace: {{ .root.Values.temporal.namespace }}
    taskQueue: {{ .queue }}
    queueTypes: {{ .types }}
    targetQueueSize: {{ .target | quote }}
    {{- with .root.Values.temporal.tls.serverName }}
    tlsServerName: {{ . }}
    {{- end }}
  {{- with include "tandem.temporalAuthentication" .root }}
  authenticationRef: {name: {{ . }}}
  {{- end }}
{{- end }}

{{/* dict component, query -> a trigger of KEDA */}}
{{- define "tandem.prometheusTrigger" -}}
{{- $scaling := .component.autoscaling -}}
- type: prometheus
  metadata:
    serverAddress: {{ required (printf "%s.autoscaling.prometheusAddress is needed for kind keda" .component.key) $scaling.prometheusAddress }}
    query: {{ .query | squote }}
    threshold: {{ $scaling.target | quote }}
    {{- with $scaling.prometheusAuthModes }}
    authModes: {{ . }}
    {{- end }}
  {{- with $scaling.prometheusAuthentication }}
  authenticationRef: {name: {{ . }}}
  {{- end }}
{{- end }}

{{/* dict root, component, target (name of what is scaled) -> triggers of its ScaledObject */}}
{{- define "tandem.kedaTriggers" -}}
{{- $root := .root -}}{{- $c := .component -}}{{- $scaling := $c.autoscaling -}}
{{- if eq $c.key "worker" }}
{{- $queue := printf "tandem-%s" $c.pair -}}
# Tasks that wait in Temporal for a worker, in each of its queues; a backlog is mostly of activities.
{{ include "tandem.temporalTrigger" (dict "root" $root "queue" $queue "types" "workflow,activity" "target" $scaling.target) }}
{{ include "tandem.temporalTrigger" (dict "root" $root "queue" (printf "%s-llm" $queue) "types" "activity" "target" $scaling.target) }}
{{ include "tandem.temporalTrigger" (dict "root" $root "queue" (printf "%s/batch" $queue) "types" "workflow,activity" "target" $scaling.target) }}
{{- else -}}
{{- $pods := printf ",pod=~\"%s\"" (include "tandem.podPattern" .target) -}}
{{- $role := "" -}}{{- with $c.fixed.runs }}{{ $role = printf ",role=\"%s\"" . }}{{ end -}}
{{- $namespace := printf "namespace=\"%s\"" $root.Release.Namespace -}}
{{ include "tandem.prometheusTrigger" (dict "component" $c "query" (printf "sum(%s{%s%s%s})" (include "tandem.loadMetric" $c) $namespace $role $pods)) }}
{{- if eq (int $scaling.minReplicas) 0 }}
# Without pods there is no metric of them: an attempt of any of the pairs that finds none wakes the first one.
{{- $profiles := printf ",profile=~\"%s\"" (join "|" $c.serves) }}
{{ include "tandem.prometheusTrigger" (dict "component" $c "query" (printf "sum(increase(tandem_model_unavailable_total{%s%s%s}[2m]))" $namespace $role $profiles)) }}
{{- end }}
{{- end }}
{{- end }}

{{/* component -> how fast its autoscaler acts */}}
{{- define "tandem.scalingBehavior" -}}
{{- $down := dict "scaleDown" (dict "stabilizationWindowSeconds" .autoscaling.cooldownSeconds) -}}
{{ mustMergeOverwrite $down (deepCopy .autoscaling.behavior) | toYaml }}
{{- end }}
