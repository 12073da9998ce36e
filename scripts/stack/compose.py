"""What the compose files and .env say: which MCP servers are enabled, also of those that `just add` added; and how auth learns of them.

An MCP server is enabled by MCP_<NAME>_ENABLED=true in .env; docker-compose.yml makes that the name of a profile. Compose itself reads
.env and fills in the variables: nothing here knows how.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent.parent
# Files of `just add`, one per server.
ADDED = Path(os.environ.get("STACK_ADDED") or ROOT / "compose.d")
# Where auth has the directory of gateway.toml and of the list of services.
MOUNTED = "/etc/mcp-gateway"


class StackError(Exception):
    """One line for a person: what is wrong and what to do."""


def start(main: Callable[[list[str]], int | None], interrupted: str = "") -> NoReturn:
    """Runs a script: its exit status is what `main` returns, and what is wrong is one line. `interrupted` is said at Ctrl-C."""
    try:
        sys.exit(main(sys.argv[1:]))
    except (StackError, OSError) as error:
        sys.exit(f"just: {error}")
    except KeyboardInterrupt:
        sys.exit(f"\njust: {interrupted}" if interrupted else 130)


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
        raise StackError(explained(done.stderr))
    return json.loads(done.stdout)


def explained(said: str) -> str:
    """What Compose says of a file that it does not take, for somebody who has not read docker-compose.yml."""
    line = (said.strip() or "docker compose config failed").splitlines()[-1]
    if missing := re.search(r"required variable (\w+) is missing a value: (.*)", line):
        if not (ROOT / ".env").exists() and "COMPOSE_ENV_FILES" not in os.environ:
            return "there is no .env yet; run `just init`, which asks for what is needed and writes it"
        return f"{missing[1]} has no value; {missing[2]}"
    if scheme := re.search(r"traefik/(.*)\.env not found", line):
        return f"PUBLIC_SCHEME={scheme[1]} is neither https nor http; correct it in .env"
    return line


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


def config_directory() -> Path:
    """What auth has at /etc/mcp-gateway: the directory config/, or CONFIG_DIR."""
    for volume in configuration()["services"]["auth"].get("volumes") or ():
        if volume["target"] == MOUNTED and volume["type"] == "bind":
            return Path(volume["source"])
    raise StackError(f"auth has no directory at {MOUNTED}, where it reads the names of the services; see `volumes:` of auth in docker-compose.yml")


def tell_auth() -> None:
    """Writes the names of the enabled servers where auth reads them. One that runs takes them over within a second, and goes on."""
    place = config_directory()
    file, fresh = place / "services", place / ".services.new"
    names = "".join(f"{name}\n" for name in enabled())
    try:
        place.mkdir(parents=True, exist_ok=True)
        # auth runs as another user.
        if place.stat().st_mode & 0o055 != 0o055:
            place.chmod(place.stat().st_mode | 0o055)
        if not file.exists() or file.read_text(encoding="utf-8") != names:
            fresh.write_text(names, encoding="utf-8")
            fresh.chmod(0o644)
            fresh.replace(file)
    except OSError as error:
        raise StackError(f"{error.filename} cannot be written: {error.strerror}; auth reads the names of the services in {place}") from None


def environment() -> dict[str, str]:
    """For `docker compose`: the enabled servers are on."""
    profiles = {"true", *filter(None, os.environ.get("COMPOSE_PROFILES", "").split(","))}
    return {"GATEWAY_COMMIT": commit(), **os.environ, "COMPOSE_PROFILES": ",".join(sorted(profiles))}


@functools.cache
def commit() -> str:
    """The commit that is checked out, for the labels of images; empty in an archive without Git."""
    try:
        return run(["git", "rev-parse", "--short", "HEAD"]).stdout.strip()
    except FileNotFoundError:
        return ""


def check_name(service: str) -> None:
    names = configuration()["services"]
    if service not in names:
        # Compose calls a server mcp-fetch, people may call it fetch.
        meant = f"; {service} is called mcp-{service} here" if f"mcp-{service}" in names else f"; there are {', '.join(sorted(names))}"
        raise StackError(f"{service} is no service of the stack{meant}")


def container(service: str, *, running: bool = True) -> str:
    """The id of the (first) container of a service."""
    check_name(service)
    flags = [] if running else ["--all"]
    done = run(command("ps", "--quiet", *flags, service), env=environment())
    ids = done.stdout.split()
    if not ids:
        raise StackError(f"{service} is not running; start it with `just up {service}`, see why with `just logs {service}`")
    return ids[0]
