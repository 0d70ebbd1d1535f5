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

{{/* A pod of one program: dict root, program, component, keys (it uses the wrapping keys),
     graph (it holds the Graph credential), overrides (keys of configuration), resources, grace. */}}
{{- define "tenantry.pod" -}}
{{- $root := .root -}}
metadata:
  labels:
    {{- include "tenantry.selector" (list $root .component) | nindent 4 }}
  annotations:
    # A change of configuration rolls the pods.
    checksum/config: {{ $root.Values.config | toJson | sha256sum }}
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
        {{- if and .keys $root.Values.keys.claim }}
        - {name: TENANTRY_KEY_FILE, value: /keys/tenantry.keys}
        {{- end }}
        {{- if .graph }}
        {{- if $root.Values.certificate }}
        - {name: TENANTRY_CERTIFICATE, value: /graph/certificate.pem}
        {{- else }}
        - name: TENANTRY_CLIENT_SECRET
          valueFrom:
            secretKeyRef: {name: {{ $root.Values.graphSecretName }}, key: TENANTRY_CLIENT_SECRET}
        {{- end }}
        {{- end }}
        {{- range $key, $value := .overrides }}
        - {name: TENANTRY_{{ $key | upper | replace "-" "_" }}, value: {{ $value | quote }}}
        {{- end }}
      envFrom:
        - secretRef: {name: {{ $root.Values.secretName }}}
      ports:
        - {name: http, containerPort: 8080}
      {{- include "tenantry.probes" $root | nindent 6 }}
      securityContext: {{- include "tenantry.containerSecurity" $root | nindent 8 }}
      resources: {{- toYaml .resources | nindent 8 }}
      volumeMounts:
        - {name: config, mountPath: /etc/tenantry, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        {{- if and .keys $root.Values.keys.claim }}
        - {name: keys, mountPath: /keys}
        {{- end }}
        {{- if and .graph $root.Values.certificate }}
        - {name: graph, mountPath: /graph, readOnly: true}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ $root.Release.Name }}-tenantry}
    - name: tmp
      emptyDir: {}
    {{- if and .keys $root.Values.keys.claim }}
    - name: keys
      persistentVolumeClaim: {claimName: {{ $root.Values.keys.claim }}}
    {{- end }}
    {{- if and .graph $root.Values.certificate }}
    - name: graph
      secret: {secretName: {{ $root.Values.graphSecretName }}}
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
