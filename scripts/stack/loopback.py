"""Requests to hosts such as mcp-fetch.localhost, which are this machine, also where the system does not know that (RFC 6761 section 6.3)."""

from __future__ import annotations

import http.client
import urllib.parse
import urllib.request

from compose import StackError


def is_loopback(host: str) -> bool:
    return host in ("localhost", "127.0.0.1") or host.endswith(".localhost")


def check(address: str) -> str:
    """A URL to which a secret may be sent: https, or http on this machine."""
    parts = urllib.parse.urlsplit(address)
    if parts.hostname and (parts.scheme == "https" or parts.scheme == "http" and is_loopback(parts.hostname)):
        return address
    raise StackError(f"{address!r} must be an https URL, such as https://mcp-fetch.example.com/mcp (http is for this machine only: *.localhost and 127.0.0.1)")


class Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.host = "127.0.0.1"
        super().connect()


class Handler(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(Connection, request)


def opener(address: str) -> urllib.request.OpenerDirector:
    if is_loopback(urllib.parse.urlsplit(address).hostname or ""):
        return urllib.request.build_opener(urllib.request.ProxyHandler({}), Handler)
    return urllib.request.build_opener()
