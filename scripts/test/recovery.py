"""The stack is hurt: a service dies, Redis is away, everything is deleted and comes back from a backup."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import services
import story
from browser import ask
from containers import inspect
from harness import MCP, PROJECT, Stack, run, switched


def killed(stack: Stack) -> None:
    """A service that dies is back by itself."""
    run(["docker", "kill", "--signal", "KILL", inspect("mcp-time")["Id"]])
    stack.just("up")
    services.call(stack.port, "mcp-time", stack.password)


def well_again(stack: Stack) -> None:
    """By itself, without a restart."""
    deadline = time.monotonic() + 30
    while (done := run(["./justw", "health-check"], env=stack.environment, check=False)).returncode != 0:
        assert time.monotonic() < deadline, done.stdout


def redis_away(stack: Stack) -> None:
    """No answer is wrong meanwhile, and nobody has to sign in again."""
    grant = services.sign_in(stack.port, "mcp-time", stack.password)
    stack.compose("stop", "redis")
    answer = story.initialize(stack.port, "eyJhbGciOiJFUzI1NiJ9.e30.x", "mcp-time")
    assert answer.status in (401, 503), f"a forged token: {answer.status}"
    answer = ask("POST", f"http://auth.localhost:{stack.port}/token", body="grant_type=refresh_token&refresh_token=x&client_id=x",
                 headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status in (400, 401, 503), f"/token: {answer.status} {answer.body}"
    stack.compose("start", "redis")
    well_again(stack)
    services.Session(stack.port, "mcp-time", grant.access).close()


def health_check_for_cron(stack: Stack) -> None:
    """Silent while all is well; says what is wrong, and fails, when something is."""
    def cron() -> subprocess.CompletedProcess[str]:
        return run(["scripts/health-check.sh"], env=stack.environment, check=False)
    well = cron()
    assert (well.returncode, well.stdout) == (0, ""), well.stdout
    stack.compose("stop", "mcp-time")
    wrong = cron()
    assert wrong.returncode == 1 and "WRONG mcp-time" in wrong.stdout, f"{wrong.returncode} {wrong.stdout}"
    stack.just("up")


def restored_after_clean_all(stack: Stack, place: Path) -> None:
    """Everything is deleted, secrets too; with the backup and a copy of the secret the client goes on as if nothing had been."""
    grant = services.sign_in(stack.port, "mcp-time", stack.password)
    stack.just("backup")
    copy = place / "copy-of-the-secret"
    copy.write_text((place / "secrets" / "gateway_jwt_secret").read_text())
    refused = run(["./justw", "clean-all"], env=stack.environment, check=False, input="no\n")
    assert refused.returncode != 0 and "nothing was deleted" in refused.stderr and (place / "secrets").exists(), refused
    stack.just("clean-all", "--yes")
    assert not (place / "secrets").exists() and PROJECT not in run(["docker", "volume", "ls"]).stdout
    stack.environment |= switched(tuple(name for name in MCP if name != "mcp-time"), on=False)
    stack.just("up")
    assert story.initialize(stack.port, grant.access, "mcp-time").status == 401, "a token outlived everything"

    without = run(["./justw", "restore", "--clear"], env=stack.environment, check=False)
    assert without.returncode != 0 and "GATEWAY_JWT_SECRET" in without.stderr and "--secret COPY" in without.stderr, without
    unclear = run(["./justw", "restore", "--secret", str(copy)], env=stack.environment, check=False)
    assert unclear.returncode != 0 and "--clear removes all" in unclear.stderr, unclear
    well_again(stack)
    stack.just("restore", "--secret", str(copy), "--clear")
    services.Session(stack.port, "mcp-time", grant.access).close()
    grant = services.refresh(stack.port, "mcp-time", grant)
    # The copy is not needed any more.
    stack.just("restart", "auth")
    stack.just("restart", "auth")
    well_again(stack)
    services.Session(stack.port, "mcp-time", grant.access).close()
    services.refresh(stack.port, "mcp-time", grant)
