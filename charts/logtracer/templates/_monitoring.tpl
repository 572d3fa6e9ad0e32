{{/*
The rules of files/alerts.yaml about what this release has: a release without the exporter has none about it, and one
without the filter only those of `monitoring.filterNamespaces`. LogtracerFilterIsSilent is limited to `monitoring.filterNamespaces`, by default the namespaces
that have the filter if it does not cover the mesh.
*/}}
{{- define "logtracer.alerts" -}}
{{- $rules := .Files.Get "files/alerts.yaml" -}}
{{- with include "logtracer.filter.namespaces" . | fromJsonArray -}}
{{- $all := "logtracer:proxy_requests:rate5m > 0" -}}
{{- $some := printf "logtracer:proxy_requests:rate5m{namespace=~%q} > 0" (join "|" .) -}}
{{- $rules = replace $all $some $rules -}}
{{- end -}}
{{- $groups := list -}}
{{- range (fromYaml $rules).groups -}}
{{- $isFilter := eq .name "logtracer-filter" -}}
{{- if ternary (or $.Values.filter.enabled $.Values.monitoring.filterNamespaces) $.Values.exporter.enabled $isFilter -}}
{{- $groups = append $groups . -}}
{{- end -}}
{{- end -}}
{{- dict "groups" $groups | toYaml -}}
{{- end -}}

{{/* The namespaces whose proxies have the filter, as JSON; an empty list means all. */}}
{{- define "logtracer.filter.namespaces" -}}
{{- $namespaces := default list .Values.monitoring.filterNamespaces -}}
{{- if and .Values.filter.enabled (not $namespaces) -}}
{{- if eq .Values.filter.mode "native" -}}
{{- range .Values.filter.native.services -}}
{{- $namespaces = append $namespaces .namespace -}}
{{- end -}}
{{- else -}}
{{- range include "logtracer.telemetries" . | fromJsonArray -}}
{{- $namespaces = append $namespaces .namespace -}}
{{- end -}}
{{- $own := ternary .Values.filter.file.namespaces (list .Values.filter.namespace) (eq .Values.filter.mode "file") -}}
{{- if has .Values.rootNamespace $own -}}
{{- $namespaces = list -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $namespaces | uniq | toJson -}}
{{- end -}}
