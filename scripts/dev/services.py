"""The services of a development run: their settings, their start, their addresses."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from build import ROOT, TOOLS
from processes import Failure, Process, Processes

DOMAIN = "localhost"
USER = "dev"
# The page of MCP Inspector asks the services itself when its proxy is not used.
ORIGINS = "http://localhost:6274,http://127.0.0.1:6274"
# What a service may see of the environment of the person who started it; settings of a production .env are not among them.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "RUST_BACKTRACE", "NO_COLOR")
# What a fetching MCP server needs to reach the network from here.
NETWORK = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


class Address(NamedTuple):
    public: str
    private: str


def environment(**settings: str) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return inherited | {"LOG_FORMAT": "pretty", "LOG_LEVEL": os.environ.get("LOG_LEVEL", "info,actix_server=warn")} | settings


def private_file(path: Path, text: str) -> Path:
    """A file for its owner alone, from its first byte on."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)
    return path


def password(binaries: Path, place: Path) -> str:
    """A new password for each run: what was on the screen yesterday opens nothing today. Only its hash is kept."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    text = "-".join("".join(secrets.choice(alphabet) for _ in range(5)) for _ in range(3))
    try:
        done = subprocess.run([str(binaries / "mcp-auth"), "hash-password"], input=text, text=True, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", None) or str(error)
        raise Failure(f"mcp-auth cannot hash the password: {detail.strip().splitlines()[-1]}") from None
    private_file(place / "local_users", f"{USER}:{done.stdout.strip()}\n")
    return text


def read_address(file: Path) -> dict[str, str] | None:
    try:
        return dict(line.split("=", 1) for line in file.read_text().splitlines())
    except FileNotFoundError:
        return None


def announced(processes: Processes, name: str, file: Path) -> dict[str, str]:
    found: dict[str, str] = {}

    def there() -> bool:
        found.update(read_address(file) or {})
        return bool(found)

    processes.wait_for(f"the address of {name}", there)
    return found


def access_line(line: str) -> str | None:
    """Traefik's JSON access log, shortened to what a person looks for; its own lines stay as they are."""
    if not line.startswith("{"):
        # The start says at length what is switched off; its other lines say what is wrong.
        return line if " ERR " in line or " WRN " in line else None
    try:
        entry = json.loads(line)
        milliseconds = entry["Duration"] / 1e6
        return f"{entry['RequestMethod']} {entry['RequestHost']}{entry['RequestPath']} {entry['DownstreamStatus']} {milliseconds:.1f} ms"
    except (ValueError, KeyError):
        return line


def start_traefik(processes: Processes, run: Path, port: int) -> Process:
    command = [sys.executable, str(ROOT / "traefik" / "start.py"), "--late", "--address-file", str(run / "traefik"),
               "--web", f"127.0.0.1:{port}", "--traefik", str(TOOLS / "bin" / "traefik")]
    settings = environment(DOMAIN=DOMAIN, PUBLIC_SCHEME="http", MCP_CORS_ORIGINS=ORIGINS)
    return processes.start("traefik", command, env=settings, stdin=subprocess.PIPE, show=access_line, abrupt=True)


def start_auth(processes: Processes, binaries: Path, place: Path, port: int, names: list[str]) -> None:
    secret = place / "jwt_secret"
    if not secret.exists():
        private_file(secret, secrets.token_urlsafe(48))
    processes.start("auth", [str(binaries / "mcp-auth"), "serve"], cwd=place, env=environment(
        DOMAIN=DOMAIN, PUBLIC_SCHEME="http", PUBLIC_PORT=str(port), MCP_SERVICES=",".join(names), PORT="0", PRIVATE_PORT="0",
        ADDRESS_FILE=str(place / "run" / "auth"), STORE="redb", STORE_PATH=str(place / "auth.redb"), IDENTITY_PROVIDER="local",
        LOCAL_USERS_FILE=str(place / "local_users"), GATEWAY_JWT_SECRET_FILE=str(secret), SHUTDOWN_DRAIN="0",
        LIMIT_REGISTER="0"))  # Everybody is this machine; MCP Inspector registers at each connection.


def start_proxy(processes: Processes, binaries: Path, place: Path, name: str, command: list[str]) -> None:
    network = {variable: os.environ[variable] for variable in NETWORK if os.environ.get(variable)}
    settings = environment(PRIVATE_PORT="0", ALLOWED_HOSTS=f"{name}.{DOMAIN}", ALLOWED_ORIGINS=ORIGINS, REQUIRE_IDENTITY="true",
                           MCP_ENV=",".join(network), **network)
    processes.start(name, [str(binaries / "mcp-proxy"), "--port", "0", "--address-file", str(place / "run" / name), "--", *command],
                    cwd=place, env=settings)


def status(address: str, path: str, host: str | None = None) -> int:
    """The status of a GET, 0 when nobody answers."""
    name, _, number = address.rpartition(":")
    connection = http.client.HTTPConnection(name, int(number), timeout=2)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()
