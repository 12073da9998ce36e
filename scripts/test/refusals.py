"""What is typed or written wrong: the recipes say so at once, in a line that names the value, and start nothing."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from pathlib import Path

import init
from harness import MCP, Stack, run

# Arguments of just, settings, what is said.
WRONG: tuple[tuple[tuple[str, ...], dict[str, str], str], ...] = (
    (("up",), {"DOMAIN": ""}, "DOMAIN has no value; set DOMAIN in .env"),
    (("up",), {"DOMAIN": "https://example.com"}, "'https://example.com' is no domain"),
    (("up",), {"LOCAL_USERS": ""}, "LOCAL_USERS: is not set"),
    (("up",), {"IDENTITY_PROVIDER": "gihtub"}, "'gihtub' is none of github, oidc, local"),
    (("up",), {"PUBLIC_SCHEME": "ftp"}, "PUBLIC_SCHEME=ftp is neither https nor http"),
    (("up",), {"MCP_TIME_ENABLED": "maybe"}, "MCP_TIME_ENABLED=maybe is neither true nor false"),
    (("check-env",), {"MCP_TIEM_ENABLED": "true"}, "WRONG MCP_TIEM_ENABLED: there is no MCP server of this name"),
    (("up", "nosuch"), {}, "nosuch is no service of the stack; there are auth, "),
    (("build", "--pull"), {}, "`just pull` gets newer base images"),
    (("build", "nosuch"), {}, "nosuch is no service of the stack"),
    (("restart", "time"), {}, "time is called mcp-time here"),
    (("up", "mcp-filesystem"), {}, "mcp-filesystem is turned off; set MCP_FILESYSTEM_ENABLED=true in .env"),
    (("logs", "nosuch", "--since", "10m"), {}, "nosuch is no service of the stack"),
    (("exec", "nosuch", "ls"), {}, "nosuch is no service of the stack"),
    (("exec", "auth"), {}, "just exec SERVICE COMMAND"),
    (("mcp-add", "nosuch"), {}, "mcp-nosuch is not enabled"),
    (("add", "notes", "npx", "-y", "x"), {}, "the command after it"),
    (("add", "notes"), {}, "what runs it is missing"),
    (("remove", "nosuch"), {}, "mcp-nosuch was not added"),
    (("remove", "fetch"), {}, "mcp-fetch was not added"),
    (("ps",), {"DOCKER_HOST": "tcp://127.0.0.1:1"}, "the Docker engine does not answer"),
)


def refused(stack: Stack, arguments: tuple[str, ...], settings: dict[str, str], expected: str, *, building: bool = False) -> None:
    done = run(["./justw", *arguments], env=stack.environment | settings, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and expected in said, f"just {' '.join(arguments)} with {settings}: {done.returncode} {said[-1500:]}"
    assert "Traceback" not in said and ("load metadata" not in said or building), f"just {' '.join(arguments)} with {settings}: {said[-1500:]}"


def each_says_why(stack: Stack, place: Path) -> None:
    for wrong in WRONG:
        refused(stack, *wrong)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(stack, ("up",), {"HTTP_PORT": f"127.0.0.1:{port}"}, f"127.0.0.1:{port}: is taken")
    broken = place / "broken.env"
    broken.write_text("LOG_LEVEL=info\nthis is not a setting\n")
    refused(stack, ("up",), {"COMPOSE_ENV_FILES": str(broken)}, "line 2")
    # What cannot be built is not added: every later `up` would fail.
    refused(stack, ("add", "nowhere", "--image", "localhost/no-such-image:0", "--", "server"), {}, "mcp-nowhere was not added", building=True)
    assert not list(Path(stack.environment["STACK_ADDED"]).glob("*")), "the file of what was not added is there"
    running = stack.compose("ps", "--services", "--status", "running").split()
    assert set(MCP) <= set(running), f"stopped by something that was refused: {set(MCP) - set(running)}"


def what_does_not_start_says_why(stack: Stack, place: Path) -> None:
    """A setting that only the service itself refuses: its own line, not "container is unhealthy" alone."""
    soon = place / "soon.yml"
    soon.write_text(json.dumps({"services": {"auth": {"healthcheck": {"retries": 2, "start_period": "0s"}}}}))
    settings = {"COMPOSE_FILE": f"{stack.environment['COMPOSE_FILE']}:{soon}", "ACCESS_TOKEN_LIFETIME": "1"}
    refused(stack, ("up",), settings, "it said last: mcp-auth: ACCESS_TOKEN_LIFETIME", building=True)
    stack.just("up")


def without_env(place: Path) -> None:
    """A fresh checkout: what to do next, and no word about interpolation."""
    there = init.copy(place / "fresh")
    done = run([sys.executable, str(there / "scripts" / "stack" / "docker_compose.py"), "up"], env=init.environment(""), check=False)
    assert done.returncode == 1 and done.stderr == "just: there is no .env yet; run `just init`, which asks for what is needed and writes it\n", done
    shutil.rmtree(there)
