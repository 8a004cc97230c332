{{/* The pairs of a release and the pods that serve them. The first pair's objects have no key in their names. */}}

{{/* root -> {pairs: [{name, key, files, binaryFiles, and overrides of components}]}, the default first. A block of smallModels stands under
     the key of the executor that runs it. */}}
{{- define "tandem.pairs" -}}
{{- $first := mustMerge (dict "key" "" "smallModels" .Values.smallModels) (deepCopy .Values.profile) -}}
{{- $pairs := list (mustMerge $first (include "tandem.furtherModels" (dict "root" . "blocks" .Values.smallModels) | fromYaml)) -}}
{{- $names := list .Values.profile.name -}}{{- $keys := list "" -}}
{{- range .Values.profiles -}}
{{- $name := required "each of `profiles` needs a name" .name -}}
{{- $key := default ($name | lower | replace "." "-" | replace "_" "-" | trunc 16 | trimSuffix "-") .key -}}
{{- if has $name $names }}{{ fail (printf "profiles: %s is there twice" $name) }}{{ end -}}
{{- if has $key $keys }}{{ fail (printf "profiles: %s needs a `key` of its own: another pair has %s" $name $key) }}{{ end -}}
{{- $names = append $names $name -}}{{- $keys = append $keys $key -}}
{{- $further := include "tandem.furtherModels" (dict "root" $ "blocks" .smallModels) | fromYaml -}}
{{- $pairs = append $pairs (mustMergeOverwrite (deepCopy .) (dict "key" $key) $further) -}}
{{- end -}}
{{- dict "pairs" $pairs | toYaml -}}
{{- end }}

{{/* dict root, blocks (of smallModels) -> the values of each further executor */}}
{{- define "tandem.furtherModels" -}}
{{- $blocks := default list .blocks -}}{{- $found := dict -}}
{{- range $i, $key := splitList " " (include "tandem.furtherExecutors" .root) -}}
{{- $isThere := gt (len $blocks) $i -}}
{{- $block := dict -}}{{- if $isThere }}{{ $block = index $blocks $i }}{{ end -}}
{{- $_ := set $found $key (mustMerge (dict "enabled" $isThere) $block) -}}
{{- end -}}
{{- $found | toYaml -}}
{{- end }}

{{/* dict root, name -> the pair; the default for no name */}}
{{- define "tandem.pair" -}}
{{- $found := dict -}}
{{- range (include "tandem.pairs" .root | fromYaml).pairs -}}
{{- if eq .name (default $.root.Values.profile.name $.name) }}{{ $found = . }}{{ end -}}
{{- end -}}
{{- if not $found }}{{ fail (printf "sharedWith: %s is no profile of this release" .name) }}{{ end -}}
{{- $found | toYaml -}}
{{- end }}

{{- define "tandem.perPair" -}}worker insightGenerator sufficiencyScorer slmExecutor {{ include "tandem.furtherExecutors" . }}{{- end }}

{{/* dict root, key, pair (name) -> name of the pair whose pods serve it */}}
{{- define "tandem.hostOf" -}}
{{- $pair := include "tandem.pair" (dict "root" .root "name" .pair) | fromYaml -}}
{{- with (index $pair .key | default dict).sharedWith -}}
{{- $host := include "tandem.pair" (dict "root" $.root "name" .) | fromYaml -}}
{{- if (index $host $.key | default dict).sharedWith }}{{ fail (printf "profiles: %s.%s.sharedWith: %s has no such pods either" $pair.name $.key .) }}{{ end -}}
{{- . -}}
{{- else -}}
{{- $pair.name -}}
{{- end -}}
{{- end }}

{{/* root: refuses values that lack a default of this chart, before a template trips over one */}}
{{- define "tandem.checkDefaults" -}}
{{- range $name, $inner := include "tandem.defaults" . | fromYaml -}}
{{- $given := index $.Values $name -}}
{{- $missing := ternary "" $name (hasKey $.Values $name) -}}
{{- range $inner }}{{ if not (hasKey (default dict $given) .) }}{{ $missing = printf "%s.%s" $name . }}{{ end }}{{ end -}}
{{- if $missing }}{{ fail (printf "%s has no value: helm's --reuse-values puts the defaults of the chart before in the place of this one's. Use --reset-then-reuse-values" $missing) }}{{ end -}}
{{- end -}}
{{- end }}

{{/* root -> {instances: [{key, pair}]}: all that has pods; `pair` is a name, empty for what all pairs have in common */}}
{{- define "tandem.instances" -}}
{{- include "tandem.checkDefaults" . -}}
{{- $root := . -}}{{- $found := list -}}
{{- range $key, $_ := include "tandem.processes" . | fromYaml -}}
{{- if has $key (splitList " " (include "tandem.perPair" $root)) -}}
{{- range (include "tandem.pairs" $root | fromYaml).pairs -}}
{{- if eq .name (include "tandem.hostOf" (dict "root" $root "key" $key "pair" .name)) -}}
{{- $found = append $found (dict "key" $key "pair" .name) -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- $found = append $found (dict "key" $key "pair" "") -}}
{{- end -}}
{{- end -}}
{{- dict "instances" $found | toYaml -}}
{{- end }}

{{/* dict root, key, pair -> {names: [...]}: the profiles that these pods know */}}
{{- define "tandem.served" -}}
{{- $names := list -}}
{{- range (include "tandem.pairs" .root | fromYaml).pairs -}}
{{- if or (eq $.key "gateway") (and $.pair (eq $.pair (include "tandem.hostOf" (dict "root" $.root "key" $.key "pair" .name)))) -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end -}}
{{- dict "names" $names | toYaml -}}
{{- end }}

{{/* dict root, pair (dict) -> name of its ConfigMap */}}
{{- define "tandem.profileMap" -}}
{{ include "tandem.fullname" .root }}-profile{{ with .pair.key }}-{{ . }}{{ end }}
{{- end }}
