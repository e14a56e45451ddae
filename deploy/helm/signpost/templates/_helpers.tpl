{{/* The default is coredns: Cluster API and autoscalers look for a Deployment of that name. */}}
{{- define "signpost.name" -}}
{{- .Values.nameOverride | default "coredns" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "signpost.fullname" -}}
{{- $name := include "signpost.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "signpost.app" -}}
{{- .Values.k8sAppLabelOverride | default "kube-dns" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "signpost.account" -}}
{{- .Values.serviceAccount.name | default (ternary (include "signpost.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* The selector of the pods. Selectors cannot be changed: these are the labels of coredns/helm. */}}
{{- define "signpost.selector" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/name: {{ include "signpost.name" . }}
{{- if .Values.isClusterService }}
k8s-app: {{ include "signpost.app" . }}
{{- end }}
{{- end -}}

{{/* Name, namespace, labels and annotations. Takes a list of: the context, a suffix of the name, a
given name, annotations, and "cluster" if the object has no namespace. */}}
{{- define "signpost.metadata" -}}
{{- $ := index . 0 -}}
metadata:
  name: {{ index . 2 | default (printf "%s%s" (include "signpost.fullname" $) (index . 1)) }}
  {{- if lt (len .) 5 }}
  namespace: {{ $.Release.Namespace }}
  {{- end }}
  labels:
    app.kubernetes.io/instance: {{ $.Release.Name | quote }}
    app.kubernetes.io/managed-by: {{ $.Release.Service | quote }}
    app.kubernetes.io/name: {{ include "signpost.name" $ }}{{ if eq (index . 1) "-autoscaler" }}-autoscaler{{ end }}
    app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
    helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_" }}
    {{- if eq (index . 1) "-metrics" }}
    app.kubernetes.io/component: metrics
    {{- end }}
    {{- if $.Values.isClusterService }}
    k8s-app: {{ include "signpost.app" $ }}{{ if eq (index . 1) "-autoscaler" }}-autoscaler{{ end }}
    kubernetes.io/cluster-service: "true"
    kubernetes.io/name: CoreDNS
    {{- end }}
    {{- with $.Values.customLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with merge (dict) (index . 3) $.Values.customAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* The port of prometheus, or nothing. */}}
{{- define "signpost.metricsPort" -}}
{{- range .Values.servers -}}
{{- range .plugins -}}
{{- if eq .name "prometheus" -}}{{- toString (.parameters | default ":9153") | splitList ":" | last -}}:{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
The ports of the server blocks, as JSON: a list of {name, protocol, port, servicePort, nodePort, hostPort}.
DNS always has UDP and TCP: clients repeat a query over TCP if the answer was cut.
*/}}
{{- define "signpost.ports" -}}
{{- $ports := dict -}}
{{- range .Values.servers -}}
  {{- $port := .port | default 53 | int -}}
  {{- $entry := get $ports (toString $port) | default (dict "port" $port "servicePort" (.servicePort | default $port | int)) -}}
  {{- with .nodePort }}{{ $_ := set $entry "nodePort" (int .) }}{{ end -}}
  {{- with .hostPort }}{{ $_ := set $entry "hostPort" (int .) }}{{ end -}}
  {{- range .zones | default (list (dict)) -}}
    {{- $scheme := .scheme | default "dns://" -}}
    {{- if has $scheme (list "dns://" "quic://") }}{{ $_ := set $entry "UDP" true }}{{ end -}}
    {{- if ne $scheme "quic://" }}{{ $_ := set $entry "TCP" true }}{{ end -}}
  {{- end -}}
  {{- $_ := set $ports (toString $port) $entry -}}
{{- end -}}
{{- $list := list -}}
{{- range $key := keys $ports | sortAlpha -}}
  {{- $entry := get $ports $key -}}
  {{- range $protocol := list "UDP" "TCP" -}}
    {{- if get $entry $protocol -}}
      {{- $name := printf "%s-%s" (lower $protocol) $key -}}
      {{- if eq $key "53" }}{{ $name = ternary "dns" "dns-tcp" (eq $protocol "UDP") }}{{ end -}}
      {{- $list = append $list (merge (dict "name" $name "protocol" $protocol) (omit $entry "UDP" "TCP")) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- toJson $list -}}
{{- end -}}

{{/* The pods' image. The default is the CoreDNS that this release replaces. */}}
{{- define "signpost.image" -}}
{{- .Values.image.repository }}:{{ .Values.image.tag | default "v1.15.0" -}}
{{- end -}}

{{/* "true" for the names of CoreDNS's own images, else nothing. */}}
{{- define "signpost.isCoreDNS" -}}
{{- $own := list "(^|/)coredns/coredns$" "^coredns$" "^(registry\\.k8s\\.io|k8s\\.gcr\\.io|gcr\\.io/google[-_]containers)/coredns" "(^|/)eks/coredns$" "(^|/)oss/(v2/)?kubernetes/coredns$" "(mirrored|hardened)-coredns" "(^|/)chainguard/coredns$" "(^|/)bitnami(legacy|secure)?/coredns$" -}}
{{- if regexMatch (join "|" $own) .Values.image.repository }}true{{ end -}}
{{- end -}}

{{/* imagePullSecrets from a list of names or of objects with a name: coredns/helm has had both. */}}
{{- define "signpost.pullSecrets" -}}
{{- range . }}
- name: {{ if kindIs "string" . }}{{ . }}{{ else }}{{ .name }}{{ end }}
{{- end -}}
{{- end -}}

{{/* A probe without "enabled" and without unknown keys. */}}
{{- define "signpost.probe" -}}
{{- pick . "initialDelaySeconds" "periodSeconds" "timeoutSeconds" "failureThreshold" "successThreshold" | toYaml -}}
{{- end -}}

{{/* The keys of `.Values` that known.yaml lacks, one a line. Takes: values, known keys, the path so far. */}}
{{- define "signpost.ignored" -}}
{{- $values := index . 0 -}}
{{- $known := index . 1 -}}
{{- $path := index . 2 -}}
{{- if and (kindIs "map" $known) (kindIs "map" $values) -}}
  {{- range $key, $value := $values -}}
    {{- if hasKey $known $key -}}
      {{- include "signpost.ignored" (list $value (get $known $key) (printf "%s%s." $path $key)) -}}
    {{- else -}}
      {{- printf "%s%s\n" $path $key -}}
    {{- end -}}
  {{- end -}}
{{- else if and (kindIs "slice" $known) (kindIs "slice" $values) -}}
  {{- range $at, $value := $values -}}
    {{- include "signpost.ignored" (list $value (first $known) (printf "%s[%d]." (trimSuffix "." $path) $at)) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
