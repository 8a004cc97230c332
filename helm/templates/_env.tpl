{{/* dict root, component -> the environment of its process; what extraEnv names is not there twice */}}
{{- define "tandem.env" -}}
{{- $given := list -}}{{- range .component.extraEnv }}{{ $given = append $given .name }}{{ end -}}
{{- range include "tandem.ownEnv" . | fromYamlArray }}
{{- if not (has .name $given) }}
{{ toYaml (list .) }}
{{- end }}
{{- end }}
{{- with .component.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tandem.ownEnv" -}}
{{- $root := .root -}}{{- $c := .component -}}{{- $v := .root.Values -}}
- {name: HOME, value: /tmp}
- {name: TANDEM_HOST, value: {{ include "tandem.listen" $root | quote }}}
- {name: TANDEM_PORT, value: {{ $c.port | quote }}}
- {name: TANDEM_METRICS_PORT, value: "9090"}
{{- if ne $v.logs.format "text" }}
- {name: TANDEM_LOG_FORMAT, value: {{ $v.logs.format }}}
{{- end }}
{{- if ne $v.logs.level "INFO" }}
- {name: TANDEM_LOG_LEVEL, value: {{ $v.logs.level }}}
{{- end }}
- {name: TANDEM_DRAIN, value: {{ $c.drainSeconds | quote }}}
- {name: TANDEM_UNREADY_PAUSE, value: {{ $c.unreadyPauseSeconds | quote }}}
{{- if $v.tls.enabled }}
{{ include "tandem.tlsEnv" . }}
{{- end }}
{{- if $c.fixed.isolated }}
- {name: TANDEM_CHECKER_CONCURRENCY, value: {{ $c.concurrency | quote }}}
- {name: TANDEM_CHECKER_ALLOW_WEAK_SANDBOX, value: {{ $c.allowWeakSandbox | quote }}}
{{- else if $c.fixed.http }}
- {name: TANDEM_GATEWAY, value: {{ include "tandem.podsTarget" (dict "root" $root "component" (include "tandem.component" (dict "root" $root "key" "gateway" "pair" "") | fromYaml) "port" (include "tandem.internalGatewayPort" $root)) }}}
{{- include "tandem.anonymousEnv" $root }}
- {name: TANDEM_ALLOWED_HOSTS, value: {{ include "tandem.allowedHosts" $root | quote }}}
{{- with $c.allowedOrigins }}
- {name: TANDEM_ALLOWED_ORIGINS, value: {{ join "," . | quote }}}
{{- end }}
{{- with $c.trustedProxies }}
- {name: FORWARDED_ALLOW_IPS, value: {{ join "," . | quote }}}
{{- end }}
{{ include "tandem.otelEnv" $root }}
{{- else }}
{{ include "tandem.connectedEnv" . }}
{{ include "tandem.otelEnv" $root }}
{{- end }}
{{- end }}

{{/* What a process needs to reach others. One that runs code of a model gets none of it: no address, no secret. */}}
{{- define "tandem.connectedEnv" -}}
{{- $root := .root -}}{{- $c := .component -}}{{- $v := .root.Values -}}
- {name: TANDEM_PROFILES_PATH, value: "/etc/tandem/profiles:/app/deploy/profiles"}
{{- if and $v.checkers (has $c.key (list "gateway" "worker")) }}
{{- $own := list }}{{ range $name, $address := $v.checkers }}{{ $own = append $own (printf "%s=%s" $name $address) }}{{ end }}
- {name: TANDEM_CHECKERS, value: {{ join "," $own | quote }}}
{{- end }}
{{- if eq $c.key "gateway" }}
{{- $kept := list }}{{ $withdrawn := list }}
{{- range (include "tandem.pairs" $root | fromYaml).pairs }}
{{- if .withdrawn }}{{ $withdrawn = append $withdrawn .name }}{{ else }}{{ $kept = append $kept .name }}{{ end }}
{{- end }}
# The first is the default: a pair that is being taken out is none.
- {name: TANDEM_PROFILES, value: {{ join "," (concat $kept $withdrawn) | quote }}}
- {name: TANDEM_MAX_STORED_BYTES, value: {{ int64 $v.fileStore.maxBytesPerTenant | quote }}}
{{- with $withdrawn }}
- {name: TANDEM_WITHDRAWN_PROFILES, value: {{ join "," . | quote }}}
{{- end }}
{{- else if gt (len $c.serves) 1 }}
- {name: TANDEM_PROFILES, value: {{ join "," $c.serves | quote }}}
{{- else }}
- {name: TANDEM_PROFILE, value: {{ first $c.serves | quote }}}
{{- end }}
{{ include "tandem.redisEnv" . }}
{{- if include "tandem.hasPayloadKeys" . }}
- {name: TANDEM_PAYLOAD_KEYS, value: /etc/tandem/payload-keys/payload-keys.json}
{{- end }}
{{- if $c.fixed.model }}
{{- if has $c.key (splitList " " (include "tandem.furtherExecutors" $root)) }}
- {name: TANDEM_ROLE, value: {{ $c.fixed.runs }}}
{{- end }}
- {name: TANDEM_MODELS, value: /models}
- {name: TANDEM_ENGINE, value: {{ $c.engine | quote }}}
- {name: TANDEM_DEVICE, value: {{ default (ternary "cuda" "cpu" $c.hasGpu) $c.device }}}
- {name: TANDEM_THREADS, value: {{ $c.threads | quote }}}
- {name: TANDEM_MAX_BATCH, value: {{ $c.maxBatch | quote }}}
{{- with $c.engineArgs }}
- {name: TANDEM_ENGINE_ARGS, value: {{ toJson . | quote }}}
{{- end }}
# Waiting threads must not spin (services/models/engine gives the reason): other processes share the node's cores.
- {name: OMP_WAIT_POLICY, value: passive}
- {name: GOMP_SPINCOUNT, value: "2000"}
{{- end }}
{{- if $c.isApi }}
{{- $sdk := ternary "OPENAI" (upper $c.engine) (eq $c.engine "responses") }}
- {name: {{ $sdk }}_BASE_URL, value: {{ required (printf "%s.api.baseUrl is needed for engine %s" $c.key $c.engine) $c.api.baseUrl | quote }}}
- name: {{ default (printf "%s_API_KEY" $sdk) $c.api.keyVariable }}
{{- if $c.api.existingSecret }}
  valueFrom: {secretKeyRef: {name: {{ $c.api.existingSecret }}, key: api-key}}
{{- else }}
  value: none
{{- end }}
{{- end }}
{{- if eq $c.key "gateway" }}
- {name: TANDEM_MODELS, value: /models}
- {name: TANDEM_MAX_REQUESTS, value: {{ $c.maxRequests | quote }}}
- {name: TANDEM_MAX_STARTING, value: {{ $c.maxStarting | quote }}}
{{ include "tandem.authEnv" $root }}
{{- if include "tandem.hasTenants" $root }}
- {name: TANDEM_TENANTS, value: /etc/tandem/tenants/tenants.json}
{{- end }}
{{- end }}
{{- if eq $c.key "worker" }}
- {name: TANDEM_INSIGHT_GENERATOR, value: {{ include "tandem.target" (dict "root" $root "key" "insightGenerator" "pair" $c.pair) }}}
- {name: TANDEM_SUFFICIENCY_SCORER, value: {{ include "tandem.target" (dict "root" $root "key" "sufficiencyScorer" "pair" $c.pair) }}}
- {name: TANDEM_SLM_EXECUTOR, value: {{ include "tandem.target" (dict "root" $root "key" "slmExecutor" "pair" $c.pair) }}}
{{- $further := list }}
{{- range splitList " " (include "tandem.furtherExecutors" $root) }}
{{- $one := dict "root" $root "key" . "pair" $c.pair }}
{{- $executor := include "tandem.component" $one | fromYaml }}
{{- if $executor.enabled }}{{ $further = append $further (printf "%s=%s" $executor.fixed.runs (include "tandem.target" $one)) }}{{ end }}
{{- end }}
{{- with $further }}
- {name: TANDEM_SLM_EXECUTORS, value: {{ join "," . | quote }}}
{{- end }}
- {name: TANDEM_ANSWER_CHECKER, value: {{ include "tandem.target" (dict "root" $root "key" "answerChecker" "pair" $c.pair) }}}
- {name: TANDEM_MAX_LLM, value: {{ $c.maxLlm | quote }}}
{{- if $c.versioning }}
- {name: TANDEM_DEPLOYMENT, value: {{ include "tandem.fullname" $root }}{{ with $c.pairKey }}-{{ . }}{{ end }}}
- {name: TANDEM_BUILD, value: {{ include "tandem.build" . | quote }}}
- {name: TANDEM_HANDOVER, value: {{ $c.handoverSeconds | quote }}}
{{- end }}
{{- end }}
{{- if $c.fixed.temporal }}
{{ include "tandem.temporalEnv" $root }}
{{- include "tandem.filesEnv" $root }}
{{- end }}
{{- end }}

{{/* Where the files of batches lie. */}}
{{- define "tandem.filesEnv" -}}
{{- $files := .Values.fileStore -}}
{{- if and $files.url $files.existingClaim }}{{ fail "fileStore.url and fileStore.existingClaim exclude each other" }}{{ end }}
{{- if or $files.url $files.existingClaim }}
- {name: TANDEM_FILES, value: {{ default "/files" $files.url | quote }}}
{{- end }}
{{- end }}

{{- define "tandem.otelEnv" -}}
{{- $root := . -}}{{- $v := .Values -}}
{{- with include "tandem.otelEndpoint" $root }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
- {name: OTEL_EXPORTER_OTLP_PROTOCOL, value: {{ ternary $v.otel.protocol "grpc" (not (empty $v.otel.endpoint)) }}}
{{- with $v.otel.headersSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom: {secretKeyRef: {name: {{ . }}, key: headers}}
{{- end }}
# Costs are read from traces: all of them are sampled, unless extraEnv names another sampler.
- {name: OTEL_TRACES_SAMPLER, value: parentbased_always_on}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: deployment.environment.name={{ $v.otel.environment }},k8s.namespace.name={{ $root.Release.Namespace }},k8s.pod.name=$(POD_NAME),service.instance.id=$(POD_NAME)
{{- end }}
{{- end }}

{{/* How the gateway asks its callers who they are. */}}
{{- define "tandem.authEnv" -}}
{{- $auth := .Values.auth -}}
{{- if $auth.existingSecret }}
- {name: TANDEM_API_KEYS, value: /etc/tandem/keys/keys.json}
{{- end }}
{{- with $auth.oidc.issuer }}
- {name: TANDEM_OIDC_ISSUER, value: {{ . | quote }}}
- {name: TANDEM_OIDC_AUDIENCE, value: {{ $auth.oidc.audience | quote }}}
- {name: TANDEM_OIDC_TENANT_CLAIM, value: {{ $auth.oidc.tenantClaim | quote }}}
- {name: TANDEM_OIDC_ROLES_CLAIM, value: {{ $auth.oidc.rolesClaim | quote }}}
{{- end }}
{{- include "tandem.anonymousEnv" . }}
{{- end }}

{{/* For both gateways: neither serves others through a gateway that asks nobody, unless it is told to. */}}
{{- define "tandem.anonymousEnv" -}}
{{- $auth := .Values.auth -}}
{{- if not (or $auth.existingSecret $auth.oidc.issuer) }}
{{- if not (or $auth.allowAnonymous .Values.demo.enabled) }}
{{- fail "auth.existingSecret or auth.oidc.issuer is needed; auth.allowAnonymous=true serves anyone who reaches the gateway" }}
{{- end }}
- {name: TANDEM_ALLOW_ANONYMOUS, value: "true"}
{{- end }}
{{- end }}

{{/* The names by which clients call the HTTP gateway: its Services', as long and as short as they are written, and the routes'. */}}
{{- define "tandem.allowedHosts" -}}
{{- $names := .Values.httpGateway.allowedHosts | default list -}}
{{- range list "http-gateway" "http-gateway-pods" }}
{{- $name := printf "%s-%s" (include "tandem.fullname" $) . -}}
{{- range list "" (printf ".%s" $.Release.Namespace) (printf ".%s.svc" $.Release.Namespace) (printf ".%s.svc.cluster.local" $.Release.Namespace) }}
{{- $names = append $names (print $name .) }}
{{- end }}
{{- end }}
{{- if .Values.expose.kind }}{{ $names = concat $names (default list .Values.expose.http.hosts) }}{{ end }}
{{- join "," $names }}
{{- end }}

{{/* Not empty where tenants have limits. */}}
{{- define "tandem.hasTenants" -}}
{{- if or .Values.tenants.existingSecret .Values.tenants.limits }}yes{{ end -}}
{{- end }}

{{- define "tandem.temporalEnv" -}}
{{- $t := .Values.temporal -}}
- {name: TEMPORAL_ADDRESS, value: {{ include "tandem.temporalAddress" . | quote }}}
- {name: TEMPORAL_NAMESPACE, value: {{ $t.namespace | quote }}}
{{- if $t.tls.enabled }}
- {name: TEMPORAL_TLS, value: "true"}
{{- end }}
{{- if $t.tls.caSecret }}
- {name: TEMPORAL_TLS_SERVER_CA_CERT_PATH, value: /etc/tandem/temporal-ca/ca.crt}
{{- end }}
{{- if $t.tls.existingSecret }}
- {name: TEMPORAL_TLS_CLIENT_CERT_PATH, value: /etc/tandem/temporal/tls.crt}
- {name: TEMPORAL_TLS_CLIENT_KEY_PATH, value: /etc/tandem/temporal/tls.key}
{{- end }}
{{- with $t.tls.serverName }}
- {name: TEMPORAL_TLS_SERVER_NAME, value: {{ . | quote }}}
{{- end }}
{{- with .Values.retention }}
- {name: TANDEM_RETENTION, value: {{ . | quote }}}
{{- end }}
{{- if $t.apiKeySecret }}
- name: TEMPORAL_API_KEY
  valueFrom: {secretKeyRef: {name: {{ $t.apiKeySecret }}, key: api-key}}
{{- end }}
{{- end }}

{{/* Addresses: those of the values, else the demo's. Redis' is in _redis.tpl. */}}
{{- define "tandem.temporalAddress" -}}
{{- if .Values.temporal.address -}}{{ .Values.temporal.address }}
{{- else if .Values.demo.enabled -}}{{ include "tandem.fullname" . }}-demo-temporal:7233
{{- else -}}{{ fail "temporal.address is needed (or demo.enabled for a trial)" }}{{- end -}}
{{- end }}

{{- define "tandem.otelEndpoint" -}}
{{- if .Values.otel.endpoint -}}{{ .Values.otel.endpoint }}
{{- else if .Values.demo.enabled -}}http://{{ include "tandem.fullname" . }}-demo-jaeger:4317
{{- end -}}
{{- end }}

{{/* root -> where `helm test` reads traces; empty where it reads none */}}
{{- define "tandem.testJaeger" -}}
{{- if .Values.test.jaeger -}}{{ .Values.test.jaeger }}
{{- else if .Values.demo.enabled -}}http://{{ include "tandem.fullname" . }}-demo-jaeger:16686
{{- end -}}
{{- end }}
