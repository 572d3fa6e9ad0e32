{{/* The chart's name. */}}
{{- define "logtracer.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 43 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of the release's objects. Names of a StatefulSet are limited to 52 characters, with `-exporter`. */}}
{{- define "logtracer.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 43 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "logtracer.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 43 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 43 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name of the exporter's objects. */}}
{{- define "logtracer.exporter" -}}
{{- include "logtracer.fullname" . }}-exporter
{{- end -}}

{{/* The labels of every object. */}}
{{- define "logtracer.labels" -}}
{{- include "logtracer.labels.with" (dict "root" . "more" dict) -}}
{{- end -}}

{{/* The labels of an object that has more of them. Takes a dict with `root` and `more`. Those of the chart win. */}}
{{- define "logtracer.labels.with" -}}
{{- $more := .more -}}
{{- with .root -}}
{{- $chart := printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- $own := dict "helm.sh/chart" $chart "app.kubernetes.io/name" (include "logtracer.name" .) "app.kubernetes.io/instance" .Release.Name "app.kubernetes.io/version" .Chart.AppVersion "app.kubernetes.io/managed-by" .Release.Service -}}
{{- merge $own $more .Values.commonLabels | toYaml -}}
{{- end -}}
{{- end -}}

{{/* The labels that select the exporter's pods. They cannot change. */}}
{{- define "logtracer.exporter.selectorLabels" -}}
app: {{ include "logtracer.exporter" . | quote }}
{{- end -}}

{{- define "logtracer.exporter.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "logtracer.exporter" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "logtracer.exporter.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The exporter's host in the cluster. */}}
{{- define "logtracer.exporter.host" -}}
{{- printf "%s.%s.svc.%s" (include "logtracer.exporter" .) .Release.Namespace .Values.exporter.clusterDomain -}}
{{- end -}}

{{/* The host of one shard. Takes a dict with `root` and `shard`, its number. */}}
{{- define "logtracer.exporter.shardHost" -}}
{{- printf "%s-%d.%s.svc.%s" (include "logtracer.exporter" .root) (int .shard) .root.Release.Namespace .root.Values.exporter.clusterDomain -}}
{{- end -}}
