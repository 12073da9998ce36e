#!/usr/bin/env python3
"""`mcp-auth doctor` in the running stack: what would a client trip over?

It asks the public addresses from inside the container of auth. With DOMAIN=localhost these names are the container itself there, so that
it is told to connect to Traefik; else --connect does the same where the machine cannot reach its own public address.
"""

from __future__ import annotations

import json

from compose import configuration, container, domain, run, start
from inside import in_service


def traefik() -> str:
    """Traefik's address in the network that it shares with auth."""
    networks = json.loads(run(["docker", "inspect", container("traefik")]).stdout)[0]["NetworkSettings"]["Networks"]
    return f"{networks[configuration()['networks']['edge']['name']]['IPAddress']}:80"


def main(arguments: list[str]) -> int:
    if domain() == "localhost" and not any(argument.startswith("--connect") for argument in arguments):
        arguments = ["--connect", traefik(), *arguments]
    return in_service(container("auth"), ["mcp-auth", "doctor", *arguments], {})


if __name__ == "__main__":
    start(main)
