# The tools for looking at a service from inside, for images that have none: `just exec SERVICE curl …` (scripts/stack/inside.py)
# starts it in the network and among the processes of that service.
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}
USER root
# ping is copied to lose the capability that Debian gives it: a program with one cannot be started where none may be gained.
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends \
    bash bind9-dnsutils ca-certificates curl iproute2 iputils-ping jq less lsof netcat-openbsd openssl procps python3 python3-redis redis-tools wget \
 && cp /usr/bin/ping /usr/local/bin/ping \
 && ln -sf python3 /usr/bin/python \
 && rm -rf /var/lib/apt/lists/*
LABEL org.opencontainers.image.title="mcp-gateway toolbox" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
CMD ["bash"]
