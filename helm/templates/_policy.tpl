{{/* Parts of the network policies. */}}

{{/* DNS, at the port of its Service and at that of OpenShift's pods: a policy is asked after the address has been translated. */}}
{{- define "tandem.dnsEgress" -}}
- ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}, {protocol: UDP, port: 5353}, {protocol: TCP, port: 5353}]
{{- end }}

{{/* items of networkPolicy.extraPorts -> ports of a rule: a number is a TCP port */}}
{{- define "tandem.extraPorts" -}}
{{- range . }}
{{- if kindIs "map" . }}
- {{ mustMergeOverwrite (dict "protocol" "TCP") . | toJson }}
{{- else }}
- {protocol: TCP, port: {{ int . }}}
{{- end }}
{{- end }}
{{- end }}

{{/* root -> the port of Temporal */}}
{{- define "tandem.temporalPort" -}}
{{- regexFind ":[0-9]+$" (include "tandem.temporalAddress" .) | trimPrefix ":" | default "7233" -}}
{{- end }}
