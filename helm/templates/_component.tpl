{{/* The one definition of a component, for all of them. */}}

{{/* dict root, key, pair (optional: the default) -> the component's values over the defaults, with the fixed facts of its process */}}
{{- define "tandem.component" -}}
{{- $pair := dict "key" "" "name" "" -}}
{{- if has .key (splitList " " (include "tandem.perPair" .root)) -}}
{{- $pair = include "tandem.pair" (dict "root" .root "name" .pair) | fromYaml -}}
{{- end -}}
{{- $fixed := index (include "tandem.processes" .root | fromYaml) .key -}}
{{- $defaults := deepCopy .root.Values.defaults -}}
{{/* What is meant for all others may be a secret or an address: code of a model shall find none. */}}
{{- if $fixed.isolated -}}
{{- $defaults = omit $defaults "extraEnv" "extraEnvFrom" "extraInitContainers" "extraContainers" "extraVolumes" "extraVolumeMounts" -}}
{{- $_ := set $defaults "extraPodSpec" (omit (default dict $defaults.extraPodSpec) "hostAliases") -}}
{{- end -}}
{{- $ofModels := ternary (deepCopy .root.Values.modelDefaults) dict $fixed.model -}}
{{- $values := mustMergeOverwrite $defaults $ofModels (deepCopy (index .root.Values .key | default dict)) (deepCopy (index $pair .key | default dict)) -}}
{{- $isApi := has (default "" $values.engine) (splitList " " (include "tandem.apis" .root)) -}}
{{- $onGpu := and $fixed.model (not $isApi) (ne .root.Values.accelerator "none") (gt (int $values.gpus) 0) -}}
{{- if and $onGpu (not (hasKey .root.Values.pools $values.pool)) }}{{ fail (printf "%s.pool: there is no pool %s in `pools`" .key $values.pool) }}{{ end -}}
{{/* A claimed device is a GPU too; where, its claim says, not the pool. */}}
{{- $hasGpu := or $onGpu (and $fixed.model (not $isApi) (ne .root.Values.accelerator "none") (gt (len (default list $values.resourceClaims)) 0)) -}}
{{- if and (eq $fixed.runs "scorer") $values.enabled (not (contains ":" $values.engine)) (not (has $values.engine (splitList " " (include "tandem.scoringEngines" .root)))) -}}
{{- fail (printf "sufficiencyScorer.engine: %s computes no scores. Set it to auto, llamacpp or transformers, or sufficiencyScorer.enabled=false" $values.engine) -}}
{{- end -}}
{{- if eq (default "" $values.engine) "vllm" }}{{ include "tandem.checkVllm" (dict "root" .root "key" .key "values" $values "hasGpu" $hasGpu "gpus" (ternary (int $values.gpus) 0 $onGpu)) }}{{ end -}}
{{- if and (gt (include "tandem.vllmGpus" $values | int) 1) (not $values.shmSize) }}{{ $_ := set $values "shmSize" "8Gi" }}{{ end -}}
{{- $handover := ternary (int $values.handoverSeconds) 0 (and (eq .key "worker") $values.versioning) -}}
{{- $seconds := add $values.unreadyPauseSeconds $values.drainSeconds 10 $handover | int -}}
{{- $name := kebabcase .key -}}{{- with $pair.key }}{{ $name = printf "%s-%s" $name . }}{{ end -}}
{{- $serves := (include "tandem.served" (dict "root" .root "key" .key "pair" $pair.name) | fromYaml).names -}}
{{- $tls := .root.Values.tls -}}
{{- $port := ternary 8080 50051 $fixed.http -}}
{{- $health := ternary (include "tandem.healthPort" . | int) $port $tls.enabled -}}
{{- $isSecured := and $tls.enabled (or $tls.public (ne .key "gateway")) -}}
{{- $more := dict "fixed" $fixed "key" .key "name" $name "role" $fixed.role "pair" $pair.name "pairKey" $pair.key "serves" $serves "onGpu" $onGpu "hasGpu" $hasGpu "isApi" $isApi "grace" $seconds "port" $port "healthPort" $health "tls" $isSecured -}}
{{- mustMergeOverwrite $values $more | toYaml -}}
{{- end }}

