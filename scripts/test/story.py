"""What a client does with the stack: the official Python client, the person at the browser, a page to fetch."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import playing
from browser import Browser, ask

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = Path(os.environ.get("GATEWAY_TOOLS") or ROOT / ".tools")
SERVICE = "mcp-fetch"
PATIENCE = 60.0  # seconds for one step of the client


def free_port() -> int:
    """A port that was free a moment ago: Compose needs a number before it starts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def mcp_url(port: int, service: str = SERVICE) -> str:
    return f"http://{service}.localhost:{port}/mcp"


INITIALIZE = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
    "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "stack test", "version": "1"}}})
MCP_HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


def initialize(port: int, token: str | None, service: str = SERVICE):
    authorization = {"Authorization": f"Bearer {token}"} if token else {}
    return ask("POST", mcp_url(port, service), body=INITIALIZE, headers=MCP_HEADERS | authorization)


def challenge(port: int) -> None:
    answer = initialize(port, None)
    assert answer.status == 401, answer.status
    metadata = f"http://{SERVICE}.localhost:{port}/.well-known/oauth-protected-resource/mcp"
    assert f'resource_metadata="{metadata}"' in answer.headers["WWW-Authenticate"], answer.headers["WWW-Authenticate"]
    found = ask("GET", metadata)
    assert found.status == 200 and json.loads(found.body)["resource"] == mcp_url(port), found.body


def no_verify(port: int) -> None:
    for host in (f"{SERVICE}.localhost", "auth.localhost"):
        answer = ask("GET", f"http://{host}:{port}/verify?resource={SERVICE}")
        assert answer.status == 404, f"{host}: {answer.status}"


@contextlib.contextmanager
def page(address: str) -> Iterator[tuple[str, str]]:
    """Serves one page to the containers; yields its URL and a text that only it has."""
    text = f"the page says {secrets.token_hex(8)}"

    class Page(playing.Quiet):
        def do_GET(self) -> None:
            if self.path == "/page":
                self.answer(200, f"<html><body><p>{text}</p></body></html>".encode(), Content_Type="text/html")
            else:
                self.answer(404)  # No robots.txt: everything may be fetched.

    with playing.serving(Page, address) as port:
        yield f"http://{address}:{port}/page", text


class Client:
    """tests/clients/python_mcp.py: the official client with its own OAuth code, told and heard over JSON lines."""

    def __init__(self, port: int, served: tuple[str, str], password: str, log: Path) -> None:
        self.port = port
        self.url, self.text = served
        self.person = Browser("tester", password)
        self.log = log
        self.tokens: dict = {}

    def __enter__(self) -> Client:
        command = [str(TOOLS / "bin" / "python-mcp"), str(ROOT / "tests" / "clients" / "python_mcp.py"), "legacy", mcp_url(self.port), self.url]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def hear(self, event: str) -> dict:
        limit = threading.Timer(PATIENCE, self.process.kill)
        limit.start()
        try:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
        finally:
            limit.cancel()
        assert line, f"the client ended instead of saying {event!r}: {self.log.read_text()[-1500:]}"
        heard = json.loads(line)
        assert heard["event"] == event, f"expected {event!r}, the client says {line}"
        return heard

    def tell(self, message: dict) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def sign_in_and_fetch(self) -> None:
        asked = self.hear("authorize")
        self.tell({"callback": self.person.approve(asked["url"], asked["redirect_uri"])})
        fetched = self.hear("fetched")
        assert self.text in fetched["text"], fetched

    def refresh(self) -> None:
        refreshed = self.hear("refreshed")
        assert refreshed["rotated"] and self.text in refreshed["text"], refreshed
        self.tokens = self.hear("tokens")

    def token_works(self) -> None:
        answer = initialize(self.port, self.tokens["access_token"])
        assert answer.status == 200, f"{answer.status} {answer.body}"

    def revoke(self) -> None:
        form = urllib.parse.urlencode({"token": self.tokens["refresh_token"], "client_id": self.tokens["client_id"]})
        answer = ask("POST", f"http://auth.localhost:{self.port}/revoke", body=form, headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert answer.status == 200, f"{answer.status} {answer.body}"
        answer = initialize(self.port, self.tokens["access_token"])
        assert answer.status == 401 and "invalid_token" in answer.headers["WWW-Authenticate"], answer
        self.tell({})
        self.hear("authorize")
