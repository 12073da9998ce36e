# A server that speaks Streamable HTTP by itself needs no mcp-proxy: only the labels of its service.
# It trusts whoever reaches its port, which is why no service of the stack publishes one.
ARG BASE_IMAGE=python:3.12-slim-bookworm
FROM ${BASE_IMAGE}
USER root
# It was written for the first major version of the SDK.
ARG PYTHON_PACKAGES="mcp-fetch-streamablehttp-server==0.2.0 mcp==1.30.0"
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore ${PYTHON_PACKAGES}
LABEL org.opencontainers.image.title="mcp-fetchs" \
      org.opencontainers.image.description="An MCP server that speaks Streamable HTTP by itself: ${PYTHON_PACKAGES}"
USER 65532:65532
ENV MCP_SERVER_NAME=fetch MCP_SERVER_VERSION=0.2.0 MCP_PROTOCOL_VERSION=2025-06-18 HOST=0.0.0.0 PORT=3000 HOME=/tmp PYTHONDONTWRITEBYTECODE=1
EXPOSE 3000
STOPSIGNAL SIGTERM
# The image has no curl; Python is there.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 3000), 2).close()"]
CMD ["python3", "-m", "mcp_fetch_streamablehttp_server"]
