"""A person signs in to one MCP service and calls a tool of it, with nothing but HTTP."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
import threading
import urllib.parse
from typing import NamedTuple

from browser import Browser, ask

REDIRECT = "http://127.0.0.1/callback"
# Service → (tool, arguments, what the answer has).
CALLS = {
    "mcp-echo": ("echo", {"message": "hello from the stack"}, "hello from the stack"),
    "mcp-time": ("get_current_time", {"timezone": "UTC"}, "UTC"),
    "mcp-everything": ("get-sum", {"a": 20, "b": 22}, "42"),
    # A name of its own each time: what is there already would not be created.
    "mcp-memory": ("create_entities", {"entities": [{"name": f"gateway {secrets.token_hex(4)}", "entityType": "program", "observations": ["it runs"]}]}, "gateway"),
    "mcp-filesystem": ("write_file", {"path": "/data/hello.txt", "content": "hello"}, "Successfully wrote"),
    "mcp-sequentialthinking": ("sequentialthinking", {"thought": "It runs.", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1}, "thoughtHistoryLength"),
    "mcp-tmux": ("create_session", {"session_name": "gateway"}, "gateway"),
    "mcp-playwright": ("browser_navigate", {"url": "data:text/html,<title>The gateway</title>"}, "Page Title: The gateway"),
    "mcp-fetchs": ("fetch", {"url": "http://127.0.0.1:1/"}, ""),
}


def form(fields: dict[str, str]) -> str:
    return urllib.parse.urlencode(fields)


class Grant(NamedTuple):
    """What a client has after a sign-in."""

    client: str
    access: str
    refresh: str


def sign_in(port: int, service: str, password: str) -> Grant:
    """Registers a client for the service, and approves as `tester`."""
    origin = f"http://{service}.localhost:{port}"
    registered = ask("POST", f"{origin}/register", body=json.dumps({"client_name": "stack test", "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"}),
                     headers={"Content-Type": "application/json"})
    assert registered.status == 201, f"register: {registered.status} {registered.body}"
    client = json.loads(registered.body)["client_id"]
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(8)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = form({"response_type": "code", "client_id": client, "redirect_uri": REDIRECT, "code_challenge": challenge, "code_challenge_method": "S256",
                  "state": state, "resource": f"{origin}/mcp"})
    came = urllib.parse.urlsplit(Browser("tester", password).approve(f"http://auth.localhost:{port}/authorize?{query}", REDIRECT))
    answer = dict(urllib.parse.parse_qsl(came.query))
    assert answer.get("state") == state and "code" in answer, f"authorize: {answer.get('error')}"
    granted = ask("POST", f"{origin}/token", body=form({"grant_type": "authorization_code", "code": answer["code"], "redirect_uri": REDIRECT, "client_id": client,
                                                       "code_verifier": verifier}), headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert granted.status == 200, f"token: {granted.status} {granted.body}"
    tokens = json.loads(granted.body)
    return Grant(client, tokens["access_token"], tokens["refresh_token"])


def refresh(port: int, service: str, grant: Grant) -> Grant:
    granted = ask("POST", f"http://{service}.localhost:{port}/token", body=form({"grant_type": "refresh_token", "refresh_token": grant.refresh, "client_id": grant.client}),
                  headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert granted.status == 200, f"refresh: {granted.status} {granted.body}"
    tokens = json.loads(granted.body)
    return Grant(grant.client, tokens["access_token"], tokens["refresh_token"])


class Session:
    """An MCP session of revision 2025-06-18."""

    def __init__(self, port: int, service: str, token: str) -> None:
        self.url = f"http://{service}.localhost:{port}/mcp"
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        self.last = 0
        self.request("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "stack test", "version": "1"}})
        self.headers["MCP-Protocol-Version"] = "2025-06-18"
        ask("POST", self.url, body=json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}), headers=self.headers)

    def request(self, method: str, params: dict) -> dict:
        self.last += 1
        answer = ask("POST", self.url, body=json.dumps({"jsonrpc": "2.0", "id": self.last, "method": method, "params": params}), headers=self.headers)
        assert answer.status == 200, f"{method}: {answer.status} {answer.body[:500]}"
        session = answer.headers["Mcp-Session-Id"]
        if session:
            self.headers["Mcp-Session-Id"] = session
        events = answer.body.split("\n") if answer.headers["Content-Type"].startswith("text/event-stream") else [f"data: {answer.body}"]
        messages = [json.loads(line.removeprefix("data:")) for line in events if line.startswith("data:") and line.removeprefix("data:").strip()]
        return next(message for message in messages if message.get("id") == self.last)

    def close(self) -> None:
        if "Mcp-Session-Id" in self.headers:
            ask("DELETE", self.url, headers=self.headers)


def call(port: int, service: str, password: str) -> str:
    """Signs in, lists, calls, closes; returns the access token."""
    tool, arguments, expected = CALLS[service]
    grant = sign_in(port, service, password)
    session = Session(port, service, grant.access)
    tools = [entry["name"] for entry in session.request("tools/list", {})["result"]["tools"]]
    assert tool in tools, f"{service} has {tools}, not {tool}"
    answer = json.dumps(session.request("tools/call", {"name": tool, "arguments": arguments}))
    assert expected in answer, f"{service}: {answer}"
    session.close()
    return grant.access


class Caller(threading.Thread):
    """Calls a service all the time, for as long as the block lasts; what went wrong is said at its end."""

    def __init__(self, port: int, service: str, password: str) -> None:
        super().__init__(daemon=True)
        self.session = Session(port, service, sign_in(port, service, password).access)
        self.ending = threading.Event()
        self.answered = 0
        self.failures: list[str] = []

    def run(self) -> None:
        while not self.ending.is_set():
            try:
                self.session.request("tools/list", {})
                self.answered += 1
            except (AssertionError, OSError, http.client.HTTPException) as error:
                self.failures.append(str(error))

    def __enter__(self) -> Caller:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self.join()
        self.session.close()
        assert not self.failures, f"{len(self.failures)} of {self.answered + len(self.failures)} calls failed: {self.failures[0]}"
        assert self.answered, "no call was made"


def each_opens_its_own(port: int, tokens: dict[str, str]) -> None:
    """A token is for one service: at every other one it is as good as none."""
    assert len(tokens) > 1, tokens
    for service, token in tokens.items():
        for other in tokens.keys() - {service}:
            answer = ask("POST", f"http://{other}.localhost:{port}/mcp", body="{}", headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
            assert answer.status == 401 and "invalid_token" in answer.headers["WWW-Authenticate"], f"token of {service} at {other}: {answer.status}"
