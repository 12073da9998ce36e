#!/usr/bin/env python3
"""Looks at the stack and says what is wrong with it, a line per finding and what to do.

    check.py health | config | compose | network | ports | env | ssl     exit status 1 if anything is wrong

Every check can be run again at any time; none changes anything.
"""

from __future__ import annotations

import datetime
import errno
import http.client
import json
import re
import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple

import init
import make_secrets
from compose import StackError, auth_settings, command, configuration, container, domain, enabled, environment, has_proxy, mcp_services, run, start, switch, url
from inside import in_toolbox_quietly

GUARD = "mcp-guard"
# Days; Let's Encrypt's certificates live for 90 and Traefik renews them 30 before the end.
CERTIFICATE_IS_LATE = 21


class Finding(NamedTuple):
    """One line: is it well, what was looked at, and what was seen or is to be done."""

    well: bool
    what: str
    said: str
    # Of a container, as the engine calls it; empty if there is none.
    state: str = ""


def services() -> list[str]:
    return ["traefik", "auth", "redis", *enabled()]


def containers() -> Iterator[Finding]:
    """Every service that should run does, and says of itself that it is well."""
    done = run(command("ps", "--all", "--format", "json"), env=environment())
    if done.returncode != 0:
        raise StackError(done.stderr.strip())
    seen: dict[str, list[dict]] = {}
    for line in done.stdout.splitlines():
        entry = json.loads(line)
        seen.setdefault(entry["Service"], []).append(entry)
    for name in services():
        if name not in seen:
            yield Finding(False, name, f"is not there; start it with `just up {name}`")
        for entry in seen.get(name, ()):
            state = entry["Health"] or entry["State"]
            well = entry["State"] == "running" and (entry["Health"] == "healthy" or not (entry["Health"] or has_health_check(entry["ID"])))
            yield Finding(well, name, state if well else f"{entry['State']}, {entry['Status']}; see `just logs {name} -n 50`", entry["State"])


def has_health_check(container_id: str) -> bool:
    """Compose gives no health both for a container without a check and for one that ended after Compose had listed it as running."""
    done = run(["docker", "inspect", "--format", "{{json .Config.Healthcheck}}", container_id])
    return done.stdout.strip() != "null"


def health() -> Iterator[Finding]:
    """The containers, and what Traefik answers for each service."""
    states = list(containers())
    yield from states
    if any(finding.what == "traefik" and finding.state == "running" for finding in states):
        yield from map(route, enabled())


def route(name: str) -> Finding:
    """What an unknown caller gets at a service, through Traefik: the way to the sign-in, or an answer if it is public."""
    host = f"{name}.{domain()}"
    secure = auth_settings().get("PUBLIC_SCHEME") != "http"
    entry = next(port for port in configuration()["services"]["traefik"]["ports"] if port["target"] == (443 if secure else 80))
    address = entry.get("host_ip") or "127.0.0.1"
    try:
        connection = http.client.HTTPConnection("127.0.0.1" if address == "0.0.0.0" else address, int(entry["published"]), timeout=5)
        if secure:
            # Whether clients accept the certificate is a question of its own (check-ssl).
            context = ssl._create_unverified_context()  # noqa: S323
            connection.connect()
            connection.sock = context.wrap_socket(connection.sock, server_hostname=host)
        connection.request("POST", "/mcp", b"{}", {"Host": host, "Content-Type": "application/json", "Accept": "application/json, text/event-stream"})
        answer = connection.getresponse()
        connection.close()
    except (OSError, http.client.HTTPException) as error:
        return Finding(False, f"route to {name}", f"Traefik does not answer: {error}")
    if answer.status == 404:
        return Finding(False, f"route to {name}", "404; Traefik does not know it: is it healthy, and are its labels right (`just validate-compose`)?")
    if answer.status == 401 and answer.headers.get("WWW-Authenticate"):
        return Finding(True, f"route to {name}", "asks for a token")
    if answer.status == 403:
        return Finding(False, f"route to {name}", "403; auth was not told of it, gateway.toml has `enabled = false` for it, or it is public and its mcp-proxy wants to know who calls (REQUIRE_IDENTITY): "
                       f"`just up`, then see `just logs auth -n 50` and `just logs {name} -n 50`")
    if answer.status >= 500:
        return Finding(False, f"route to {name}", f"{answer.status}; see `just logs auth -n 50` and `just logs {name} -n 50`")
    return Finding(True, f"route to {name}", f"is open to everybody (answers {answer.status})")


