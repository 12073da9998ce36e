"""Compares the labels of every MCP service in docker-compose.yml with traefik/dynamic/services.yml and chassis::identity.

A label that is forgotten would open something silently: a client's own X-Auth-Login would reach the server.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def identity_headers() -> list[str]:
    """The names as the services know them."""
    source = (ROOT / "crates" / "chassis" / "src" / "identity.rs").read_text()
    found = re.search(r"CANONICAL[^=]*=\s*\[(.*?)\]", source, re.DOTALL)
    assert found, "crates/chassis/src/identity.rs has no list CANONICAL"
    return re.findall(r'"([^"]+)"', found[1])


def compare(config: str) -> None:
    headers = identity_headers()
    assert len(headers) == 4, headers
    shipped = (ROOT / "traefik" / "dynamic" / "services.yml").read_text()
    assert f"authResponseHeaders: [{', '.join(headers)}]" in shipped, "traefik/dynamic/services.yml lists other identity headers than chassis::identity"

    services = {name: service for name, service in json.loads(config)["services"].items() if name.startswith("mcp-")}
    assert services, "no MCP service"
    for name, service in services.items():
        guard = f"traefik.http.middlewares.{name}-auth.forwardauth"
        wanted = {
            "traefik.enable": "true",
            f"traefik.http.routers.{name}.rule": f"Host(`{name}.localhost`) && (Path(`/mcp`) || Path(`/mcp/`)) && "
                                                 "(Method(`GET`) || Method(`POST`) || Method(`DELETE`) || Method(`OPTIONS`))",
            f"traefik.http.routers.{name}.middlewares": f"mcp-cors@file,{name}-auth,mcp-strip@file",
            f"{guard}.address": f"http://auth:8000/verify?resource={name}",
            f"{guard}.trustforwardheader": "false",
            f"{guard}.authrequestheaders": "Authorization",
            f"{guard}.authresponseheaders": ",".join(headers),
            f"{guard}.maxresponsebodysize": "65536",
            f"traefik.http.services.{name}.loadbalancer.server.port": "3000",
        }
        assert service.get("labels") == wanted, f"{name}: {service.get('labels')} instead of {wanted}"
