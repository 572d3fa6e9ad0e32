{{/*
The access loggers: those of istio/telemetry.yaml. The first prints the filter's line; a stream without a line prints
nothing.
*/}}
{{- define "logtracer.telemetry.accessLogging" -}}
- providers:
    - name: {{ .Values.telemetry.provider }}
  filter:
    expression: "'wasm.logtracer' in filter_state"
{{- end -}}

{{/* The mesh configuration that these loggers need: that of istio/install/mesh.yaml. NOTES.txt prints it. */}}
{{- define "logtracer.meshConfig" -}}
accessLogFile: ""
enableTracing: false
extensionProviders:
  - name: {{ .Values.telemetry.provider }}
    envoyFileAccessLog:
      path: /dev/stdout
      logFormat:
        text: "%FILTER_STATE(wasm.logtracer:PLAIN)%\n"
{{- end -}}
