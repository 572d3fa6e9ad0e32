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
{{- merge $own (default dict $more) (default dict .Values.commonLabels) | toYaml -}}
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

{{/*
What the exporter's sinks are, as JSON: `hasStore`; `rules`, those that see a whole trace, which need one replica or shards;
`isGoogle`, whether one of them is a service of Google; `ports`, those of their URLs; and `isUnknown`, whether a Secret has them.
*/}}
{{- define "logtracer.exporter.sinks" -}}
{{- $sinks := .Values.exporter.sinks -}}
{{- $more := list -}}
{{- $isUnknown := false -}}
{{- range .Values.extraEnv -}}
{{- if and (eq .name "LOGTRACER_SINK") (not $.Values.exporter.sinks) -}}
{{- if .value -}}
{{- $sinks = list .value -}}
{{- else -}}
{{- $isUnknown = true -}}
{{- end -}}
{{- else if and (eq .name "LOGTRACER_KEEP") .value -}}
{{- $more = concat $more (splitList "," .value) -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraArgs -}}
{{- if hasPrefix "--keep=" . -}}
{{- $more = concat $more (splitList "," (trimPrefix "--keep=" .)) -}}
{{- end -}}
{{- end -}}
{{- $rules := list -}}
{{- $ports := list -}}
{{- $isGoogle := false -}}
{{- $parts := splitList "," (join "," $sinks) -}}
{{- range $parts -}}
{{- if hasPrefix "keep=" . -}}
{{- $more = append $more (trimPrefix "keep=" .) -}}
{{- else if has . (list "cloud-trace" "cloud-logging" "telemetry") -}}
{{- $isGoogle = true -}}
{{- else if regexMatch "^(otlp|zipkin)=" . -}}
{{- $url := regexReplaceAll "^[a-z]+=" . "" | urlParse -}}
{{- $default := get (dict "http" "80" "grpc" "4317") $url.scheme | default "443" -}}
{{- $ports = append $ports (regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default $default | int) -}}
{{- end -}}
{{- end -}}
{{- range $more -}}
{{- if not (regexMatch "^(rate=.*|logs)$" .) -}}
{{- $rules = append $rules . -}}
{{- end -}}
{{- end -}}
{{- $hasStore := or (has "store" $parts) (and (not $sinks) (not $isUnknown)) -}}
{{- dict "hasStore" $hasStore "rules" $rules "isGoogle" $isGoogle "ports" ($ports | uniq) "isUnknown" $isUnknown | toJson -}}
{{- end -}}

{{/* Rules for the traffic to Google's APIs and to the metadata server. */}}
{{- define "logtracer.exporter.googleEgress" -}}
# Google's APIs.
- ports:
    - protocol: TCP
      port: 443
# GKE's metadata server, for tokens of Workload Identity, with Dataplane V2 and without it.
- to:
    - ipBlock:
        cidr: 169.254.169.254/32
  ports:
    - protocol: TCP
      port: 80
    - protocol: TCP
      port: 8080
- to:
    - ipBlock:
        cidr: 169.254.169.252/32
  ports:
    - protocol: TCP
      port: 988
    - protocol: TCP
      port: 987
{{- end -}}

{{/* The exporter's host in the cluster. */}}
{{- define "logtracer.exporter.host" -}}
{{- printf "%s.%s.svc.%s" (include "logtracer.exporter" .) .Release.Namespace .Values.exporter.clusterDomain -}}
{{- end -}}

{{/* How proxies connect to the exporter, in a DestinationRule. */}}
{{- define "logtracer.exporter.tls" -}}
{{- if .Values.tls.secretName -}}
mode: SIMPLE
{{- with .Values.tls.caCertificates }}
caCertificates: {{ . | quote }}
{{- end }}
{{- else -}}
mode: DISABLE
{{- end -}}
{{- end -}}

{{/* The host of one shard. Takes a dict with `root` and `shard`, its number. */}}
{{- define "logtracer.exporter.shardHost" -}}
{{- printf "%s-%d.%s.svc.%s" (include "logtracer.exporter" .root) (int .shard) .root.Release.Namespace .root.Values.exporter.clusterDomain -}}
{{- end -}}
