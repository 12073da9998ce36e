#!/usr/bin/env python3
"""Starts Traefik with the shipped configuration on any free port: development and tests.

    start.py --address-file FILE [--web HOST:PORT] [--websecure HOST:PORT] [--ping HOST:PORT] [--verify HOST:PORT]
             [--traefik PROGRAM] [--late]

Port 0, the default, takes a free one. The listeners are bound here and handed to Traefik the way systemd
does it (LISTEN_FDS), so no other program can take a port between the choice and the start. This process then becomes
Traefik: whoever started it has Traefik's own process id and exit status. The address file has lines such as
web=127.0.0.1:41873 and is written before Traefik starts; connections wait in the listener until it is ready.

With --late it waits, after the address file, for lines NAME=value on standard input until its end, and starts Traefik
with them: the services behind it must know its port before theirs can be known.

With --verify Traefik asks the instances of auth by way of itself (several.env).

Traefik's own settings come from traefik.env beside this file; the routes from the environment (traefik/dynamic/*.yml name theirs).
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import shutil
import socket
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIRST_FD = 3  # sd_listen_fds(3): inherited sockets begin here
BACKLOG = 1024
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
# A static file in one of these places would silently win over the environment.
SHADOWS = [Path("/etc/traefik") / f"traefik.{end}" for end in ("yml", "yaml", "toml")]


def static_settings(*files: str) -> dict[str, str]:
    """The lines NAME=value of the files. A value that a shell or Compose would change is not used in them."""
    lines = [line for file in files for line in (HERE / file).read_text().splitlines()]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def bind(name: str, address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, int(port)))
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        sys.exit(f"traefik: cannot listen on {address} for {name}: {'the port is taken' if taken else error.strerror}")
    listener.listen(BACKLOG)
    return listener


def hand_over(listeners: list[socket.socket]) -> None:
    """Moves the sockets to descriptors 3, 4, 5 …, inheritable; first out of the way of those numbers."""
    count = len(listeners)
    parked = [fcntl.fcntl(each.fileno(), fcntl.F_DUPFD_CLOEXEC, FIRST_FD + count) for each in listeners]
    for number, descriptor in enumerate(parked, FIRST_FD):
        os.dup2(descriptor, number, inheritable=True)


def announce(file: Path, names: list[str], listeners: list[socket.socket]) -> None:
    text = "".join(f"{name}={each.getsockname()[0]}:{each.getsockname()[1]}\n" for name, each in zip(names, listeners))
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.replace(file)


def main() -> None:
    parser = argparse.ArgumentParser(description="Start Traefik with the shipped configuration")
    parser.add_argument("--address-file", type=Path, required=True)
    parser.add_argument("--web", default="127.0.0.1:0")
    parser.add_argument("--websecure", default="127.0.0.1:0")
    parser.add_argument("--ping", default="127.0.0.1:0")
    parser.add_argument("--verify", help="listen here for Traefik's own questions to several instances of auth")
    parser.add_argument("--traefik", default=os.environ.get("TRAEFIK", str(HERE.parent / ".tools" / "bin" / "traefik")))
    parser.add_argument("--late", action="store_true", help="read NAME=value lines from standard input before the start")
    options = parser.parse_args()

    program = shutil.which(options.traefik)
    if program is None:
        sys.exit(f"traefik: {options.traefik} does not exist; run: python3 scripts/tools.py traefik")
    for shadow in SHADOWS:
        if shadow.exists():
            sys.exit(f"traefik: {shadow} exists and Traefik would read it instead of the shipped settings; move it away")

    wanted = {"web": options.web, "websecure": options.websecure, "traefik": options.ping}
    files = ["traefik.env"]
    if options.verify:
        wanted["verify"] = options.verify
        files.append("several.env")
    names = list(wanted)
    listeners = [bind(name, address) for name, address in wanted.items()]
    announce(options.address_file, names, listeners)
    given = dict(os.environ)
    if options.verify:
        host, port = listeners[-1].getsockname()[:2]
        given["VERIFY_URL"] = f"http://{host}:{port}"
    if options.late:
        given |= dict(line.rstrip("\n").split("=", 1) for line in sys.stdin if "=" in line)
    # Traefik would send forwardAuth through a proxy if the environment names one.
    environment = static_settings(*files) | {key: value for key, value in given.items() if key.lower() not in PROXIES}
    environment |= {
        "TRAEFIK_PROVIDERS_FILE_DIRECTORY": str(HERE / "dynamic"),
        "LISTEN_FDS": str(len(names)),
        "LISTEN_FDNAMES": ":".join(names),
        "LISTEN_PID": str(os.getpid()),
        # Neither place may hold a static file that would win over the environment.
        "XDG_CONFIG_HOME": str(HERE),
        "HOME": str(HERE),
    }
    hand_over(listeners)
    os.chdir(HERE)
    os.execve(program, [program], environment)


if __name__ == "__main__":
    main()
