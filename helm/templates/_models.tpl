{{/* Where models lie, and who downloads them. */}}

{{/* dict component: not empty for a process that loads weights. */}}
{{- define "tandem.needsModels" -}}
{{- if and .component.fixed.model (not .component.isApi) }}yes{{ end -}}
{{- end }}

{{/* dict component: which of a profile's models it loads */}}
{{- define "tandem.modelRole" -}}
{{- ternary "slm" .component.fixed.runs (eq .component.fixed.runs "scorer") -}}
{{- end }}

{{/* dict component: what `tandem models pull --engine` is told; an engine of one's own loads what transformers does, and so does `auto` on a GPU */}}
{{- define "tandem.modelFormat" -}}
{{- $isAutoOnCpu := and (eq .component.engine "auto") (not .component.hasGpu) -}}
{{- ternary "llamacpp" "transformers" (or $isAutoOnCpu (eq .component.engine "llamacpp")) -}}
{{- end }}

{{/* For how long a pod waits for the Job's download before it starts anew. */}}
{{- define "tandem.downloadSeconds" -}}3600{{- end }}

{{/* root -> requests and limits of a container that downloads; a GGUF file is converted in memory */}}
{{- define "tandem.pullResources" -}}
{{- $usual := dict "requests" (dict "cpu" "500m" "memory" "1Gi") "limits" (dict "memory" "8Gi") -}}
{{- mustMergeOverwrite $usual (deepCopy (default dict .Values.modelCache.pullResources)) | toYaml -}}
{{- end }}

{{/* root: not empty where one Job downloads for all */}}
{{- define "tandem.isFilledByJob" -}}
{{- if and .Values.modelCache.pull (has .Values.modelCache.type (list "shared" "existingClaim")) }}yes{{ end -}}
{{- end }}

{{- define "tandem.accessMode" -}}
{{- default (ternary "ReadWriteMany" "ReadWriteOnce" (eq .Values.modelCache.type "shared")) .Values.modelCache.accessMode -}}
{{- end }}

{{/* dict root, component: refuses a claim that its pods could not mount all at once */}}
{{- define "tandem.checkCache" -}}
{{- $cache := .root.Values.modelCache -}}{{- $mode := include "tandem.accessMode" .root -}}
{{- $isOnce := hasPrefix "ReadWriteOnce" $mode -}}{{- $pods := include "tandem.maxPods" .component | int -}}
{{- if and (eq $cache.type "pvc") $isOnce (gt $pods 1) -}}
{{- fail (printf "modelCache: a %s claim serves one pod, and %s may have %d. Set modelCache.type to shared, ephemeral or hostPath, or accessMode to ReadWriteMany" $mode .component.name $pods) -}}
{{- end -}}
{{- if and (eq $mode "ReadOnlyMany") $cache.pull (has $cache.type (list "shared" "pvc")) -}}
{{- fail "modelCache.accessMode ReadOnlyMany: nothing can be downloaded into such a claim. Fill one yourself: modelCache.type existingClaim, pull false" -}}
{{- end -}}
{{- if and (not $cache.pull) (not (has $cache.type (list "existingClaim" "hostPath"))) -}}
{{- fail (printf "modelCache.pull false needs models that are in place: modelCache.type existingClaim or hostPath, not %s" $cache.type) -}}
{{- end -}}
{{- end }}

{{/* dict root, component -> source of the volume `models` */}}
{{- define "tandem.modelVolume" -}}
{{- $cache := .root.Values.modelCache -}}
{{- if eq $cache.type "shared" -}}
persistentVolumeClaim: {claimName: {{ include "tandem.fullname" .root }}-models}
{{- else if eq $cache.type "pvc" -}}
persistentVolumeClaim: {claimName: {{ include "tandem.objectName" . }}-models}
{{- else if eq $cache.type "existingClaim" -}}
persistentVolumeClaim: {claimName: {{ required "modelCache.existingClaim is needed for modelCache.type existingClaim" $cache.existingClaim }}}
{{- else if eq $cache.type "hostPath" -}}
hostPath: {path: {{ required "modelCache.hostPath is needed for modelCache.type hostPath" $cache.hostPath }}, type: Directory}
{{- else if eq $cache.type "ephemeral" -}}
ephemeral:
  volumeClaimTemplate:
    spec: {{- include "tandem.claimSpec" . | nindent 6 }}
{{- else -}}
emptyDir: {sizeLimit: {{ include "tandem.cacheSize" . }}}
{{- end -}}
{{- end }}

{{/* dict root, component */}}
{{- define "tandem.claimSpec" -}}
accessModes: [{{ include "tandem.accessMode" .root }}]
{{- with .root.Values.modelCache.storageClass }}
storageClassName: {{ . }}
{{- end }}
resources: {requests: {storage: {{ include "tandem.cacheSize" . }}}}
{{- end }}

{{/* dict root, component: without one, of the volume that holds all models. By default for the shipped pair, and room to convert its GGUF files. */}}
{{- define "tandem.cacheSize" -}}
{{- $held := "10Gi" -}}
{{- with .component }}{{ $held = ternary "6Gi" "3Gi" (eq .fixed.runs "llm") }}{{ end -}}
{{- default $held .root.Values.modelCache.size -}}
{{- end }}

