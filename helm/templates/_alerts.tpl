{{/* The rules of files/alerts.yaml for this release: its namespace, its processes, its promises. */}}

{{/* root -> groups of a PrometheusRule */}}
{{- define "tandem.alerts" -}}
{{- $root := . -}}{{- $monitored := .Values.metrics.prometheusRule -}}
{{- $namespace := printf "namespace=%q" .Release.Namespace -}}
{{- $groups := (.Files.Get "files/alerts.yaml" | fromYaml).groups -}}
{{- range $groups -}}
{{- range .rules -}}
{{- $expr := ternary (include "tandem.missing" $root) .expr (eq .alert "TandemProcessIsGone") -}}
{{- $expr = regexReplaceAll "\\b((?:tandem|otel_sdk)_[a-z_]+)\\{" $expr (printf "${1}{%s, " $namespace) -}}
{{- $expr = regexReplaceAll "\\b((?:tandem|otel_sdk)_[a-z_]+)([\\[)\\s])" $expr (printf "${1}{%s}${2}" $namespace) -}}
{{- $expr = include "tandem.promised" (dict "expr" $expr "from" "(1 - 0.99)" "share" $monitored.slo.answered) -}}
{{- $expr = include "tandem.promised" (dict "expr" $expr "from" "(1 - 0.95)" "share" $monitored.slo.inTime) -}}
{{- $_ := set . "expr" ($expr | replace "le=\"60.0\"" (printf "le=\"%.1f\"" (float64 $monitored.slo.seconds))) -}}
{{- $_ := set .labels "namespace" $root.Release.Namespace -}}
{{- $_ := set .annotations "runbook_url" (.annotations.runbook_url | replace "docs/operate.md#" (printf "%s#" $monitored.runbookUrl)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $groups -}}
{{- end }}

{{/* dict expr, from, share -> the expression with this promise; where an error budget cannot be used up that fast, from half of all calls on */}}
{{- define "tandem.promised" -}}
{{- $expr := .expr -}}
{{- range $burn := list 14.4 6.0 1.0 -}}
{{- $to := ternary "0.5" (printf "%v * (1 - %v)" $burn $.share) (gt (mulf $burn (subf 1 (float64 $.share))) 0.5) -}}
{{- $expr = $expr | replace (printf "> %v * %s" $burn $.from) (printf "> %s" $to) -}}
{{- end -}}
{{- $expr -}}
{{- end }}

{{/* root -> an expression for the processes that are to be there and are not; KServe's pods are not scraped, models may sleep */}}
{{- define "tandem.missing" -}}
{{- $root := . -}}{{- $found := list -}}
{{- range (include "tandem.instances" . | fromYaml).instances -}}
{{- $c := include "tandem.component" (dict "root" $root "key" .key "pair" .pair) | fromYaml -}}
{{- $sleeps := and $c.autoscaling.enabled (eq (int $c.autoscaling.minReplicas) 0) -}}
{{- $isUnread := and $c.fixed.model (eq $root.Values.serving.mode "kserve") -}}
{{- if and $c.enabled (not $sleeps) (not $isUnread) -}}
{{- $pods := include "tandem.objectName" (dict "root" $root "component" $c) | include "tandem.podPattern" -}}
{{- $found = append $found (printf "absent(tandem_process_info{process=%q, pod=~%q})" (kebabcase .key) $pods) -}}
{{- end -}}
{{- end -}}
{{- join "\nor " $found -}}
{{- end }}
