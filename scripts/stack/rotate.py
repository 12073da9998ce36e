#!/usr/bin/env python3
"""New signing keys, a new GATEWAY_JWT_SECRET and a new password of Redis, while everything goes on.

Each new secret is made known beside the old one first, then a second auth takes over from the first, then the old ones are taken away:
no request fails, and nobody has to sign in again. An interrupted run can be repeated.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

from compose import ROOT, StackError, command, container, environment, run, start, tell_auth
from make_secrets import PLACE, settings, write_mounted


def say(text: str) -> None:
    print(f"just: {text}", file=sys.stderr, flush=True)


def compose(*arguments: str) -> str:
    done = run(command(*arguments), env=environment())
    if done.returncode != 0:
        raise StackError(f"docker compose {arguments[0]}: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1]}")
    return done.stdout


def redis(password: str, *arguments: str) -> str:
    done = run(["docker", "exec", "--interactive", "--env", "REDISCLI_AUTH", container("redis"), "redis-cli", "-x", *arguments[:-1]],
               env={**os.environ, "REDISCLI_AUTH": password}, input=arguments[-1])
    if done.returncode != 0 or done.stdout.startswith(("ERR", "NOAUTH", "WRONGPASS")):
        raise StackError(f"redis-cli {arguments[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def roll_auth() -> None:
    """A second instance starts and is healthy, then the first one finishes what it has and ends."""
    old = container("auth")
    tell_auth()
    compose("up", "--detach", "--wait", "--no-deps", "--no-recreate", "--scale", "auth=2", "auth")
    for step in (["stop", old], ["rm", old]):
        if run(["docker", *step]).returncode != 0:
            raise StackError(f"docker {step[0]} {old[:12]} failed; look with `just ps`, and run this again")
    compose("up", "--detach", "--wait", "--no-deps", "--no-recreate", "--scale", "auth=1", "auth")


def main(_: list[str]) -> int:
    fixed = [name for name in ("GATEWAY_JWT_SECRET", "REDIS_PASSWORD") if settings().get(name)]
    if fixed:
        raise StackError(f"{' and '.join(fixed)} stand in .env or the environment; remove them there (their values are in {PLACE}), then run this again")
    old_secret, old_password = ((PLACE / name).read_text(encoding="utf-8") for name in ("gateway_jwt_secret", "redis_password"))
    new_secret, new_password = secrets.token_urlsafe(48), secrets.token_urlsafe(48)

    status = subprocess.run(command("exec", "-T", "auth", "mcp-auth", "keys", "rotate", "--yes"), cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, check=False).returncode
    if status != 0:
        raise StackError("the signing keys were not rotated; the reason stands above, and nothing else was changed")

    say("Redis takes a second password")
    redis(old_password, "ACL", "SETUSER", "default", f">{new_password}")
    write_mounted("gateway_jwt_secret_previous", old_secret)
    write_mounted("gateway_jwt_secret", new_secret)
    write_mounted("redis_password", new_password)
    say("a second auth takes over")
    roll_auth()
    write_mounted("gateway_jwt_secret_previous", new_secret)
    redis(new_password, "ACL", "SETUSER", "default", "resetpass", f">{new_password}")
    say(f"done: new signing keys, a new GATEWAY_JWT_SECRET and a new password of Redis in {Path(PLACE)}; put a copy beside your backup")
    return 0


if __name__ == "__main__":
    start(main, interrupted="interrupted; run it again")