{{/* dict root, component, image, policy (the component's if empty), args, resources, name: a container that downloads, or waits until another has */}}
{{- define "tandem.pullContainer" -}}
- name: {{ .name }}
  image: {{ .image | quote }}
  imagePullPolicy: {{ default (include "tandem.pullPolicy" .) .policy }}
  args: {{- toYaml .args | nindent 4 }}
  securityContext: {{- toYaml .component.securityContext | nindent 4 }}
  env:
    - {name: HOME, value: /tmp}
    - {name: TANDEM_MODELS, value: /models}
    - {name: TANDEM_PROFILES_PATH, value: "/etc/tandem/profiles:/app/deploy/profiles"}
    {{- with .root.Values.modelCache.pullEnv }}{{ toYaml . | nindent 4 }}{{ end }}
  resources: {{- toYaml .resources | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: models, mountPath: /models}
    {{- include "tandem.profileMounts" (dict "root" .root "names" .profiles) | nindent 4 }}
    {{- with .component.extraVolumeMounts }}{{ toYaml . | nindent 4 }}{{ end }}
{{- end }}

{{/* dict root, worker, containers, profiles -> the template of the pod that downloads, on a node as the worker's */}}
{{- define "tandem.pullTemplate" -}}
{{- $root := .root -}}{{- $worker := .worker -}}
{{- /* Profiles are read when the Job runs. */ -}}
{{- $checksum := dict "checksum/profile" (include "tandem.profileChecksum" $root) -}}
metadata: {{- include "tandem.jobMetadata" (dict "root" $root "job" "pull" "annotations" $checksum) | nindent 2 }}
spec:
  restartPolicy: OnFailure
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with include "tandem.placement" (dict "root" $root "component" $worker) | trim }}{{ . | nindent 2 }}{{ end }}
  securityContext: {{- toYaml $worker.podSecurityContext | nindent 4 }}
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with initial .containers }}
  initContainers: {{- range . }}{{ . | nindent 4 }}{{ end }}
  {{- end }}
  containers: {{- last .containers | nindent 4 }}
  volumes:
    - {name: tmp, emptyDir: {}}
    {{- include "tandem.profileVolumes" (dict "root" $root "names" .profiles) | nindent 4 }}
    - name: models
      {{- include "tandem.modelVolume" (dict "root" $root "component" $worker) | nindent 6 }}
    {{- with $worker.extraVolumes }}{{ toYaml . | nindent 4 }}{{ end }}
{{- end }}

{{/* dict root, component -> what stands before the component's container where models are downloaded */}}
{{- define "tandem.pullInit" -}}
{{- $root := .root -}}{{- $c := .component -}}{{- $cache := .root.Values.modelCache -}}
{{- $profiles := list -}}{{- range $c.serves }}{{ $profiles = concat $profiles (list "--profile" .) }}{{ end -}}
{{- if not $cache.pull -}}
{{- else if include "tandem.needsModels" . -}}
{{- $args := concat (list "tandem" "models" (ternary "wait" "pull" (eq (include "tandem.isFilledByJob" $root) "yes"))) $profiles (list "--only" (include "tandem.modelRole" .) "--engine" (include "tandem.modelFormat" .)) -}}
{{- if include "tandem.isFilledByJob" $root }}{{ $args = concat $args (list "--timeout" (include "tandem.downloadSeconds" $root)) }}{{ end -}}
{{- $small := dict "requests" (dict "cpu" "50m" "memory" "128Mi") "limits" (dict "memory" "512Mi") -}}
{{- include "tandem.pullContainer" (dict "root" $root "component" $c "name" "models" "image" (include "tandem.image" .) "args" $args "profiles" $c.serves "resources" (ternary $small (include "tandem.pullResources" $root | fromYaml) (eq (include "tandem.isFilledByJob" $root) "yes"))) -}}
{{- else if eq $c.key "gateway" -}}
{{- $args := concat (list "tandem" "models" "pull" "--tokenizer-only" "--only" "slm") $profiles -}}
{{- $some := dict "requests" (dict "cpu" "100m" "memory" "512Mi") "limits" (dict "memory" "2Gi") -}}
{{- include "tandem.pullContainer" (dict "root" $root "component" $c "name" "tokenizers" "image" (include "tandem.pullImage" $root) "policy" $cache.image.pullPolicy "args" $args "profiles" $c.serves "resources" $some) -}}
{{- end -}}
{{- end }}

{{/* root -> the image that downloads and converts, one with torch for CPUs: the executor's where that is one, else from its registry */}}
{{- define "tandem.pullImage" -}}
{{- $executor := include "tandem.component" (dict "root" . "key" "slmExecutor" "pair" "") | fromYaml -}}
{{- $isSame := not (or $executor.onGpu (eq (default "" $executor.engine) "vllm")) -}}
{{- $its := ternary $executor.image (pick $executor.image "registry" "repository") $isSame -}}
{{- $image := mustMergeOverwrite (deepCopy $its) .Values.modelCache.image -}}
{{- include "tandem.image" (dict "root" . "component" (dict "image" $image "role" "slm-executor" "onGpu" false "engine" "")) -}}
{{- end }}
