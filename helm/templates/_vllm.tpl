{{/* What vLLM would refuse when it starts, minutes after the install. */}}

{{/* values of a component -> how many GPUs vLLM takes in its pod; 1 with another engine */}}
{{- define "tandem.vllmGpus" -}}
{{- $args := ternary (default dict .engineArgs) dict (eq (default "" .engine) "vllm") -}}
{{- mul (get $args "tensor_parallel_size" | default 1) (get $args "pipeline_parallel_size" | default 1) (get $args "data_parallel_size_local" | default (get $args "data_parallel_size") | default 1) -}}
{{- end }}

{{/* dict root, key, values (of the component), hasGpu, gpus (0: a claim says) */}}
{{- define "tandem.checkVllm" -}}
{{- if not .hasGpu }}{{ fail (printf "%s.engine vllm needs GPUs: gpus or resourceClaims, and accelerator" .key) }}{{ end -}}
{{- $needed := include "tandem.vllmGpus" .values | int -}}
{{- if and .gpus (gt $needed .gpus) }}{{ fail (printf "%s.engineArgs: vLLM would take %d GPUs, and the pod has %d: set %s.gpus" .key $needed .gpus .key) }}{{ end -}}
{{- if .root.Values.serving.checkEngineArgs -}}
{{- $known := .root.Files.Get "files/vllm-arguments.txt" | splitList "\n" | rest | join " " | splitList " " -}}
{{- range $name, $_ := .values.engineArgs -}}
{{- if not (has $name $known) }}{{ fail (printf "%s.engineArgs: vLLM has no argument %s. Where the vLLM of your image has it, set serving.checkEngineArgs=false" $.key $name) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end }}
