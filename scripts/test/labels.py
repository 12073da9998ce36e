"""What must agree between files of the stack.

The labels of every MCP service in docker-compose.yml, traefik/dynamic/services.yml and chassis::identity: a label that is
forgotten would open something silently (a client's own X-Auth-Login would reach the server). And .env.example with what
docker-compose.yml reads.
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

    services = {name: service for name, service in json.loads(config)["services"].items() if "traefik.enable" in (service.get("labels") or {})}
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
        assert service.get("labels") == wanted, f"{name}: {service.get('labels')} instead of {wanted}"


def settings_documented() -> None:
    """Every variable that the stack reads is in .env.example, and every variable there is read."""
    read: dict[str, str | None] = {}
    for file in ("docker-compose.yml", "traefik/https.env"):
        for name, default in re.findall(r"\$\{([A-Z_]+)(?::-([^}]*))?", (ROOT / file).read_text()):
            read[name] = default or read.get(name) or ""
    del read["COMPOSE_PROJECT_NAME"]  # Compose sets it itself.
    read |= dict.fromkeys(("GATEWAY_JWT_SECRET", "GATEWAY_JWT_SECRET_PREVIOUS", "REDIS_PASSWORD", "GITHUB_CLIENT_SECRET"), "")  # scripts/stack/make_secrets.py
    lines = (ROOT / ".env.example").read_text().splitlines()
    shown = dict(line.lstrip("#").split("=", 1) for line in lines if re.match(r"#?[A-Z_]+=", line))
    assert set(read) == set(shown), f"only in the stack: {set(read) - set(shown)}, only in .env.example: {set(shown) - set(read)}"
    wrong = {name: (value, shown[name]) for name, value in read.items() if value and value != shown[name]}
    assert not wrong, f"other defaults than .env.example: {wrong}"
