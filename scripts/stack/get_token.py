#!/usr/bin/env python3
"""Prints an access token for one MCP service: `just token [SERVICE]`.

    get_token.py [SERVICE] [--url URL] [--json] [--no-ask] [--forget]

The first time a person opens the address that is shown, types the code and agrees (device grant, RFC 8628). What is kept afterwards, the id of
the client and the refresh token, is in $XDG_STATE_HOME/mcp-gateway/tokens.json (~/.local/state without the variable), readable by nobody
else, so that the next call needs no person. Only the token is written to standard output.

Nothing here is special to this gateway: where to ask follows from the service's own metadata (RFC 9728, RFC 8414).
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import re
import socket
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import loopback
from compose import StackError, enabled, start, url
from make_secrets import settings

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
# Seconds between two questions where the server names no interval (RFC 8628 section 3.2), and what `slow_down` adds (section 3.5).
INTERVAL, SLOWER = 5, 5


class Refused(StackError):
    """An error answer of OAuth (RFC 6749 section 5.2)."""

    def __init__(self, address: str, status: int, code: str, description: str) -> None:
        super().__init__(f"{address} answers {status} {code}{f': {description}' if description else ''}".rstrip())
        self.status, self.code = status, code


def plain(text: object) -> str:
    """What a server says, fit for a terminal."""
    return re.sub(r"[^\x20-\x7e]", "?", str(text or ""))[:300]


def ask(address: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> dict:
    """One request; the answer is a JSON object, or an error."""
    request = urllib.request.Request(address, data=body, headers={"Accept": "application/json", **(headers or {})})
    try:
        with loopback.opener(address).open(request, timeout=30) as answer:
            text = answer.read(1 << 20)
    except urllib.error.HTTPError as error:
        try:
            said = json.loads(error.read(1 << 16))
            code, description = plain(said.get("error")), plain(said.get("error_description"))
        except (ValueError, AttributeError):
            code, description = plain(error.reason), ""
        raise Refused(address, error.code, code, description) from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise StackError(f"{address} cannot be reached: {getattr(reason, 'strerror', None) or reason}; is the stack up (`just health-check`)?") from None
    try:
        found = json.loads(text or b"{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StackError(f"{address} answers something else than JSON; is it an MCP service behind this gateway?")
    return found


def post(address: str, fields: dict[str, str]) -> dict:
    return ask(address, urllib.parse.urlencode(fields).encode(), {"Content-Type": "application/x-www-form-urlencoded"})


def well_known(address: str, name: str) -> str:
    """The name goes between host and path (RFC 8414 section 3.1, RFC 9728 section 3.1)."""
    parts = urllib.parse.urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}/.well-known/{name}{parts.path.rstrip('/')}"


class Server:
    """The authorization server of a service, and what it offers."""

    def __init__(self, resource: str) -> None:
        try:
            about = ask(well_known(resource, "oauth-protected-resource"))
        except Refused as refused:
            raise StackError(f"{resource} does not say where to sign in ({refused}); it needs no token, or it is no service of this gateway") from None
        self.resource = about.get("resource") or resource
        self.issuer = (about.get("authorization_servers") or [""])[0]
        loopback.check(self.issuer)
        self.metadata = ask(well_known(self.issuer, "oauth-authorization-server"))
        if self.metadata.get("issuer") != self.issuer:
            raise StackError(f"{self.issuer} calls itself {plain(self.metadata.get('issuer'))}; this is not trusted (RFC 8414 section 3.3)")

    def endpoint(self, name: str) -> str:
        address = self.metadata.get(f"{name}_endpoint")
        if not address:
            raise StackError(f"{self.issuer} has no {name}_endpoint")
        return loopback.check(address)

    def register(self) -> str:
        client = {"client_name": f"just token on {socket.gethostname()}", "grant_types": [DEVICE_GRANT, "refresh_token"], "response_types": [],
                  "token_endpoint_auth_method": "none"}
        headers = {"Content-Type": "application/json"}
        initial = settings().get("CLIENT_REGISTRATION_TOKEN")
        if initial:
            headers["Authorization"] = f"Bearer {initial}"
        try:
            return ask(self.endpoint("registration"), json.dumps(client).encode(), headers)["client_id"]
        except Refused as refused:
            if refused.status == 401:
                raise StackError(f"{self.issuer} lets only those register who have its token; set CLIENT_REGISTRATION_TOKEN in the environment or in .env") from None
            raise


class Kept:
    """Clients by issuer and refresh tokens by service, in a file that nobody else can read."""

    def __init__(self) -> None:
        place = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "mcp-gateway"
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.file = place / "tokens.json"

    def read(self) -> dict:
        try:
            return json.loads(self.file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"clients": {}, "refresh_tokens": {}}
        except ValueError:
            raise StackError(f"{self.file} is damaged; delete it, and sign in again") from None

    @contextlib.contextmanager
    def changing(self) -> Iterator[dict]:
        """Alone with the file; what is in the dictionary in the end is what is kept."""
        lock = os.open(self.file.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = self.read()
            yield kept
            fresh = self.file.with_suffix(".new")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
                json.dump(kept, out, indent=2)
            fresh.replace(self.file)
        finally:
            os.close(lock)


def refreshed(server: Server, kept: Kept) -> dict | None:
    """A token for what a person agreed to before; none if that has ended."""
    # Two calls at once must not spend the same refresh token: the second one waits and uses the first one's successor.
    with kept.changing() as known:
        client, token = known["clients"].get(server.issuer), known["refresh_tokens"].get(server.resource)
        if not client or not token:
            return None
        try:
            granted = post(server.endpoint("token"), {"grant_type": "refresh_token", "refresh_token": token, "client_id": client})
        except Refused as refused:
            if refused.code not in ("invalid_grant", "invalid_client"):
                raise
            del known["refresh_tokens"][server.resource]
            return None
        known["refresh_tokens"][server.resource] = granted.get("refresh_token") or token
        return granted


def codes(server: Server, kept: Kept) -> tuple[str, dict]:
    """The client and the codes of a new device grant; a client that the server has forgotten is registered anew."""
    client = kept.read()["clients"].get(server.issuer)
    for known in (client, None) if client else (None,):
        if not known:
            client = server.register()
            with kept.changing() as stored:
                stored["clients"][server.issuer] = client
        try:
            return client, post(server.endpoint("device_authorization"), {"client_id": client, "resource": server.resource})
        except Refused as refused:
            if refused.code != "invalid_client" or not known:
                raise
    raise AssertionError("the last client was registered just now")


def agreed(server: Server, kept: Kept) -> dict:
    """Shows address and code, and waits for the person's answer."""
    client, asked = codes(server, kept)
    print(f"Open  {plain(asked.get('verification_uri_complete') or asked['verification_uri'])}\ncode  {plain(asked['user_code'])}\n"
          f"and agree, within {int(asked['expires_in']) // 60} minutes.", file=sys.stderr, flush=True)
    interval, end = asked.get("interval", INTERVAL), time.monotonic() + asked["expires_in"]
    while time.monotonic() < end:
        time.sleep(interval)
        try:
            granted = post(server.endpoint("token"), {"grant_type": DEVICE_GRANT, "device_code": asked["device_code"], "client_id": client})
        except Refused as refused:
            if refused.code == "slow_down":
                interval += SLOWER
            elif refused.code == "access_denied":
                raise StackError("access was refused on the page") from None
            elif refused.code == "expired_token":
                break
            elif refused.code != "authorization_pending" and refused.status < 500:
                raise
            continue
        if granted.get("refresh_token"):
            with kept.changing() as known:
                known["refresh_tokens"][server.resource] = granted["refresh_token"]
        return granted
    raise StackError("nobody agreed in time; run it again")


