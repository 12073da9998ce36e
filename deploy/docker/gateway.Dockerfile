# The programs of the gateway, compiled together because they share nearly all of their libraries. A target for each image:
#
#   docker build -f deploy/docker/gateway.Dockerfile --target auth .
#   docker build -f deploy/docker/gateway.Dockerfile --target mcp-proxy .
#
# BINARIES=prebuilt copies what lies in deploy/docker/prebuilt/ instead of compiling (mcp-auth built on Debian 12 or older, the others static).
ARG RUST_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot
ARG BINARIES=build

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
ARG GATEWAY_COMMIT
# Locked: cargo's own lock is not in the registry's directory, so two builds at once would unpack over each other.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,id=gateway-target,sharing=locked \
    RUSTC_WORKSPACE_WRAPPER=/src/deploy/docker/rustc.sh cargo build --release --locked --package auth --package mcp-proxy --package mcp-echo \
 && install -D -t /out target/release/mcp-auth target/release/mcp-proxy target/release/mcp-echo

FROM scratch AS prebuilt
COPY deploy/docker/prebuilt/ /out/

FROM ${BINARIES} AS binaries

# mcp-proxy as one static file, to be copied into any image:
#
#   COPY --from=mcp-gateway/mcp-proxy /mcp-proxy /usr/local/bin/mcp-proxy
#   ENTRYPOINT ["/usr/local/bin/mcp-proxy", "--"]
#
# mcp-echo, the diagnostic server, is beside it, so that this image by itself is the service mcp-echo.
FROM scratch AS mcp-proxy
ARG GATEWAY_COMMIT
LABEL org.opencontainers.image.title="mcp-proxy" \
      org.opencontainers.image.description="A stdio MCP server behind MCP Streamable HTTP" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.revision="${GATEWAY_COMMIT}"
COPY --from=binaries /out/mcp-proxy /out/mcp-echo /
# Numeric, so that an orchestrator can see that it is not root. Metrics and health stay on 127.0.0.1:9000.
USER 65532:65532
ENV HOST=0.0.0.0
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/mcp-proxy", "healthcheck"]
ENTRYPOINT ["/mcp-proxy", "--"]
CMD ["/mcp-echo"]

# The authorization server.
FROM ${RUNTIME_IMAGE} AS auth
ARG GATEWAY_COMMIT
LABEL org.opencontainers.image.title="mcp-auth" \
      org.opencontainers.image.description="OAuth 2.1 authorization server of the MCP OAuth Gateway" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.revision="${GATEWAY_COMMIT}"
COPY --from=binaries /out/mcp-auth /usr/local/bin/mcp-auth
USER 65532:65532
# Metrics and health stay on 127.0.0.1:9000, inside the container.
ENV HOST=0.0.0.0
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/usr/local/bin/mcp-auth", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/mcp-auth"]
CMD ["serve"]