def validate_compose() -> Iterator[Finding]:
    """The files are well formed, and no MCP server has a route without a guard."""
    try:
        found = configuration()["services"]
        servers = mcp_services()
    except StackError as error:
        yield Finding(False, "docker-compose.yml", str(error))
        return
    yield Finding(True, "docker-compose.yml", f"{len(found)} services, {len(enabled())} MCP servers enabled")
    rule = re.compile(r"traefik\.http\.routers\.([^.]+)\.rule")
    for name, service in found.items():
        labels = service.get("labels") or {}
        for label in labels:
            router = rule.fullmatch(label)
            if not router:
                continue
            chain = labels.get(f"traefik.http.routers.{router[1]}.middlewares")
            guarded = chain == GUARD and labels.get(f"traefik.http.middlewares.{GUARD}.chain.middlewares") == "mcp-cors@file,mcp-auth,mcp-strip@file"
            yield Finding(guarded, name, "its route is guarded" if guarded else
                          f"its route {router[1]} would be open to everybody: set traefik.http.routers.{router[1]}.middlewares to {GUARD} (see mcp-fetch)")
        if name in servers and service.get("ports"):
            yield Finding(False, name, "publishes a port, past the gateway; remove `ports:`")
        neighbours = reached_by(name, found) if name in servers and not has_proxy(service) else []
        if neighbours:
            yield Finding(False, name, f"believes whoever reaches it, and {', '.join(neighbours)} can; give it a network that only Traefik is on, too (see mcp-fetchs)")


def reached_by(name: str, services: dict[str, dict]) -> list[str]:
    """Who else than Traefik shares a network with a service."""
    networks = set(services[name].get("networks") or {})
    return [other for other, service in services.items() if other not in (name, "traefik") and networks & set(service.get("networks") or {})]


def validate_config() -> Iterator[Finding]:
    """Compose files, the variables, and what the authorization server itself says of its settings."""
    yield from validate_compose()
    yield from check_env()
    # With the services that .env enables now, whatever the running one was told.
    services = ["--env", "MCP_SERVICES_FILE=", "--env", f"MCP_SERVICES={','.join(enabled())}"]
    done = run(command("run", "--rm", "--no-deps", "--no-TTY", *services, "auth", "config"), env=environment())
    problem = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("mcp-auth:")), done.stderr.strip().splitlines()[-1:] or "")
    yield Finding(done.returncode == 0, "auth", "accepts its settings (`just exec auth mcp-auth config` shows them)" if done.returncode == 0 else str(problem))


def check_settings() -> Iterator[Finding]:
    """What auth and Traefik do not start without."""
    settings = auth_settings()
    host = settings["DOMAIN"]
    try:
        init.domain(host)
        yield Finding(True, "DOMAIN", host)
    except init.Problem as problem:
        yield Finding(False, "DOMAIN", str(problem))
    https = settings.get("PUBLIC_SCHEME", "https") != "http"
    if not https and host != "localhost":
        yield Finding(False, "PUBLIC_SCHEME", f"http is only for DOMAIN=localhost: on {host} passwords and tokens would cross the network in the clear")
    if https:
        email = configuration()["services"]["traefik"]["environment"].get("TRAEFIK_CERTIFICATESRESOLVERS_LETSENCRYPT_ACME_EMAIL", "")
        yield Finding("@" in email, "ACME_EMAIL", email if "@" in email else "is not set; Let's Encrypt writes there when a certificate is about to end")
    provider = settings.get("IDENTITY_PROVIDER") or "github"
    needed = {
        "github": (("GITHUB_CLIENT_ID", "make an OAuth app at https://github.com/settings/developers"),),
        "oidc": (("OIDC_ISSUER", "take the issuer that the provider publishes"), ("OIDC_CLIENT_ID", "register a web application at the provider")),
        "local": (("LOCAL_USERS", "people as name:hash; make a hash with `just hash-password`"),),
    }
    if provider not in needed:
        yield Finding(False, "IDENTITY_PROVIDER", f"{provider!r} is none of {', '.join(needed)}; correct it in .env")
    for name, advice in needed.get(provider, ()):
        yield Finding(bool(settings.get(name)), name, "is set" if settings.get(name) else f"is not set; {advice} and put it into .env")
    lists = {
        "github": ("ALLOWED_GITHUB_USERS", "ALLOWED_GITHUB_ORGS", "ALLOWED_GITHUB_TEAMS"),
        "oidc": ("ALLOWED_OIDC_USERS", "ALLOWED_OIDC_GROUPS"),
    }.get(provider)
    if lists:
        filled = [name for name in lists if settings.get(name)]
        yield Finding(bool(filled), "who may come in", ", ".join(f"{name}={settings[name]}" for name in filled) or f"nobody; set {lists[0]}=your-name in .env")


def switches_of_nobody() -> Iterator[Finding]:
    """MCP_TIEM_ENABLED=true turns nothing on."""
    known = {switch(name) for name in mcp_services()}
    for name, value in make_secrets.settings().items():
        if re.fullmatch(r"MCP_\w+_ENABLED", name) and not name.endswith("_TESTS_ENABLED") and value == "true" and name not in known:
            yield Finding(False, name, f"there is no MCP server of this name; there are {', '.join(sorted(known))}, and more with `just add`")


