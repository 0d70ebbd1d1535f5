{{- define "tenantry.labels" -}}
app.kubernetes.io/name: tenantry
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* The labels that choose the pods of one program: list ROOT PROGRAM. */}}
{{- define "tenantry.selector" -}}
app.kubernetes.io/name: tenantry
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "tenantry.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "tenantry.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "tenantry.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "tenantry.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 10
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
{{- end }}

{{/* The data regions whose buckets and keys a pod is given, as the keys of a map: dict root, all (every region),
     region (that one). */}}
{{- define "tenantry.regions" -}}
{{- $of := dict }}
{{- range $name, $one := .root.Values.regions }}
{{- if or $.all (eq $name ($.region | default "")) }}{{- $_ := set $of $name $one }}{{- end }}
{{- end }}
{{- $of | toJson }}
{{- end }}

{{/* A pod of one program: dict root, program, component, storage (it opens buckets and uses their keys: all regions', or
     those of region alone, "" being the default one), region, graph (it holds the credentials of Graph), clouds (of these
     alone; empty: of all), overrides (keys of configuration), resources, grace. */}}
{{- define "tenantry.pod" -}}
{{- $root := .root -}}
{{- $served := .clouds | default list -}}
{{- $graph := and .graph (or (not $served) (has ($root.Values.config.cloud | default "global") $served)) -}}
{{- $clouds := dict -}}
{{- range $name, $cloud := $root.Values.clouds -}}
{{- if and $.graph (or (not $served) (has $name $served)) }}{{- $_ := set $clouds $name $cloud }}{{- end -}}
{{- end -}}
{{- $all := and .storage (not (hasKey . "region")) -}}
{{- $region := .region | default "" -}}
{{- $regions := include "tenantry.regions" (dict "root" $root "all" $all "region" $region) | fromJson -}}
{{- $home := and .storage (not $region) -}}
{{- $cache := 0 -}}
{{- if .storage -}}{{- $cache = int $root.Values.cache.megabytes -}}{{- end -}}
{{- $keys := and .storage $root.Values.keys.claim (not $region) -}}
{{- range $regions -}}
{{- /* A region without keys of its own has the fleet's. */}}
{{- if and $root.Values.keys.claim (not .keysClaim) (not (index .config "kms-fleet")) -}}{{- $keys = true -}}{{- end -}}
{{- end -}}
metadata:
  labels:
    {{- include "tenantry.selector" (list $root .component) | nindent 4 }}
  annotations:
    # A change of configuration rolls the pods.
    checksum/config: {{ list $root.Values.config $root.Values.regions $root.Values.clouds | toJson | sha256sum }}
    {{- with $root.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ $root.Release.Name }}-tenantry
  automountServiceAccountToken: false
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext: {{- include "tenantry.podSecurity" $root | nindent 4 }}
  terminationGracePeriodSeconds: {{ .grace }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "tenantry.selector" (list $root .component) | nindent 10 }}
  {{- with $root.Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .program }}
      image: {{ include "tenantry.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [/{{ .program }}, -config, /etc/tenantry/tenantry.yaml]
      env:
        - {name: TENANTRY_LISTEN, value: ":8080"}
        {{- if $keys }}
        - {name: TENANTRY_KEY_FILE, value: /keys/tenantry.keys}
        {{- end }}
        {{- if $cache }}
        - {name: TENANTRY_CACHE_DIR, value: /cache}
        - {name: TENANTRY_CACHE_MB, value: {{ $cache | quote }}}
        {{- end }}
        {{- if and .storage $root.Values.regions }}
        - {name: TENANTRY_REGIONS_FILE, value: /etc/tenantry/regions.yaml}
        {{- end }}
        {{- if $region }}
        - {name: TENANTRY_REGION, value: {{ $region | quote }}}
        {{- end }}
        {{- if $root.Values.clouds }}
        - {name: TENANTRY_CLOUDS_FILE, value: /etc/tenantry/clouds.yaml}
        {{- end }}
        {{- if $served }}
        - {name: TENANTRY_SERVES_CLOUDS, value: {{ $served | join "," | quote }}}
        {{- end }}
        {{- if $graph }}
        {{- if $root.Values.certificate }}
        - {name: TENANTRY_CERTIFICATE, value: /graph/certificate.pem}
        {{- else }}
        - name: TENANTRY_CLIENT_SECRET
          valueFrom:
            secretKeyRef: {name: {{ $root.Values.graphSecretName }}, key: TENANTRY_CLIENT_SECRET}
        {{- end }}
        {{- end }}
        {{- range $name, $cloud := $clouds }}
        {{- $var := printf "TENANTRY_CLOUD_%s_" ($name | upper | replace "-" "_") }}
        {{- if $cloud.certificate }}
        - {name: {{ $var }}CERTIFICATE, value: /graph-{{ $name }}/certificate.pem}
        {{- else }}
        - name: {{ $var }}CLIENT_SECRET
          valueFrom:
            secretKeyRef: {name: {{ $cloud.graphSecretName }}, key: {{ $var }}CLIENT_SECRET}
        {{- end }}
        {{- end }}
        {{- range $key, $value := .overrides }}
        - {name: TENANTRY_{{ $key | upper | replace "-" "_" }}, value: {{ $value | quote }}}
        {{- end }}
      envFrom:
        - secretRef: {name: {{ $root.Values.secretName }}}
        {{- if and $home $root.Values.bucketSecretName }}
        - secretRef: {name: {{ $root.Values.bucketSecretName }}}
        {{- end }}
        {{- range $regions }}
        {{- with .secretName }}
        - secretRef: {name: {{ . }}}
        {{- end }}
        {{- end }}
      ports:
        - {name: http, containerPort: 8080}
      {{- include "tenantry.probes" $root | nindent 6 }}
      securityContext: {{- include "tenantry.containerSecurity" $root | nindent 8 }}
      resources: {{- toYaml (.resources | default dict) | nindent 8 }}
      volumeMounts:
        - {name: config, mountPath: /etc/tenantry, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        {{- if $cache }}
        - {name: cache, mountPath: /cache}
        {{- end }}
        {{- if $keys }}
        - {name: keys, mountPath: /keys}
        {{- end }}
        {{- range $name, $one := $regions }}
        {{- if $one.keysClaim }}
        - {name: keys-{{ $name }}, mountPath: /keys-{{ $name }}}
        {{- end }}
        {{- end }}
        {{- if and $graph $root.Values.certificate }}
        - {name: graph, mountPath: /graph, readOnly: true}
        {{- end }}
        {{- range $name, $cloud := $clouds }}
        {{- if $cloud.certificate }}
        - {name: graph-{{ $name }}, mountPath: /graph-{{ $name }}, readOnly: true}
        {{- end }}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ $root.Release.Name }}-tenantry}
    - name: tmp
      emptyDir: {}
    {{- if $cache }}
    - name: cache
      emptyDir: {sizeLimit: {{ add $cache (div $cache 4) }}Mi} # a pod that exceeds it is evicted
    {{- end }}
    {{- if $keys }}
    - name: keys
      persistentVolumeClaim: {claimName: {{ $root.Values.keys.claim }}}
    {{- end }}
    {{- range $name, $one := $regions }}
    {{- with $one.keysClaim }}
    - name: keys-{{ $name }}
      persistentVolumeClaim: {claimName: {{ . }}}
    {{- end }}
    {{- end }}
    {{- if and $graph $root.Values.certificate }}
    - name: graph
      secret: {secretName: {{ $root.Values.graphSecretName }}}
    {{- end }}
    {{- range $name, $cloud := $clouds }}
    {{- if $cloud.certificate }}
    - name: graph-{{ $name }}
      secret: {secretName: {{ $cloud.graphSecretName }}}
    {{- end }}
    {{- end }}
{{- end }}

{{/* At most one pod of a program is taken away at a time: list ROOT COMPONENT. */}}
{{- define "tenantry.disruptions" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ (index . 0).Release.Name }}-{{ index . 1 }}
  labels: {{- include "tenantry.labels" (index . 0) | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- include "tenantry.selector" . | nindent 6 }}
{{- end }}
