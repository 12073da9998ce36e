#!/usr/bin/env python3
"""Puts what somebody needs to help you into one archive, without secrets.

    bundle.py [FILE]      diagnostics-<time>.tar.gz if there is no name

In it: versions, the configuration that Compose makes of the files, what auth says of its own, the checks of `just health-check` and the
others, the last 2000 lines of every service's log, states, and resource use. Every value of .env, of the environment under the name of a
setting, and of .secrets/ that is a secret is replaced by its name wherever it stands, also in the logs.
"""

from __future__ import annotations

import datetime
import io
import json
import os
import re
import tarfile
from pathlib import Path

import check
import version
from compose import ROOT, StackError, command, configuration, environment, run, start
from make_secrets import settings

# A setting is a secret if its name says so; the names of services and files are none.
SECRET_NAME = re.compile(r"SECRET|PASSWORD|TOKEN|KEY|CREDENTIAL|LOCAL_USERS")
NOT_SECRET = re.compile(r"_FILE$|_LIFETIME$|_DIR$")
# What looks like one of our tokens or a JWT, whoever wrote it into a log.
TOKEN = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}|(?i:(?<=bearer ))[A-Za-z0-9._~+/-]{16,}=*|\bgh[opsu]_[A-Za-z0-9]{20,}")


def secrets() -> dict[str, str]:
    """Value → name of everything that must not leave this machine."""
    found = {}
    for name, value in settings().items():
        if SECRET_NAME.search(name) and not NOT_SECRET.search(name) and len(value) >= 4:
            found[value] = name
            for part in re.split(r"[,:]", value):
                if len(part) >= 12:
                    found[part] = name
    for name, secret in (configuration().get("secrets") or {}).items():
        try:
            value = Path(secret["file"]).read_text(encoding="utf-8").strip()
        except OSError:
            continue
        if len(value) >= 4:
            found[value] = name
    for service in configuration()["services"].values():
        for name, value in (service.get("environment") or {}).items():
            if value and SECRET_NAME.search(name) and not NOT_SECRET.search(name) and len(value) >= 4:
                found[value] = name
    return found


def clean(text: str, hidden: dict[str, str]) -> str:
    # The longest first, so that a value inside another leaves nothing behind. Compose writes $ twice.
    for value in sorted(hidden, key=len, reverse=True):
        for form in {value, value.replace("$", "$$"), json.dumps(value)[1:-1]}:
            text = text.replace(form, f"[{hidden[value]}]")
    return TOKEN.sub("[token]", text)


def said(arguments: list[str]) -> str:
    """What a command prints; a failure is worth knowing too."""
    done = run(arguments, env=environment())
    return done.stdout + done.stderr + (f"(exit status {done.returncode})\n" if done.returncode else "")


def findings(name: str) -> str:
    try:
        return "".join(f"{'ok' if finding.well else 'WRONG'} {finding.what}: {finding.said}\n" for finding in check.CHECKS[name]())
    except StackError as error:
        return f"{error}\n"


def parts() -> dict[str, str]:
    found = {"version.txt": version.text(), "configuration.json": json.dumps(configuration(), indent=2)}
    for name in ("health", "env", "compose", "network", "ports", "ssl"):
        found[f"check-{name}.txt"] = findings(name)
    found["auth-config.txt"] = said(command("exec", "-T", "auth", "mcp-auth", "config"))
    found["ps.txt"] = said(command("ps", "--all"))
    found["stats.txt"] = said(command("stats", "--no-stream", "--all"))
    found["disk.txt"] = said(["docker", "system", "df"])
    for service in check.services():
        found[f"logs/{service}.log"] = said(command("logs", "--no-color", "--timestamps", "--tail", "2000", service))
    return found


def main(arguments: list[str]) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    file = Path(arguments[0]) if arguments else ROOT / f"diagnostics-{now:%Y%m%d-%H%M%S}.tar.gz"
    hidden = secrets()
    # Nobody else on this machine may read it: logs name people.
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as archive:
        for name, text in parts().items():
            data = clean(text, hidden).encode()
            entry = tarfile.TarInfo(f"diagnostics/{name}")
            entry.size, entry.mtime, entry.mode = len(data), int(now.timestamp()), 0o600
            archive.addfile(entry, io.BytesIO(data))
    print(f"just: wrote {file} ({file.stat().st_size // 1024 + 1} KiB). Secrets are taken out; names of people and addresses in the logs are not: look before you share it.")


if __name__ == "__main__":
    start(main)
