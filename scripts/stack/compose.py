#!/usr/bin/env python3
"""Docker Compose, told what `just` knows: which MCP servers are enabled, and the ones that `just add` added.

    compose.py ARGUMENTS...      becomes `docker compose ARGUMENTS...`
    compose.py --services        the enabled MCP servers, a line each

An MCP server is enabled by MCP_<NAME>_ENABLED=true in .env; docker-compose.yml makes that the name of a profile. Compose itself reads
.env and fills in the variables: nothing here knows how.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# Files of `just add`, one per server.
ADDED = Path(os.environ.get("STACK_ADDED") or ROOT / "compose.d")


# Seconds; Traefik gathers changes for two of them.
ROUTES_WITHIN = 20


class StackError(Exception):
    """One line for a person: what is wrong and what to do."""


def files() -> list[Path]:
    named = os.environ.get("COMPOSE_FILE")
    base = [Path(name) for name in named.split(os.pathsep)] if named else [ROOT / "docker-compose.yml"]
    override = ROOT / "docker-compose.override.yml"
    if not named and override.exists():
        base.append(override)
    return base + sorted(ADDED.glob("*.yml"))


def command(*arguments: str) -> list[str]:
    # Paths in every file are relative to the first one's directory.
    return ["docker", "compose", *(part for file in files() for part in ("--file", str(file))), *arguments]


def run(arguments: list[str], **more: object) -> subprocess.CompletedProcess[str]:
    """Runs a command and keeps its output; whether it failed is the caller's business."""
    return subprocess.run(arguments, cwd=ROOT, text=True, capture_output=True, check=False, **more)  # type: ignore[call-overload]


@functools.cache
def configuration() -> dict:
    """What Compose makes of all files and of .env, services that are not enabled included."""
    try:
        done = run(command("--profile", "*", "config", "--format", "json"))
    except FileNotFoundError:
        raise StackError("Docker with Compose v2 is not installed; see https://docs.docker.com/engine/install/") from None
    if done.returncode != 0:
        raise StackError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "docker compose config failed")
    return json.loads(done.stdout)


def switch(service: str) -> str:
    """The variable that turns a service on: mcp-fetch → MCP_FETCH_ENABLED."""
    return service.upper().replace("-", "_") + "_ENABLED"


def mcp_services() -> dict[str, bool]:
    """Every MCP server of the files, and whether it is enabled."""
    found = {}
    for name, service in configuration()["services"].items():
        if not name.startswith("mcp-") or "traefik.enable" not in (service.get("labels") or {}):
            continue
        profiles = service.get("profiles") or ["true"]
        if profiles not in (["true"], ["false"]):
            raise StackError(f"{switch(name)}={profiles[0]} is neither true nor false; correct it in .env")
        found[name] = profiles == ["true"]
    return found


def has_proxy(service: dict) -> bool:
    """Is it mcp-proxy that answers? Some servers speak HTTP themselves."""
    return "REQUIRE_IDENTITY" in (service.get("environment") or {})


def enabled() -> list[str]:
    return sorted(name for name, on in mcp_services().items() if on)


def auth_settings() -> dict[str, str]:
    return {name: value or "" for name, value in configuration()["services"]["auth"]["environment"].items()}


def domain() -> str:
    return auth_settings()["DOMAIN"]


def url(service: str) -> str:
    """The public address of a service, without a path."""
    settings = auth_settings()
    port = f":{settings['PUBLIC_PORT']}" if settings.get("PUBLIC_PORT") else ""
    return f"{settings.get('PUBLIC_SCHEME') or 'https'}://{service}.{domain()}{port}"


def environment() -> dict[str, str]:
    """For `docker compose`: the enabled servers are on, and auth knows their names."""
    profiles = {"true", *filter(None, os.environ.get("COMPOSE_PROFILES", "").split(","))}
    return {"GATEWAY_COMMIT": commit(), **os.environ, "COMPOSE_PROFILES": ",".join(sorted(profiles)), "MCP_SERVICES": ",".join(enabled())}


@functools.cache
def commit() -> str:
    """The commit that is checked out, for the labels of images; empty in an archive without Git."""
    try:
        return run(["git", "rev-parse", "--short", "HEAD"]).stdout.strip()
    except FileNotFoundError:
        return ""


def container(service: str, *, running: bool = True) -> str:
    """The id of the (first) container of a service."""
    names = configuration()["services"]
    if service not in names:
        raise StackError(f"{service} is no service of the stack; there are {', '.join(sorted(names))}")
    flags = [] if running else ["--all"]
    done = run(command("ps", "--quiet", *flags, service), env=environment())
    ids = done.stdout.split()
    if not ids:
        raise StackError(f"{service} is not running; start it with `just up {service}`, see why with `just logs {service}`")
    return ids[0]


def wants_images(arguments: list[str]) -> bool:
    return bool(arguments) and (arguments[0] == "build" or (arguments[0] == "up" and "--no-build" not in arguments))


def ports_are_free() -> None:
    """Said before images are built for minutes, not after."""
    import check  # Which needs this module.

    wrong = [f"the port {finding.what} {finding.said}" for finding in check.check_ports() if not finding.well]
    if wrong:
        raise StackError("; ".join(wrong))


def build_proxy_first(arguments: list[str]) -> None:
    """The images of the MCP servers copy mcp-proxy from its image, so that one has to be there before them."""
    image = configuration()["services"]["mcp-proxy"]["image"]
    if arguments[0] == "build" or "--build" in arguments or run(["docker", "image", "inspect", image]).returncode != 0:
        flags = [argument for argument in arguments[1:] if argument in ("--no-cache", "--pull", "--quiet", "-q")] if arguments[0] == "build" else []
        status = subprocess.run(command("build", *flags, "mcp-proxy"), cwd=ROOT, env=environment(), check=False).returncode
        if status != 0:
            raise StackError("the image of mcp-proxy was not built; the reason stands above")


def main(arguments: list[str]) -> None:
    if arguments == ["--services"]:
        print("\n".join(enabled()))
        return
    if arguments[0] == "up" and all(argument.startswith("-") for argument in arguments[1:]):
        ports_are_free()
    if wants_images(arguments):
        build_proxy_first(arguments)
    os.chdir(ROOT)
    full = command(*arguments)
    if arguments[0] != "up" or "--wait" not in arguments:
        os.execvpe(full[0], full, environment())
    status = subprocess.run(full, env=environment(), check=False).returncode
    sys.exit(status or wait_for_routes())


def wait_for_routes() -> int:
    """Traefik learns of a healthy container a moment later; `just up` is done when clients get an answer."""
    import check  # Which needs this module.

    missing = enabled()
    if not run(command("ps", "--quiet", "--status", "running", "traefik"), env=environment()).stdout.strip():
        return 0  # Only some services were asked for.
    deadline = time.monotonic() + ROUTES_WITHIN
    while missing := [name for name in missing if is_running(name) and not check.route(name).well]:
        if time.monotonic() > deadline:
            print("".join(f"just: {finding.what}: {finding.said}\n" for finding in map(check.route, missing)), end="", file=sys.stderr)
            return 1
        time.sleep(0.2)
    return 0


def is_running(service: str) -> bool:
    return bool(run(command("ps", "--quiet", "--status", "running", service), env=environment()).stdout.strip())


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except StackError as error:
        sys.exit(f"just: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
