# The service of the demo, and the stand-in for Cloud Trace of docker-compose.yaml's profile. `scripts/image` passes the
# folder with the programs as the context.
ARG BASE=gcr.io/distroless/cc-debian12:debug-nonroot
FROM ${BASE}
COPY demo-service demo-cloud-trace /usr/local/bin/
USER 65532:65532
EXPOSE 3000
HEALTHCHECK --interval=3s --timeout=3s --start-period=5s \
    CMD ["busybox", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:3000/healthz"]
ENTRYPOINT ["/usr/local/bin/demo-service", "--listen", "0.0.0.0:3000"]
CMD []
