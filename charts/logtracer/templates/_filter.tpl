{{/*
The filter's configuration as JSON. Takes a dict with `root`, and `over`, which is merged over `filter.config`.
The cluster is Istio's name for the exporter's Service, or the list of those of its shards.
*/}}
{{- define "logtracer.filter.config" -}}
{{- $config := deepCopy (default dict .root.Values.filter.config) -}}
{{- include "logtracer.merge" (dict "into" $config "over" (deepCopy .over)) -}}
{{- if .root.Values.exporter.enabled -}}
{{- $exporter := get $config "exporter" | default dict -}}
{{- if and .root.Values.token.secretName (not $exporter.cluster) -}}
{{- $names := list -}}
{{- range $name, $value := $exporter.headers -}}
{{- $names = append $names (lower $name) -}}
{{- end -}}
{{- if not (has "authorization" $names) -}}
{{- fail "filter.config.exporter.headers: needs authorization, because token.secretName makes the exporter reject spans without a token" -}}
{{- end -}}
{{- end -}}
{{- $cluster := printf "outbound|4318||%s" (include "logtracer.exporter.host" .root) -}}
{{- if gt (int .root.Values.exporter.shards) 1 -}}
{{- $root := .root -}}
{{- $clusters := list -}}
{{- range $shard := until (int .root.Values.exporter.shards) -}}
{{- $clusters = append $clusters (printf "outbound|4318||%s" (include "logtracer.exporter.shardHost" (dict "root" $root "shard" $shard))) -}}
{{- end -}}
{{- $config = merge $config (dict "exporter" (dict "cluster" $clusters)) -}}
{{- range prepend ($config.overrides | default list) $config -}}
{{- with .exporter -}}
{{- if kindIs "string" .cluster -}}
{{- fail (printf "exporter.shards: is %d, but exporter.cluster in the filter's configuration is one name, %s, which gets the spans of all shards; a list is needed, also for a single name" (int $root.Values.exporter.shards) .cluster) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- $config = merge $config (dict "exporter" (dict "cluster" $cluster)) -}}
{{- end -}}
{{- end -}}
{{- if $config.line_break -}}
{{- fail "filter.config.line_break: must be false, because Istio ends each line itself" -}}
{{- end -}}
{{- toPrettyJson $config -}}
{{- end -}}

{{/* Merges the dict `over` into the dict `into`. Unlike `mergeOverwrite`, also values that are false, 0 or empty. */}}
{{- define "logtracer.merge" -}}
{{- $into := .into -}}
{{- range $key, $value := .over -}}
{{- $known := get $into $key -}}
{{- if and (kindIs "map" $value) (kindIs "map" $known) -}}
{{- include "logtracer.merge" (dict "into" $known "over" $value) -}}
{{- else -}}
{{- $_ := set $into $key $value -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The URL of the module. */}}
{{- define "logtracer.filter.url" -}}
{{- with .Values.filter.module -}}
{{- if eq .source "exporter" -}}
{{- printf "http%s://%s:4318/plugin.wasm" (ternary "s" "" (ne $.Values.tls.secretName "")) (include "logtracer.exporter.host" $) -}}
{{- else if eq .source "url" -}}
{{- .url -}}
{{- else if .digest -}}
{{- printf "oci://%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "oci://%s:%s" .repository .tag -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
A WasmPlugin. Takes a dict with `root`, `name`, `namespace`, `matchLabels`, `targetRefs`, and `over`, the configuration
that is merged over `filter.config`.
*/}}
{{- define "logtracer.filter.wasmplugin" -}}
{{- $module := .root.Values.filter.module -}}
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata:
  name: {{ .name | quote }}
  namespace: {{ .namespace | quote }}
  labels:
    {{- include "logtracer.labels" .root | nindent 4 }}
spec:
  {{- with .matchLabels }}
  selector:
    matchLabels:
      {{- toYaml . | nindent 6 }}
  {{- end }}
  {{- with .targetRefs }}
  targetRefs:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  url: {{ include "logtracer.filter.url" .root | quote }}
  {{- if ne $module.source "oci" }}
  sha256: {{ $module.sha256 | quote }}
  {{- end }}
  {{- if eq $module.source "oci" }}
  {{- with $module.imagePullSecret }}
  imagePullSecret: {{ . | quote }}
  {{- end }}
  {{- end }}
  imagePullPolicy: {{ $module.imagePullPolicy | quote }}
  # Before authentication and authorization, so that requests that they reject are also traced and logged.
  phase: AUTHN
  priority: 1000
  # Telemetry must never make a request fail: without the filter, traffic continues.
  failStrategy: FAIL_OPEN
  # Both directions: inbound requests are spans of kind server, outbound requests of kind client.
  match:
    - mode: CLIENT_AND_SERVER
  pluginConfig:
    {{- include "logtracer.filter.config" (dict "root" .root "over" .over) | fromJson | toYaml | nindent 4 }}
{{- end -}}

{{/* Selects the HTTP connection managers of a context. */}}
{{- define "logtracer.filter.match" -}}
context: {{ . | quote }}
listener:
  filterChain:
    filter:
      name: envoy.filters.network.http_connection_manager
{{- end -}}

{{/*
A patch that adds the native module before all other filters. Takes a dict with `root`, `context`, and `over`, the
configuration that is merged over `filter.config`.
*/}}
{{- define "logtracer.filter.native" -}}
applyTo: HTTP_FILTER
match:
  {{- include "logtracer.filter.match" .context | nindent 2 }}
patch:
  operation: INSERT_FIRST
  value:
    name: logtracer
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter
      dynamic_module_config: { name: logtracer, do_not_close: true }
      filter_name: logtracer
      filter_config:
        "@type": type.googleapis.com/google.protobuf.StringValue
        value: |
          {{- include "logtracer.filter.config" (dict "root" .root "over" .over) | nindent 10 }}
{{- end -}}