def forget(server: Server, kept: Kept) -> None:
    with kept.changing() as known:
        token = known["refresh_tokens"].pop(server.resource, None)
        if token:
            post(server.endpoint("revocation"), {"token": token, "client_id": known["clients"].get(server.issuer, "")})
    print(f"just: {server.resource}: {'the grant has ended' if token else 'nothing was kept'}", file=sys.stderr)


def resource_of(options: argparse.Namespace) -> str:
    if options.url:
        address = options.url.rstrip("/")
        return loopback.check(address if urllib.parse.urlsplit(address).path else f"{address}/mcp")
    services = enabled()
    name = options.service or ("mcp-fetch" if "mcp-fetch" in services else next(iter(services), ""))
    name = name if name.startswith("mcp-") else f"mcp-{name}"
    if name not in services:
        raise StackError(f"{name} is not enabled; there are {', '.join(services) or 'none'}")
    return f"{url(name)}/mcp"


def print_token(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="just token", description="Print an access token for one MCP service.")
    parser.add_argument("service", nargs="?", help="such as fetch [default: mcp-fetch, or the first that is enabled]")
    parser.add_argument("--url", help="a service of a gateway elsewhere, such as https://mcp-fetch.example.com/mcp")
    parser.add_argument("--json", action="store_true", help="the whole answer: access_token, expires_in, scope, resource")
    parser.add_argument("--no-ask", action="store_true", help="fail instead of waiting for a person, for cron")
    parser.add_argument("--forget", action="store_true", help="end the grant, and keep nothing")
    options = parser.parse_args(arguments)
    if options.service and options.url:
        parser.error("either SERVICE or --url")
    server, kept = Server(resource_of(options)), Kept()
    if options.forget:
        forget(server, kept)
        return
    granted = refreshed(server, kept)
    if granted is None and options.no_ask:
        raise StackError(f"nobody has agreed yet, or the grant has ended; run it once without --no-ask: {server.resource}")
    granted = granted or agreed(server, kept)
    if options.json:
        shown = {name: granted[name] for name in ("access_token", "token_type", "expires_in", "scope") if name in granted}
        print(json.dumps(shown | {"resource": server.resource}))
    else:
        print(granted["access_token"])


def main(arguments: list[str]) -> None:
    try:
        print_token(arguments)
    except KeyError as error:
        raise StackError(f"the server's answer lacks {error}") from None


if __name__ == "__main__":
    start(main, interrupted="nobody was waited for")
