#!/usr/bin/env python3
"""Runs a command in a service, with the tools that its image lacks.

    inside.py exec SERVICE COMMAND...
    inside.py shell SERVICE

If the image has the command it is run there. If it has not (the images hold no shell, no curl), it is run in the toolbox
(deploy/docker/toolbox.Dockerfile): a container that shares the network and the processes of the service, as its user.
redis-cli finds the server and its password by itself, and `env` shows what the service was started with.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from compose import ROOT, StackError, configuration, container, run, start
from make_secrets import settings

# What it is made from, when TOOLBOX_IMAGE does not say.
BASE = "debian:bookworm-slim"
TOOLBOX = ROOT / "deploy" / "docker" / "toolbox.Dockerfile"


def toolbox_image() -> str:
    # Named after what it is made from, so that a newer checkout gets a newer one.
    image = f"mcp-gateway/toolbox:{hashlib.sha256(TOOLBOX.read_bytes()).hexdigest()[:12]}"
    if run(["docker", "image", "inspect", image]).returncode != 0:
        print("just: building the toolbox (once)", file=sys.stderr)
        base = settings().get("TOOLBOX_IMAGE") or BASE
        done = run(["docker", "build", "--quiet", "--build-arg", f"BASE_IMAGE={base}", "--tag", image, "--file", str(TOOLBOX), str(TOOLBOX.parent)])
        if done.returncode != 0:
            raise StackError(f"the toolbox was not built: {done.stderr.strip().splitlines()[-1]}")
    return image


def terminal() -> list[str]:
    """-t only where both ends are a terminal: a pipe wants the bytes as they are."""
    return ["--interactive", *(["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else [])]


def redis_password() -> str:
    secret = configuration()["secrets"]["redis_password"]["file"]
    try:
        return Path(secret).read_text()
    except OSError as error:
        raise StackError(f"the password of Redis cannot be read: {error}") from None


def has(identity: str, program: str) -> bool:
    """Does the container have this program? Asked by copying it out, because its image may hold nothing to ask with."""
    def there(path: str) -> bool:
        return subprocess.run(["docker", "cp", f"{identity}:{path}", "-"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0

    if "/" in program:
        return there(program)
    path = next((entry.partition("=")[2] for entry in inspect(identity)["Config"]["Env"] if entry.startswith("PATH=")), "/usr/local/bin:/usr/bin:/bin")
    return any(there(f"{directory}/{program}") for directory in path.split(":") if directory)


def inspect(identity: str) -> dict:
    return json.loads(run(["docker", "inspect", identity]).stdout)[0]


def in_service(identity: str, arguments: list[str], environment: dict[str, str]) -> int:
    names = [part for name in environment for part in ("--env", name)]
    return subprocess.run(["docker", "exec", *terminal(), *names, identity, *arguments], env={**os.environ, **environment}, check=False).returncode


def toolbox(identity: str, environment: dict[str, str]) -> list[str]:
    """`docker run` of the toolbox beside a container: its network, its processes, its user, and no more rights."""
    user = inspect(identity)["Config"]["User"] or "0:0"
    names = [part for name in environment for part in ("--env", name)]
    return ["docker", "run", "--rm", "--network", f"container:{identity}", "--pid", f"container:{identity}", "--user", user, "--read-only",
            "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true", "--env", "HOME=/tmp", *names]


def in_toolbox(identity: str, arguments: list[str], environment: dict[str, str]) -> int:
    full = [*toolbox(identity, environment), *terminal(), toolbox_image(), *arguments]
    return subprocess.run(full, env={**os.environ, **environment}, check=False).returncode


def in_toolbox_quietly(identity: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The same for a check: what it says is kept."""
    return run([*toolbox(identity, {}), toolbox_image(), *arguments])


def execute(service: str, arguments: list[str]) -> int:
    identity = container(service)
    program = arguments[0]
    if program in ("env", "printenv") and len(arguments) == 1:
        # What the service was started with; secrets come in files, so there are none in it.
        print("\n".join(inspect(identity)["Config"]["Env"]))
        return 0
    environment = {}
    if program == "redis-cli":
        environment["REDISCLI_AUTH"] = redis_password()
        if service != "redis" and not {"-h", "-u"} & set(arguments):
            arguments = [program, "-h", "redis", *arguments[1:]]
    if has(identity, program):
        return in_service(identity, arguments, environment)
    return in_toolbox(identity, arguments, environment)


def shell(service: str) -> int:
    """A shell of the toolbox beside the service, with what a look at Redis needs; `just exec SERVICE sh` is the image's own, if it has one."""
    identity = container(service)
    environment = {"REDISCLI_AUTH": redis_password()} if service in ("auth", "redis") else {}
    return in_toolbox(identity, ["bash"], environment)


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["exec"] and len(arguments) > 2:
        return execute(arguments[1], arguments[2:])
    if arguments[:1] == ["shell"] and len(arguments) == 2:
        return shell(arguments[1])
    raise StackError("write it as: just exec SERVICE COMMAND..., such as just exec auth ps aux; or just shell SERVICE")


if __name__ == "__main__":
    start(main)
