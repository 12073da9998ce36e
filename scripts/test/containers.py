"""What the containers of the stack are, as the engine itself sees them."""

from __future__ import annotations

import json
from pathlib import Path

from harness import MCP, PROJECT, Stack, run

SERVICES = ("traefik", "auth", "redis", *MCP)


def all_healthy(stack: Stack) -> None:
    lines = stack.just("ps", "--format", "json").splitlines()
    states = {entry["Service"]: entry["Health"] for entry in map(json.loads, lines)}
    assert states == dict.fromkeys(SERVICES, "healthy"), states


def inspect(service: str) -> dict:
    """Asked of the engine itself: Compose would read all files first."""
    labels = (f"label=com.docker.compose.project={PROJECT}", f"label=com.docker.compose.service={service}")
    container = run(["docker", "ps", "--quiet", *(part for label in labels for part in ("--filter", label))]).stdout.strip()
    return json.loads(run(["docker", "inspect", container]).stdout)[0]


def variables(service: str) -> dict[str, str]:
    """The environment that Compose gave a service, without what every image has."""
    entries = (entry.partition("=") for entry in inspect(service)["Config"]["Env"])
    return {name: value for name, _, value in entries if name not in ("PATH", "HOME")}


def started() -> dict[str, tuple[str, str]]:
    """Which container each service has, and since when it runs: the same again if nobody was disturbed."""
    states = {service: inspect(service) for service in SERVICES}
    return {service: (state["Id"], state["State"]["StartedAt"]) for service, state in states.items()}


def hardened() -> None:
    for service in SERVICES:
        container = inspect(service)
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and "no-new-privileges:true" in host["SecurityOpt"], f"{service}: {host}"
        # Redis has a limit of its own (maxmemory): it would rather refuse to write than be ended.
        assert 0 < host["PidsLimit"] <= 1024 and (service == "redis" or 0 < host["Memory"] <= 2 << 30), f"{service}: {host['PidsLimit']} {host['Memory']}"
        if service not in ("traefik", "redis"):
            assert container["Config"]["User"] == "65532:65532", f"{service} runs as {container['Config']['User']!r}"
    limits = inspect("mcp-fetch")["HostConfig"]
    assert limits["Memory"] == 512 << 20 and limits["PidsLimit"] == 256, limits


def images_are_labelled() -> None:
    """What it is, and from which commit (OCI image specification, annotations)."""
    commit = run(["git", "rev-parse", "--short", "HEAD"]).stdout.strip()
    for service in ("auth", "mcp-echo", "mcp-time", "mcp-everything"):
        found = inspect(service)["Config"]["Labels"]
        label = {name: found.get(f"org.opencontainers.image.{name}") for name in ("title", "description", "revision")}
        assert all(label.values()) and label["revision"] == commit, f"{service}: {label}"


def no_secret_in_sight(secrets_directory: Path) -> None:
    """Neither the configuration of a container nor the arguments of a process hold what is in the secrets."""
    for service in SERVICES:
        container = inspect(service)
        shown = json.dumps(container["Config"]) + run(["docker", "top", container["Id"], "-eo", "pid,args"]).stdout
        for file in secrets_directory.iterdir():
            value = file.read_text()
            assert not value or value not in shown, f"{service} shows {file.name}"


def only_traefik_published() -> None:
    for service in SERVICES:
        ports = inspect(service)["NetworkSettings"]["Ports"]
        published = {port for port, hosts in ports.items() if hosts}
        assert published == ({"80/tcp", "443/tcp"} if service == "traefik" else set()), f"{service} publishes {published}"
