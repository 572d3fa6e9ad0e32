# An Envoy on Debian, for where no image registry can be reached: scripts/envoy gets the program.
ARG BASE=logtracer-base
FROM ${BASE}
COPY envoy /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/envoy"]
