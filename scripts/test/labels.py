"""What must agree between files of the stack.

The labels of every MCP service in docker-compose.yml, traefik/dynamic/services.yml and chassis::identity: a label that is
forgotten would open something silently (a client's own X-Auth-Login would reach the server).
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

    all_services = json.loads(config)["services"]
    services = {name: service for name, service in all_services.items() if "traefik.enable" in (service.get("labels") or {})}
    assert len(services) > 5, sorted(services)
    guard = "traefik.http.middlewares.mcp-auth.forwardauth"
    for name, service in services.items():
        wanted = {
            "traefik.enable": "true",
            f"traefik.http.routers.{name}.rule": f"Host(`{name}.localhost`) && (Path(`/mcp`) || Path(`/mcp/`)) && "
                                                 "(Method(`GET`) || Method(`HEAD`) || Method(`POST`) || Method(`DELETE`) || Method(`OPTIONS`))",
            f"traefik.http.routers.{name}.middlewares": "mcp-guard",
            "traefik.http.middlewares.mcp-guard.chain.middlewares": "mcp-cors@file,mcp-auth,mcp-strip@file",
            # The service is the one of the host that the router matched (docs/decisions/0011).
            f"{guard}.address": "http://auth:8000/verify",
            f"{guard}.trustforwardheader": "false",
            f"{guard}.authrequestheaders": "Authorization",
            f"{guard}.authresponseheaders": ",".join(headers),
            f"{guard}.maxresponsebodysize": "65536",
        }
        # A server without mcp-proxy has a network that only Traefik is on, too.
        network = service["labels"].get("traefik.docker.network")
        if network:
            shared = {other for other, entry in all_services.items() if set(service["networks"]) & set(entry.get("networks") or {})}
            assert shared == {name, "traefik"}, f"{name} shares a network with {shared}"
            wanted["traefik.docker.network"] = network
        assert network or "REQUIRE_IDENTITY" in service["environment"], f"{name} has neither mcp-proxy nor a network of its own"
        assert service.get("labels") == wanted, f"{name}: {service.get('labels')} instead of {wanted}"
