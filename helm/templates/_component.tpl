{{/* The one definition of a component, for all seven. */}}

{{/* dict root, key -> the component's values over the defaults, with the fixed facts of its process */}}
{{- define "tandem.component" -}}
{{- $values := mustMergeOverwrite (deepCopy .root.Values.defaults) (deepCopy (index .root.Values .key)) -}}
{{- $fixed := index (include "tandem.processes" .root | fromYaml) .key -}}
{{- $isApi := eq (default "" $values.engine) "openai" -}}
{{- $onGpu := and $fixed.model (not $isApi) (ne .root.Values.accelerator "none") (gt (int $values.gpus) 0) -}}
{{- $seconds := int $values.terminationGracePeriodSeconds -}}
{{- if not $seconds -}}
{{- $seconds = add $values.unreadyPauseSeconds $values.drainSeconds 10 | int -}}
{{- if and (eq .key "worker") $values.versioning -}}{{- $seconds = add $seconds $values.handoverSeconds | int -}}{{- end -}}
{{- end -}}
{{- $tls := .root.Values.tls -}}
{{- $health := ternary $tls.healthPort $values.service.port $tls.enabled -}}
{{- $isSecured := and $tls.enabled (or $tls.public (ne .key "gateway")) -}}
{{- $more := dict "fixed" $fixed "key" .key "name" (kebabcase .key) "onGpu" $onGpu "isApi" $isApi "grace" $seconds "healthPort" $health "tls" $isSecured -}}
{{- mustMergeOverwrite $values $more | toYaml -}}
{{- end }}

{{/* dict root, component -> image reference */}}
{{- define "tandem.image" -}}
{{- $image := mustMergeOverwrite (deepCopy .root.Values.image) (deepCopy .component.image) -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .root.Chart.AppVersion $image.tag }}{{ if .component.onGpu }}{{ $image.cudaSuffix }}{{ end }}
{{- end -}}
{{- end }}

{{/* dict root, component -> the worker's build id: the same image is the same build */}}
{{- define "tandem.build" -}}
{{- include "tandem.image" . | sha256sum | trunc 12 -}}
{{- end }}

