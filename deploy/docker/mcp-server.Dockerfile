# Any stdio MCP server behind mcp-proxy: a base image, what is installed into it, and the command of the service.
#
#   docker build -f deploy/docker/gateway.Dockerfile --target mcp-proxy -t mcp-gateway/mcp-proxy .
#   docker build -f deploy/docker/mcp-server.Dockerfile --build-arg PYTHON_PACKAGES=mcp-server-time -t mcp-time .
#   docker run mcp-time mcp-server-time
ARG BASE_IMAGE=python:3.12-slim-bookworm
ARG PROXY_IMAGE=mcp-gateway/mcp-proxy:latest

FROM ${PROXY_IMAGE} AS proxy

FROM ${BASE_IMAGE}
USER root
# Each is a list with blanks between; versions belong to it.
ARG APT_PACKAGES=
ARG PYTHON_PACKAGES=
ARG NODE_PACKAGES=
# A command that prepares what was installed, such as a download of a browser.
ARG PREPARE=true
RUN if [ -n "${APT_PACKAGES}" ]; then apt-get update -qq && apt-get install -y -qq --no-install-recommends ${APT_PACKAGES} && rm -rf /var/lib/apt/lists/*; fi
RUN if [ -n "${PYTHON_PACKAGES}" ]; then pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore ${PYTHON_PACKAGES}; fi
# As npx does, the program of the first Node package is found by the package's name: here it is called mcp-server.
RUN if [ -n "${NODE_PACKAGES}" ]; then npm install --global --no-fund --no-audit --no-update-notifier ${NODE_PACKAGES} && rm -rf /root/.npm \
 && node -e 'const [root, spec] = process.argv.slice(1), name = spec.replace(/(?!^)@.*$/, ""), own = name.split("/").pop(); \
             const { bin } = require(`${root}/${name}/package.json`), file = typeof bin === "string" ? bin : bin[own] ?? Object.values(bin)[0]; \
             require("fs").symlinkSync(`${root}/${name}/${file}`, "/usr/local/bin/mcp-server")' "$(npm root --global)" "${NODE_PACKAGES%% *}"; fi
RUN sh -euc "${PREPARE}" && install -d -o 65532 -g 65532 /data
COPY --from=proxy /mcp-proxy /usr/local/bin/mcp-proxy
# Licences are those of what was installed.
ARG GATEWAY_COMMIT
LABEL org.opencontainers.image.title="mcp-server" \
      org.opencontainers.image.description="A stdio MCP server behind mcp-proxy: ${PYTHON_PACKAGES}${NODE_PACKAGES}" \
      org.opencontainers.image.revision="${GATEWAY_COMMIT}"
USER 65532:65532
# HOME is where the server may write; the stack mounts a tmpfs there. /data is for what is to stay.
# Metrics and health stay on 127.0.0.1:9000.
ENV HOST=0.0.0.0 HOME=/tmp PYTHONDONTWRITEBYTECODE=1 NO_UPDATE_NOTIFIER=1
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["/usr/local/bin/mcp-proxy", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/mcp-proxy", "--"]