{{/* dict root, component -> image reference */}}
{{- define "tandem.image" -}}
{{- $image := mustMergeOverwrite (deepCopy .root.Values.image) (deepCopy .component.image) -}}
{{- $repository := $image.repository -}}
{{- $suffix := "" -}}
{{- if eq (default "" .component.engine) "vllm" }}{{ $suffix = "-vllm" }}{{ else if .component.hasGpu }}{{ $suffix = $image.cudaSuffix }}{{ end -}}
{{- if and .root.Values.image.digest (not .component.image.digest) (or $image.roles $suffix) -}}
{{- fail "image.digest names one image, and this release runs several: set COMPONENT.image.digest instead" -}}
{{- end -}}
{{- if $image.roles }}{{ $repository = printf "%s-%s" $repository .component.role }}{{ end -}}
{{- $registry := default $image.registry (default dict .root.Values.global).imageRegistry -}}
{{- if not $registry -}}
{{- fail "image.registry is needed: nobody publishes Tandem's images. Push them to a registry of yours, `make images PUSH=REGISTRY`, and set image.registry=REGISTRY; on Kind, `make images KIND=kind` and image.registry=tandem.local" -}}
{{- end -}}
{{- $repository = printf "%s/%s" $registry $repository -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{- $tag := default .root.Chart.AppVersion $image.tag -}}
{{ $repository }}:{{ $tag }}{{ if not (hasSuffix $suffix $tag) }}{{ $suffix }}{{ end }}
{{- end -}}
{{- end }}

{{/* dict root, component */}}
{{- define "tandem.pullPolicy" -}}
{{- default .root.Values.image.pullPolicy .component.image.pullPolicy -}}
{{- end }}

{{/* dict root, component -> the worker's build id: the same image is the same build */}}
{{- define "tandem.build" -}}
{{- include "tandem.image" . | sha256sum | trunc 12 -}}
{{- end }}

{{- define "tandem.readyProbe" -}}
{{- if .fixed.http -}}
httpGet: {path: {{ .fixed.ready }}, port: http}
{{- else -}}
grpc: {port: {{ .healthPort }}, service: {{ .fixed.ready }}}
{{- end -}}
{{- end }}

{{- define "tandem.resources" -}}
{{- $resources := deepCopy .component.resources -}}
{{- $claims := list -}}{{- range .component.resourceClaims }}{{ $claims = append $claims (dict "name" .name) }}{{ end -}}
{{- if $claims }}{{ $_ := set $resources "claims" $claims }}{{ end -}}
{{- if .component.onGpu -}}
{{- $gpu := dict (index .root.Values.pools .component.pool).gpuResource .component.gpus -}}
{{- $resources = mustMergeOverwrite $resources (dict "limits" (mustMergeOverwrite (default dict $resources.limits) $gpu)) -}}
{{- end -}}
{{ toYaml $resources }}
{{- end }}

{{- define "tandem.serviceAccount" -}}
{{- $account := .component.serviceAccount -}}
{{- if $account.name -}}{{ $account.name }}
{{- else -}}{{ include "tandem.objectName" . }}{{- end -}}
{{- end }}

{{/* component -> whether its pods hold a token of the cluster's API; never those that run code of a model */}}
{{- define "tandem.automount" -}}
{{- and .serviceAccount.automount (not .fixed.isolated) -}}
{{- end }}

{{/* component -> how many pods it may have at once */}}
{{- define "tandem.maxPods" -}}
{{- ternary .autoscaling.maxReplicas .replicaCount .autoscaling.enabled -}}
{{- end }}

{{/* dict root, component: of a model -> what its pods may take to wait for the weights, load them and answer */}}
{{- define "tandem.startSeconds" -}}
{{- $startup := .component.probes.startup -}}
{{- $wait := ternary (include "tandem.downloadSeconds" .root | int) 0 (eq (include "tandem.isFilledByJob" .root) "yes") -}}
{{- add $wait (mul $startup.periodSeconds $startup.failureThreshold) 600 -}}
{{- end }}
