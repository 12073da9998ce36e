"""The recipes under the names of the Python gateway (scripts/stack/old-names.just): each is run, aliases too, and stands in the page about them."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import guide
import services

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "how-to" / "from-the-python-gateway.md"
GROUP = "old names"
# Recipe → arguments (CLIENT, GRANT stand for what was made for it), and what the output has.
RUN: dict[str, tuple[tuple[str, ...], str]] = {
    "oauth-list-registrations": ((), "CLIENT"),
    "oauth-list-tokens": ((), "GRANT"),
    "oauth-show-all": ((), "GRANT"),
    "oauth-stats": ((), "clients"),
    "oauth-purge-expired-dry": ((), ""),
    "oauth-purge-expired": ((), ""),
    "oauth-delete-token": (("GRANT",), ""),
    "oauth-delete-registration": (("CLIENT",), ""),
    "oauth-delete-client-complete": (("OTHER",), ""),
    "oauth-delete-all-tokens": (("--yes",), ""),
    "oauth-restore-dry": ((), "would restore"),
    "oauth-restore-clear": ((), "auth runs again"),
    "generate-all-secrets": ((), ""),
    "generate-jwt-secret": ((), ""),
    "generate-redis-password": ((), ""),
    "generate-rsa-keys": ((), ""),
    "analyze-oauth-logs": ((), ""),
    "rebuild": (("mcp-echo",), "Healthy"),
    "remove-orphans": ((), ""),
    "up-fresh": (("mcp-echo",), "Healthy"),
    "logs-purge": ((), "Healthy"),
}


# Alias → arguments (BACKUP stands for a file that was made), and what it says. What would end the stack, or overwrite .env, only tells, or is refused.
ALIASES: dict[str, tuple[tuple[str, ...], str]] = {
    "b": (("mcp-echo",), ""),
    "u": (("mcp-echo",), "Healthy"),
    "d": (("--dry-run",), "DRY-RUN"),
    "status": ((), "mcp-echo-1"),
    "check-health": ((), "all is well"),
    "check-services": ((), "all is well"),
    "health-quick": ((), "all is well"),
    "create-mcp-config": (("echo",), "claude mcp add --transport http echo "),
    "setup-claude-code": (("echo",), "claude mcp add --transport http echo "),
    "oauth-backup": ((), "wrote"),
    "oauth-backup-list": ((), "backup-"),
    "oauth-restore": (("--dry-run",), "would restore"),
    "oauth-restore-file": (("BACKUP", "--dry-run"), "would restore"),
}
REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "setup": ((), "the sign-in would be at auth.auth.example.com"),
    "mcp-client-token": (("echo", "--no-ask"), "nobody has agreed yet"),
    "generate-github-token": (("echo", "--no-ask"), "nobody has agreed yet"),
}
# With it `setup` writes nothing.
REFUSING = {"DOMAIN": "auth.example.com"}

# Goes on until it is interrupted.
ENDLESS = guide.Command(0, "./justw logs-follow auth", "auth-1", endless=True, online=False)


def parsed(output: str) -> dict:
    """The JSON of standard output, which comes before what stands on standard error."""
    return json.JSONDecoder().raw_decode(output)[0]


def recipes(just: Callable[..., str]) -> tuple[set[str], set[str]]:
    """Those of the group, and the aliases."""
    dump = parsed(just("--dump", "--dump-format", "json"))
    group = {name for name, recipe in dump["recipes"].items() if {"group": GROUP} in recipe["attributes"]}
    return group, set(dump["aliases"])


def documented(just: Callable[..., str]) -> None:
    group, aliases = recipes(just)
    run = {*RUN, ENDLESS.text.split()[1]}
    assert group == run, f"not run: {group - run}, no such recipe: {run - group}"
    run = {*ALIASES, *REFUSED}
    assert aliases == run, f"not run: {aliases - run}, no such alias: {run - aliases}"
    named = set(re.findall(r"`([a-z-]+)`", PAGE.read_text(encoding="utf-8")))
    assert group | aliases <= named, f"not in {PAGE.name}: {(group | aliases) - named}"


def aliases_work(just: Callable[..., str], environment: dict[str, str]) -> None:
    for name, (arguments, expected) in ALIASES.items():
        made = {"BACKUP": str(max(Path(environment["BACKUP_DIR"]).glob("backup-*"), default=""))}
        output = just(name, *(made.get(argument, argument) for argument in arguments))
        assert expected in output, f"just {name}: {output[-1000:]}"
    with tempfile.TemporaryDirectory() as nothing:
        for name, (arguments, expected) in REFUSED.items():
            settings = environment | {"XDG_STATE_HOME": nothing} | (REFUSING if name == "setup" else {})
            done = subprocess.run(["./justw", name, *arguments], cwd=ROOT, env=settings, stdin=subprocess.DEVNULL, text=True, capture_output=True)
            assert done.returncode != 0 and expected in done.stderr, f"just {name}: {done.returncode} {done.stdout}{done.stderr}"


def each_works(just: Callable[..., str], environment: dict[str, str], port: int, password: str) -> None:
    client, other = (services.sign_in(port, "mcp-echo", password).client for _ in range(2))
    grants = parsed(just("admin", "sessions", "list", "--client", client, "--json"))
    grant = (grants["items"] if isinstance(grants, dict) else grants)[0]["id"]
    made = {"CLIENT": client, "OTHER": other, "GRANT": grant}
    just("backup")
    for name, (arguments, expected) in RUN.items():
        output = just(name, *(made.get(argument, argument) for argument in arguments))
        assert made.get(expected, expected) in output, f"just {name}: {output[-1000:]}"
    guide.run(ENDLESS, ROOT, environment)
