{{- define "cache.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "cache.fullname" -}}
{{- $name := include "cache.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "cache.account" -}}
{{- .Values.serviceAccount.name | default (ternary (include "cache.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* The selector of the pods. Selectors cannot be changed: these are the labels of the usual chart. */}}
{{- define "cache.selector" -}}
app.kubernetes.io/name: {{ include "cache.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "cache.labels" -}}
{{ include "cache.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
k8s-app: {{ include "cache.name" . }}
{{- end -}}

{{/* The addresses to answer on: with rules also the ClusterIP of kube-dns. */}}
{{- define "cache.addresses" -}}
{{- .Values.config.localDns -}}
{{- if .Values.config.setupIptables }},{{ .Values.config.dnsServer }}{{ end -}}
{{- end -}}

{{/* "true" or nothing. */}}
{{- define "cache.binds" -}}
{{- $given := .Values.config.bindIp -}}
{{- if ternary .Values.config.setupIptables $given (kindIs "invalid" $given) }}true{{ end -}}
{{- end -}}

{{/* The first lines of every generated block. Takes: the context, the cache's TTL and the lines in its block. */}}
{{- define "cache.block" -}}
{{- $ := index . 0 -}}
{{- $config := $.Values.config -}}
errors
{{- if $config.enableLogging }}
log
{{- end }}
{{- $inside := index . 2 }}
{{- with $config.prefetch }}
{{- if .enabled }}
{{- $inside = append $inside (printf "prefetch %v %v %v" .amount .duration .percentage) }}
{{- end }}
{{- end }}
{{- with $config.serveStale }}
{{- if .enabled }}
{{- $inside = append $inside (printf "serve_stale %v %v" .duration .mode) }}
{{- end }}
{{- end }}
cache{{ with index . 1 }} {{ . }}{{ end }}{{ if $inside }} {
    {{- range $inside }}
    {{ . }}
    {{- end }}
}{{ end }}
reload
loop
{{- if include "cache.binds" $ }}
bind {{ include "cache.addresses" $ | replace "," " " }}
{{- else }}
bind 0.0.0.0
{{- end }}
prometheus :9253
{{- if $config.noIPv6Lookups }}
template IN AAAA {
    rcode NOERROR
}
{{- end }}
{{- end -}}

{{/* The keys of `.Values` that known.yaml lacks, one a line. Takes: values, known keys, the path so far. */}}
{{- define "cache.ignored" -}}
{{- $values := index . 0 -}}
{{- $known := index . 1 -}}
{{- $path := index . 2 -}}
{{- if and (kindIs "map" $known) (kindIs "map" $values) -}}
  {{- range $key, $value := $values -}}
    {{- if hasKey $known $key -}}
      {{- include "cache.ignored" (list $value (get $known $key) (printf "%s%s." $path $key)) -}}
    {{- else -}}
      {{- printf "%s%s\n" $path $key -}}
    {{- end -}}
  {{- end -}}
{{- else if and (kindIs "slice" $known) (kindIs "slice" $values) -}}
  {{- range $at, $value := $values -}}
    {{- include "cache.ignored" (list $value (first $known) (printf "%s[%d]." (trimSuffix "." $path) $at)) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
