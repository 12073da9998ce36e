"""What must be there before anything is started, and what to say when it is not."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import IO

from processes import Failure

PYTHON = (3, 10)
PORT = 8080


def programs() -> None:
    if sys.version_info < PYTHON:
        raise Failure(f"Python {PYTHON[0]}.{PYTHON[1]} or newer is needed, this is {sys.version.split()[0]}; put a newer python3 first on the PATH")
    if not shutil.which("cc") and not os.environ.get("CC"):
        raise Failure("there is no C compiler, which the cryptography library needs; run: apt install build-essential (or xcode-select --install)")
    if not shutil.which("cargo"):
        raise Failure("cargo is not on the PATH; install Rust from https://rustup.rs and open a new terminal")


def lock(place: Path) -> IO[str]:
    """Only one run at a time: they would share the store."""
    file = open(place / "lock", "a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        raise Failure(f"./justw dev runs already here (process {file.read().strip() or 'unknown'}); end that one first") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
        return True


def port(wanted: int | None) -> tuple[int, str | None]:
    """The port for Traefik and what to tell about it. A port that was asked for must be free."""
    if wanted is not None:
        if not free(wanted):
            raise Failure(f"port {wanted} is taken; end what listens there (lsof -i :{wanted}) or choose another: ./justw dev --port NUMBER")
        return wanted, None
    for candidate in range(PORT, PORT + 20):
        if free(candidate):
            return candidate, None if candidate == PORT else f"port {PORT} is taken, using {candidate}"
    raise Failure(f"ports {PORT} to {PORT + 19} are all taken; choose another: ./justw dev --port NUMBER")


def unresolved(hosts: list[str]) -> str | None:
    """Browsers know that *.localhost is this machine; some systems' resolvers do not."""
    missing = []
    for host in hosts:
        try:
            socket.getaddrinfo(host, None, socket.AF_INET)
        except OSError:
            missing.append(host)
    if not missing:
        return None
    return (f"this system does not resolve {missing[0]} (browsers do, command-line clients may not); "
            f"add this line to /etc/hosts: 127.0.0.1 {' '.join(missing)}")