def check_env() -> Iterator[Finding]:
    """What .env has to say is there."""
    yield from check_settings()
    for name in ("gateway_jwt_secret", "redis_password"):
        file = configuration()["secrets"][name]["file"]
        try:
            size = len(open(file, encoding="utf-8").read())
            yield Finding(size >= 32 or name == "redis_password" and size > 0, name, "is set" if size >= 32 else f"has {size} characters; at least 32 are needed")
        except FileNotFoundError:
            yield Finding(True, name, "is made by `just up`")
        except OSError as error:
            yield Finding(False, name, f"{file} cannot be read: {error.strerror}")
    yield from switches_of_nobody()
    off = [switch(name) for name, on in mcp_services().items() if not on]
    yield Finding(bool(enabled()), "MCP servers", f"{', '.join(enabled()) or 'none'} (off: {', '.join(off) or 'none'})")


def check_network() -> Iterator[Finding]:
    """Who has to reach whom can."""
    ways = [("traefik", "auth", 8000), ("auth", "redis", 6379), *(("traefik", name, 3000) for name in enabled())]
    for source, target, port in ways:
        try:
            identity = container(source)
        except StackError as error:
            yield Finding(False, f"{source} → {target}:{port}", str(error))
            continue
        done = in_toolbox_quietly(identity, ["nc", "-z", "-w", "3", target, str(port)])
        yield Finding(done.returncode == 0, f"{source} → {target}:{port}", "open" if done.returncode == 0 else
                      f"{(done.stderr.strip().splitlines() or ['no answer'])[-1]}; is {target} up (`just ps`)?")
    project = configuration()["name"]
    used = {network for name in services() for network in configuration()["services"][name].get("networks") or {}}
    for network in sorted(configuration()["networks"][name]["name"] for name in used):
        done = run(["docker", "network", "inspect", network, "--format", "{{len .Containers}}"])
        yield Finding(done.returncode == 0, f"network {network}", f"{done.stdout.strip()} containers" if done.returncode == 0 else f"is not there; `just up` makes it for {project}")


def check_ports() -> Iterator[Finding]:
    """The ports to the outside are Traefik's, or free for it."""
    ports = configuration()["services"]["traefik"].get("ports", [])
    for entry in ports:
        address, port = entry.get("host_ip") or "0.0.0.0", int(entry["published"])
        what = f"{address}:{port}"
        owner = run(["docker", "ps", "--filter", f"publish={port}", "--format", "{{.Names}}"]).stdout.split()
        if owner:
            ours = any(f"{configuration()['name']}-traefik" in name for name in owner)
            yield Finding(ours, what, "Traefik listens" if ours else f"belongs to the container {', '.join(owner)}; stop it, or set HTTP_PORT and HTTPS_PORT in .env")
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
                yield Finding(True, what, "free (Traefik is not running)")
            except PermissionError:
                # Below 1024 only the Docker engine may bind; who may not can still see whether somebody answers there.
                taken = probe.connect_ex(("127.0.0.1" if address == "0.0.0.0" else address, port)) == 0
                yield Finding(False, what, taken_by(port)) if taken else Finding(True, what, "free (Traefik is not running)")
            except OSError as error:
                yield Finding(False, what, taken_by(port) if error.errno == errno.EADDRINUSE else str(error.strerror))


def taken_by(port: int) -> str:
    return f"is taken; find out by whom with `sudo lsof -i :{port}` and stop it, or set HTTP_PORT and HTTPS_PORT in .env"


def check_ssl() -> Iterator[Finding]:
    """Every host shows a certificate that clients accept, chain included, and for long enough."""
    if auth_settings().get("PUBLIC_SCHEME") == "http":
        yield Finding(True, "certificates", "none: PUBLIC_SCHEME=http")
        return
    port = int(auth_settings().get("PUBLIC_PORT") or 443)
    for name in ["auth", *enabled()]:
        host = f"{name}.{domain()}"
        try:
            with socket.create_connection((host, port), timeout=5) as plain, ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secure:
                end = ssl.cert_time_to_seconds(str((secure.getpeercert() or {})["notAfter"]))
            days = int((end - datetime.datetime.now(datetime.timezone.utc).timestamp()) // 86400)
            yield Finding(days > CERTIFICATE_IS_LATE, host, f"good for {days} days" + ("" if days > CERTIFICATE_IS_LATE else "; it should have been renewed: `just logs traefik | grep -i acme`"))
        except ssl.SSLCertVerificationError as error:
            yield Finding(False, host, f"{error.verify_message}; does DNS point here, and is port 443 open to the internet? `just logs traefik | grep -i acme`")
        except OSError as error:
            yield Finding(False, host, f"{error.strerror or error}; does DNS point here (`nslookup {host}`)?")


CHECKS = {
    "health": health, "config": validate_config, "compose": validate_compose, "network": check_network,
    "ports": check_ports, "env": check_env, "ssl": check_ssl,
}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in CHECKS:
        raise StackError(f"check.py {' | '.join(CHECKS)}")
    wrong = 0
    for finding in CHECKS[arguments[0]]():
        wrong += not finding.well
        print(f"{'ok   ' if finding.well else 'WRONG'} {finding.what}: {finding.said}", flush=True)
    print(f"{wrong} wrong" if wrong else f"all is well ({url('auth')})")
    return 1 if wrong else 0


if __name__ == "__main__":
    start(main)
