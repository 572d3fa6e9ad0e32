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

{{/* The mesh configuration that these loggers need, with the names in `telemetry.providers`. NOTES.txt prints it. */}}
{{- define "logtracer.meshConfig" -}}
{{- $config := .Files.Get "files/mesh-config.yaml" | fromYaml -}}
{{- $names := dict "logtracer" .Values.telemetry.providers.line "logtracer-fallback-http" .Values.telemetry.providers.fallbackHttp "logtracer-fallback-tcp" .Values.telemetry.providers.fallbackTcp -}}
{{- $entries := list -}}
{{- range $config.extensionProviders -}}
{{- $name := get $names .name -}}
{{- if $name -}}
{{- $entries = append $entries (set (deepCopy .) "name" $name) -}}
{{- end -}}
{{- end -}}
{{- set $config "extensionProviders" $entries | toYaml -}}
{{- end -}}
