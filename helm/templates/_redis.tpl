{{/* How a process enters Redis: its address, its own user, and certificates; _secrets.tpl has the files. */}}

{{/* dict root, component */}}
{{- define "tandem.redisEnv" -}}
{{- $redis := .root.Values.redis -}}
- name: REDIS_URL
{{- if $redis.existingSecret }}
  valueFrom: {secretKeyRef: {name: {{ $redis.existingSecret }}, key: url}}
{{- else }}
  value: {{ include "tandem.redisUrl" .root | quote }}
{{- end }}
{{- if and $redis.usersSecret (or $redis.username $redis.passwordSecret) }}
{{- fail "redis.usersSecret and redis.username or redis.passwordSecret exclude each other" }}
{{- end }}
{{- with ternary (printf "tandem-%s" .component.role) $redis.username (not (empty $redis.usersSecret)) }}
- {name: REDIS_USERNAME, value: {{ . | quote }}}
{{- end }}
{{- if or $redis.usersSecret $redis.passwordSecret }}
- {name: REDIS_PASSWORD_FILE, value: /etc/tandem/redis/password}
{{- end }}
{{- if $redis.tls.existingSecret }}
- {name: REDIS_CA_FILE, value: /etc/tandem/redis-tls/ca.crt}
{{- if $redis.tls.client }}
- {name: REDIS_CERT_FILE, value: /etc/tandem/redis-tls/tls.crt}
- {name: REDIS_KEY_FILE, value: /etc/tandem/redis-tls/tls.key}
{{- end }}
{{- end }}
{{- if $redis.sentinel.existingSecret }}
- {name: REDIS_SENTINEL_USERNAME, value: {{ $redis.sentinel.username | quote }}}
- name: REDIS_SENTINEL_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $redis.sentinel.existingSecret }}, key: password}}
{{- end }}
{{- end }}

{{/* Ports for the network policies: those of the values, else those that the URL names. That of Sentinels does not name the primary's,
     and one in a secret cannot be read here. */}}
{{- define "tandem.redisPorts" -}}
{{- if and .Values.networkPolicy.enabled .Values.redis.existingSecret (not .Values.redis.ports) -}}
{{- fail "networkPolicy.enabled with redis.existingSecret needs redis.ports, such as [6380]: the policies must allow the port, and the chart cannot read the secret" -}}
{{- end -}}
{{- $url := "" -}}
{{- if not .Values.redis.existingSecret }}{{ $url = include "tandem.redisUrl" . }}{{ end -}}
{{- $named := ternary (list 6379) list (contains "+sentinel:" $url) -}}
{{- range regexFindAll ":[0-9]+(,|/|[?]|$)" $url -1 -}}
{{- $named = append $named (regexFind "[0-9]+" . | int) -}}
{{- end -}}
{{ default (default (list 6379) $named) .Values.redis.ports | uniq | toJson }}
{{- end }}

{{/* Address: that of the values, else the demo's. */}}
{{- define "tandem.redisUrl" -}}
{{- $redis := .Values.redis -}}
{{- if $redis.url -}}{{ $redis.url }}
{{- else if .Values.demo.enabled -}}redis://{{ include "tandem.fullname" . }}-demo-redis:6379/0
{{- else -}}{{ fail "redis.url or redis.existingSecret is needed (or demo.enabled for a trial)" }}{{- end -}}
{{- end }}
