{{/* Certificates of the components: from cert-manager, or from secrets of the operator's. */}}

{{/* dict root, component -> name of the secret with tls.crt, tls.key and ca.crt; one of the operator's serves all pairs */}}
{{- define "tandem.tlsSecret" -}}
{{- $tls := .root.Values.tls -}}
{{- $given := index (default dict $tls.existingSecrets) .component.key -}}
{{- if $given -}}{{ $given }}
{{- else if (default dict $tls.certManager.issuerRef).name -}}{{ include "tandem.objectName" . }}-tls
{{- else -}}{{ fail (printf "tls.enabled needs tls.certManager.issuerRef.name or tls.existingSecrets.%s" .component.key) }}{{- end -}}
{{- end }}

{{/* dict root, component, onlyAuthority -> a volume. The kubelet replaces all of its files at once. */}}
{{- define "tandem.tlsVolume" -}}
{{- $authorities := .root.Values.tls.caConfigMap -}}
name: tls
projected:
  defaultMode: 0440
  sources:
    {{- if not (and .onlyAuthority $authorities) }}
    - secret:
        name: {{ include "tandem.tlsSecret" . }}
        items:
          {{- if not .onlyAuthority }}
          - {key: tls.crt, path: tls.crt}
          - {key: tls.key, path: tls.key}
          {{- end }}
          {{- if not $authorities }}
          - {key: ca.crt, path: ca.crt}
          {{- end }}
    {{- end }}
    {{- with $authorities }}
    - configMap: {name: {{ . }}, items: [{key: ca.crt, path: ca.crt}]}
    {{- end }}
{{- end }}

{{/* dict root, component */}}
{{- define "tandem.tlsEnv" -}}
{{- $tls := .root.Values.tls -}}
- {name: TANDEM_TLS_CERT, value: /etc/tandem/tls/tls.crt}
- {name: TANDEM_TLS_KEY, value: /etc/tandem/tls/tls.key}
- {name: TANDEM_TLS_CA, value: /etc/tandem/tls/ca.crt}
- {name: TANDEM_TLS_TRUST_DOMAIN, value: {{ $tls.trustDomain | quote }}}
{{- if not .component.fixed.http }}
- {name: TANDEM_HEALTH_PORT, value: {{ include "tandem.healthPort" . | quote }}}
{{- end }}
{{- if eq .component.key "gateway" }}
- {name: TANDEM_INTERNAL_PORT, value: {{ include "tandem.internalGatewayPort" .root | quote }}}
- {name: TANDEM_TLS_PUBLIC, value: {{ $tls.public | quote }}}
{{- end }}
{{- end }}

{{/* The port that tells the kubelet's probes, which have no certificate, the health of a pod, and nothing else. */}}
{{- define "tandem.healthPort" -}}9091{{- end }}

{{/* root -> the port of the gateway that the HTTP gateway calls; with TLS one that asks it for its certificate */}}
{{- define "tandem.internalGatewayPort" -}}
{{- if .Values.tls.enabled -}}50056
{{- else -}}{{ (include "tandem.component" (dict "root" . "key" "gateway" "pair" "") | fromYaml).port }}{{- end -}}
{{- end }}