{{/* dict root, component -> the pod's spec, the same in a Deployment and in an InferenceService */}}
{{- define "tandem.podSpec" -}}
{{- $root := .root -}}{{- $c := .component -}}
{{- $pool := dict -}}
{{- if $c.onGpu -}}{{- $pool = index $root.Values.pools $c.pool -}}{{- end -}}
serviceAccountName: {{ include "tandem.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $c.grace }}
securityContext: {{- toYaml $c.podSecurityContext | nindent 2 }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $c.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $c.runtimeClassName }}
runtimeClassName: {{ . }}
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
{{- if and (include "tandem.needsModels" .) $root.Values.modelCache.pull }}
initContainers:
  - name: pull-models
    image: {{ include "tandem.image" . | quote }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args: [tandem, models, pull, --profile, {{ $root.Values.profile.name | quote }}]
    securityContext: {{- toYaml $c.securityContext | nindent 6 }}
    env:
      - {name: HOME, value: /tmp}
      - {name: TANDEM_MODELS, value: /models}
      - {name: TANDEM_PROFILES_PATH, value: "/etc/tandem/profiles:/app/deploy/profiles"}
      {{- with $root.Values.modelCache.pullEnv }}{{ toYaml . | nindent 6 }}{{ end }}
    resources:
      requests: {cpu: 500m, memory: 1Gi}
      limits: {memory: 8Gi}
    volumeMounts: {{- include "tandem.mounts" . | nindent 6 }}
{{- end }}
containers:
  - name: {{ if .kserve }}kserve-container{{ else }}{{ $c.name }}{{ end }}
    image: {{ include "tandem.image" . | quote }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args: [python, -m, {{ $c.fixed.module }}{{ range $c.extraArgs }}, {{ . | quote }}{{ end }}]
    securityContext: {{- toYaml $c.securityContext | nindent 6 }}
    {{- with $c.lifecycle }}
    lifecycle: {{- toYaml . | nindent 6 }}
    {{- end }}
    ports:
      - {name: {{ ternary "http" "grpc" $c.fixed.http }}, containerPort: {{ $c.service.port }}, protocol: TCP}
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
      {{- toYaml $c.probes.liveness | nindent 6 }}
    resources: {{- include "tandem.resources" . | nindent 6 }}
    env: {{- include "tandem.env" . | nindent 6 }}
    {{- if and $c.fixed.temporal $root.Values.fileStore.existingSecret }}
    envFrom: [{secretRef: {name: {{ $root.Values.fileStore.existingSecret }}}}]
    {{- end }}
    volumeMounts: {{- include "tandem.mounts" . | nindent 6 }}
volumes:
  - name: tmp
    emptyDir: {{- if $c.fixed.isolated }} {medium: Memory, sizeLimit: {{ $c.scratchSize }}}{{ else }} {}{{ end }}
  {{- if $root.Values.tls.enabled }}
  - {{- include "tandem.tlsVolume" (dict "root" $root "key" $c.key) | nindent 4 }}
  {{- end }}
  {{- if include "tandem.needsProfile" . }}
  - name: profile
    configMap: {name: {{ include "tandem.fullname" $root }}-profile}
  {{- end }}
  {{- if and $c.fixed.temporal $root.Values.temporal.tls.existingSecret }}
  - name: temporal-tls
    secret: {secretName: {{ $root.Values.temporal.tls.existingSecret }}}
  {{- end }}
  {{- if include "tandem.hasPayloadKeys" . }}
  - name: payload-keys
    secret: {secretName: {{ $root.Values.temporal.payloadKeysSecret }}}
  {{- end }}
  {{- if and (eq $c.name "gateway") $root.Values.auth.existingSecret }}
  - name: api-keys
    secret: {secretName: {{ $root.Values.auth.existingSecret }}}
  {{- end }}
  {{- if and (eq $c.name "gateway") (include "tandem.hasTenants" $root) }}
  - name: tenants
    {{- if $root.Values.tenants.existingSecret }}
    secret: {secretName: {{ $root.Values.tenants.existingSecret }}}
    {{- else }}
    configMap: {name: {{ include "tandem.fullname" $root }}-tenants}
    {{- end }}
  {{- end }}
  {{- if and $c.fixed.temporal $root.Values.fileStore.existingClaim }}
  - name: files
    persistentVolumeClaim: {claimName: {{ $root.Values.fileStore.existingClaim }}}
  {{- end }}
  {{- if include "tandem.needsModels" . }}
  - name: models
    {{- include "tandem.modelVolume" . | nindent 4 }}
  {{- end }}
  {{- with $c.extraVolumes }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}

{{- define "tandem.readyProbe" -}}
{{- if .fixed.http -}}
httpGet: {path: {{ .fixed.ready }}, port: http}
{{- else -}}
grpc: {port: {{ .healthPort }}, service: {{ .fixed.ready }}}
{{- end -}}
{{- end }}

{{/* The HTTP gateway asks the gateway for whatever it has to know. */}}
{{- define "tandem.needsProfile" -}}
{{- if not (or .component.fixed.isolated .component.fixed.http) }}yes{{ end -}}
{{- end }}

{{/* Whoever reads or writes text of a request in Temporal or Redis. */}}
{{- define "tandem.hasPayloadKeys" -}}
{{- if and .root.Values.temporal.payloadKeysSecret (not (or .component.fixed.isolated .component.fixed.http)) }}yes{{ end -}}
{{- end }}

{{/* The gateway needs the tokenizers, to count a question's tokens; worker, checker and HTTP gateway need no part of a model. */}}
{{- define "tandem.needsModels" -}}
{{- if not (or (eq .component.name "worker") .component.fixed.isolated .component.fixed.http .component.isApi) }}yes{{ end -}}
{{- end }}

{{- define "tandem.modelVolume" -}}
{{- $cache := .root.Values.modelCache -}}
{{- if eq $cache.type "pvc" -}}
persistentVolumeClaim: {claimName: {{ include "tandem.fullname" .root }}-{{ .component.name }}-models}
{{- else if eq $cache.type "existingClaim" -}}
persistentVolumeClaim: {claimName: {{ required "modelCache.existingClaim is needed for modelCache.type existingClaim" $cache.existingClaim }}}
{{- else if eq $cache.type "hostPath" -}}
hostPath: {path: {{ required "modelCache.hostPath is needed for modelCache.type hostPath" $cache.hostPath }}, type: Directory}
{{- else -}}
emptyDir: {sizeLimit: {{ $cache.size }}}
{{- end -}}
{{- end }}

{{- define "tandem.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .root.Values.tls.enabled }}
- {name: tls, mountPath: /etc/tandem/tls, readOnly: true}
{{- end }}
{{- if include "tandem.needsProfile" . }}
- {name: profile, mountPath: /etc/tandem/profiles/{{ .root.Values.profile.name }}, readOnly: true}
{{- end }}
{{- if and .component.fixed.temporal .root.Values.temporal.tls.existingSecret }}
- {name: temporal-tls, mountPath: /etc/tandem/temporal, readOnly: true}
{{- end }}
{{- if include "tandem.hasPayloadKeys" . }}
- {name: payload-keys, mountPath: /etc/tandem/payload-keys, readOnly: true}
{{- end }}
{{- if and (eq .component.name "gateway") .root.Values.auth.existingSecret }}
- {name: api-keys, mountPath: /etc/tandem/keys, readOnly: true}
{{- end }}
{{- if and (eq .component.name "gateway") (include "tandem.hasTenants" .root) }}
- {name: tenants, mountPath: /etc/tandem/tenants, readOnly: true}
{{- end }}
{{- if and .component.fixed.temporal .root.Values.fileStore.existingClaim }}
- {name: files, mountPath: /files}
{{- end }}
{{- if include "tandem.needsModels" . }}
- {name: models, mountPath: /models}
{{- end }}
{{- with .component.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tandem.resources" -}}
{{- $resources := deepCopy .component.resources -}}
{{- if .component.onGpu -}}
{{- $gpu := dict (index .root.Values.pools .component.pool).gpuResource .component.gpus -}}
{{- $resources = mustMergeOverwrite $resources (dict "limits" (mustMergeOverwrite (default dict $resources.limits) $gpu)) -}}
{{- end -}}
{{ toYaml $resources }}
{{- end }}

{{- define "tandem.serviceAccount" -}}
{{- $account := .component.serviceAccount -}}
{{- if $account.name -}}{{ $account.name }}
{{- else if $account.create -}}{{ include "tandem.fullname" .root }}-{{ .component.name }}
{{- else -}}default{{- end -}}
{{- end }}
