# An Envoy on Debian, used if no image registry can be reached. scripts/envoy downloads the program.
ARG BASE=logtracer-base
FROM ${BASE}
COPY envoy /usr/local/bin/
USER 65532:65532
# The admin interface of envoy/mesh.yaml; another configuration needs its own `healthcheck`.
HEALTHCHECK --interval=3s --timeout=3s --start-period=5s \
    CMD ["busybox", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9901/ready"]
ENTRYPOINT ["/usr/local/bin/envoy"]
