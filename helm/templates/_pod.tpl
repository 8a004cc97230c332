{{/* dict root, component -> where its pods run; the same for the Jobs that run in its place */}}
{{- define "tandem.placement" -}}
{{- $root := .root -}}{{- $c := .component -}}
{{- $pool := dict -}}
{{- if $c.onGpu -}}{{- $pool = index $root.Values.pools $c.pool -}}{{- end -}}
{{- with $c.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $c.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with $c.extraPodSpec }}
{{ toYaml . }}
{{- end }}
{{- with mustMergeOverwrite (deepCopy (default dict $pool.nodeSelector)) $c.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat (default list $pool.tolerations) $c.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $c.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* dict root, component, kserve -> the pod's spec, the same in a Deployment and in an InferenceService */}}
{{- define "tandem.podSpec" -}}
{{- $root := .root -}}{{- $c := .component -}}
serviceAccountName: {{ include "tandem.serviceAccount" . }}
automountServiceAccountToken: {{ include "tandem.automount" $c }}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $c.grace }}
securityContext: {{- toYaml $c.podSecurityContext | nindent 2 }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "tandem.placement" . | trim }}
{{ . }}
{{- end }}
{{- with $c.resourceClaims }}
resourceClaims: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $c.topologySpreadConstraints }}
topologySpreadConstraints:
{{- range . }}
  - {{- toYaml . | nindent 4 }}
    {{- if not .labelSelector }}
    labelSelector:
      matchLabels: {{- include "tandem.selector" (dict "root" $root "component" $c.name) | nindent 8 }}
    {{- end }}
{{- end }}
{{- end }}
{{- $pull := include "tandem.pullInit" . -}}
{{- if or $pull $c.extraInitContainers }}
initContainers:
  {{- with $pull }}{{ . | nindent 2 }}{{ end }}
  {{- with $c.extraInitContainers }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}
containers:
  - name: {{ if .kserve }}kserve-container{{ else }}{{ $c.role }}{{ end }}
    image: {{ include "tandem.image" . | quote }}
    imagePullPolicy: {{ include "tandem.pullPolicy" . }}
    args: [python, -m, {{ $c.fixed.module }}]
    securityContext: {{- toYaml $c.securityContext | nindent 6 }}
    ports:
      - {name: {{ ternary "http" "grpc" $c.fixed.http }}, containerPort: {{ $c.port }}, protocol: TCP}
      {{- if not .kserve }}
      - {name: metrics, containerPort: 9090, protocol: TCP}
      {{- end }}
    startupProbe:
      {{- include "tandem.readyProbe" $c | nindent 6 }}
      {{- toYaml $c.probes.startup | nindent 6 }}
    readinessProbe:
      {{- include "tandem.readyProbe" $c | nindent 6 }}
      {{- toYaml $c.probes.readiness | nindent 6 }}
    livenessProbe:
      {{- if $c.fixed.http }}
      httpGet: {path: /healthz, port: http}
      {{- else }}
      grpc: {port: {{ $c.healthPort }}}
      {{- end }}
      periodSeconds: 10
      failureThreshold: 6
      timeoutSeconds: 2
    resources: {{- include "tandem.resources" . | nindent 6 }}
    env: {{- include "tandem.env" . | nindent 6 }}
    {{- $sources := default list $c.extraEnvFrom }}
    {{- if and $c.fixed.temporal $root.Values.fileStore.existingSecret }}
    {{- $sources = prepend $sources (dict "secretRef" (dict "name" $root.Values.fileStore.existingSecret)) }}
    {{- end }}
    {{- with $sources }}
    envFrom: {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts: {{- include "tandem.mounts" . | nindent 6 }}
  {{- with $c.extraContainers }}{{ toYaml . | nindent 2 }}{{ end }}
volumes: {{- include "tandem.volumes" . | nindent 2 }}
{{- end }}
