# The fetch server behind mcp-proxy. For another Python server copy this file and change the last lines.
#
# BINARIES=prebuilt copies deploy/docker/prebuilt/mcp-proxy instead of compiling (built on Debian 12 or older).
ARG RUST_IMAGE=rust:1.95-bookworm
ARG PYTHON_IMAGE=python:3.12-slim-bookworm
ARG BINARIES=build

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
ARG GATEWAY_COMMIT
# Locked: cargo's own lock is not in the registry's directory, so two builds at once would unpack over each other.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,id=gateway-target,sharing=locked \
    cargo build --release --locked --package mcp-proxy \
 && install -D target/release/mcp-proxy /out/mcp-proxy

FROM scratch AS prebuilt
COPY deploy/docker/prebuilt/mcp-proxy /out/mcp-proxy

FROM ${BINARIES} AS binaries

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="mcp-fetch" \
      org.opencontainers.image.description="mcp-server-fetch behind mcp-proxy" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# The version that the tests use (scripts/tools.py).
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore mcp-server-fetch==2026.10.24
COPY --from=binaries /out/mcp-proxy /usr/local/bin/mcp-proxy
USER 65532:65532
# HOME is where the server may write; the stack mounts a tmpfs there. Metrics and health stay on 127.0.0.1:9000.
ENV HOST=0.0.0.0 HOME=/tmp PYTHONDONTWRITEBYTECODE=1
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["/usr/local/bin/mcp-proxy", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/mcp-proxy", "--"]
CMD ["mcp-server-fetch"]
