{{/*
The Telemetry objects of the WebAssembly module, as JSON: a list of `name`, `namespace`, `matchLabels` and `targetRefs`. They
cover the proxies that have the filter, and no others. Istio applies a Telemetry with a selector or with targetRefs only to its
own namespace, also in the root namespace.
*/}}
{{- define "logtracer.telemetries" -}}
{{- $name := include "logtracer.fullname" . -}}
{{- $filter := .Values.filter -}}
{{- $all := list -}}
{{- if eq $filter.mode "file" -}}
{{- range default $filter.file.namespaces .Values.telemetry.namespaces -}}
{{- $all = append $all (dict "name" $name "namespace" . "matchLabels" $filter.file.matchLabels) -}}
{{- end -}}
{{- else -}}
{{- range default (list $filter.namespace) .Values.telemetry.namespaces -}}
{{- $all = append $all (dict "name" $name "namespace" . "matchLabels" $filter.matchLabels "targetRefs" $filter.targetRefs) -}}
{{- end -}}
{{- $whole := list -}}
{{- if and (not $filter.matchLabels) (not $filter.targetRefs) -}}
{{- range $all -}}
{{- $whole = append $whole .namespace -}}
{{- end -}}
{{- end -}}
{{- if and .Values.edge.enabled (not (has .Values.rootNamespace $whole)) -}}
{{- range .Values.edge.gateways -}}
{{- $namespace := default $.Values.rootNamespace .namespace -}}
{{- if not (has $namespace $whole) -}}
{{- $all = append $all (dict "name" (printf "%s-%s" $name .name) "namespace" $namespace "matchLabels" .matchLabels "targetRefs" .targetRefs) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{/*
The access loggers: those of istio/telemetry.yaml. The first prints the filter's line; the others print one for what has
no line of the filter: requests, because the proxy has no module or replaces it, and connections that are not HTTP.
*/}}
{{- define "logtracer.telemetry.accessLogging" -}}
{{- $none := "!('wasm.logtracer' in filter_state) && !('wasm.logtracer_skipped' in filter_state)" -}}
{{- with .Values.telemetry.providers -}}
- providers:
    - name: {{ .line | quote }}
  filter:
    expression: "'wasm.logtracer' in filter_state"
{{- with .fallbackHttp }}
- providers:
    - name: {{ . | quote }}
  filter:
    expression: "{{ $none }} && has(request.method)"
{{- end }}
{{- with .fallbackTcp }}
- providers:
    - name: {{ . | quote }}
  filter:
    expression: "{{ $none }} && !has(request.method)"
{{- end }}
{{- end -}}
{{- end -}}

{{/*
The access loggers of a service with the native module, which prints the lines of requests itself. An entry without providers
would concern only the last one of the root namespace, so all of them are named.
*/}}
{{- define "logtracer.telemetry.native" -}}
{{- with .Values.telemetry.providers -}}
{{- if .fallbackTcp -}}
- providers:
    - name: {{ .fallbackTcp | quote }}
  filter:
    expression: "!has(request.method)"
{{- else -}}
- providers:
    {{- range list .line (default "logtracer-fallback-http" .fallbackHttp) "logtracer-fallback-tcp" | uniq }}
    - name: {{ . | quote }}
    {{- end }}
  disabled: true
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
The mesh configuration that these loggers need, with the names in `telemetry.providers`. NOTES.txt prints it. With the native
module it has only the provider for connections that are not HTTP, and what changes all proxies is left out unless all of them
have the filter.
*/}}
{{- define "logtracer.meshConfig" -}}
{{- $config := .Files.Get "files/mesh-config.yaml" | fromYaml -}}
{{- $names := dict "logtracer-fallback-tcp" .Values.telemetry.providers.fallbackTcp -}}
{{- if ne .Values.filter.mode "native" -}}
{{- $names = merge $names (dict "logtracer" .Values.telemetry.providers.line "logtracer-fallback-http" .Values.telemetry.providers.fallbackHttp) -}}
{{- end -}}
{{- $entries := list -}}
{{- range $config.extensionProviders -}}
{{- $name := get $names .name -}}
{{- if $name -}}
{{- $entries = append $entries (set (deepCopy .) "name" $name) -}}
{{- end -}}
{{- end -}}
{{- $isOfMesh := false -}}
{{- if ne .Values.filter.mode "native" -}}
{{- range include "logtracer.telemetries" . | fromJsonArray -}}
{{- if and (eq .namespace $.Values.rootNamespace) (not .matchLabels) (not .targetRefs) -}}
{{- $isOfMesh = true -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $isOfMesh -}}
{{- set $config "extensionProviders" $entries | toYaml -}}
{{- else -}}
{{- dict "extensionProviders" $entries | toYaml -}}
{{- end -}}
{{- end -}}
