# logtracer-exporter, and the filter for `--module /plugin.wasm`. `scripts/image` builds both on the host and passes their
# folder as the context.
ARG BASE=gcr.io/distroless/cc-debian12:debug-nonroot
FROM ${BASE}
COPY logtracer-exporter /usr/local/bin/
COPY plugin.wasm /plugin.wasm
# The outbox and the store. Nothing else is written.
COPY --chown=65532:65532 data /data
VOLUME /data
USER 65532:65532
ENV LOGTRACER_HTTP=0.0.0.0:4318 LOGTRACER_GRPC=0.0.0.0:4317 LOGTRACER_VIEW=0.0.0.0:4380 LOGTRACER_DATA_DIR=/data
EXPOSE 4317 4318 4380
# With another LOGTRACER_VIEW, or with TLS, set your own `healthcheck`: Docker expands no variables in the list below.
HEALTHCHECK --interval=3s --timeout=3s --start-period=5s \
    CMD ["busybox", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:4380/readyz"]
ENTRYPOINT ["/usr/local/bin/logtracer-exporter"]
CMD []
