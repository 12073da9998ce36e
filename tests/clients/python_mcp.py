"""Drives the official Python client through its own OAuth code. Started by testkit::sdk.

    python_mcp.py auto|legacy MCP_URL PAGE_URL

Speaks JSON lines: says {"event": …} on stdout and is told on stdin. The person and the browser are the test's.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from urllib.parse import parse_qs, urlsplit

from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import OAuthClientMetadata

REDIRECT_URI = "http://127.0.0.1:33418/callback"

# Not every system resolves names below localhost (RFC 6761 section 6.3 says it should).
resolve = socket.getaddrinfo


def resolve_here(host, *arguments, **options):
    name = host.decode() if isinstance(host, bytes) else host
    return resolve("127.0.0.1" if name.endswith(".localhost") else name, *arguments, **options)


socket.getaddrinfo = resolve_here


def say(event: str, **more: object) -> None:
    print(json.dumps({"event": event, **more}), flush=True)


async def hear() -> dict:
    line = await asyncio.to_thread(sys.stdin.readline)
    if not line:
        sys.exit(0)
    return json.loads(line)


class Storage:
    """Keeps what a client keeps, in memory."""

    tokens = None
    client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


async def redirect(url: str) -> None:
    say("authorize", url=url, redirect_uri=REDIRECT_URI)


async def callback() -> AuthorizationCodeResult:
    answer = parse_qs(urlsplit((await hear())["callback"]).query)
    return AuthorizationCodeResult(code=answer["code"][0], state=answer["state"][0], iss=answer.get("iss", [None])[0])


async def main() -> None:
    mode, mcp_url, page_url = sys.argv[1:]
    storage = Storage()
    provider = OAuthClientProvider(
        server_url=mcp_url,
        client_metadata=OAuthClientMetadata(
            client_name=f"driver python {mode}",
            redirect_uris=[REDIRECT_URI],
            grant_types=["authorization_code", "refresh_token"],
            response_types=["code"],
            token_endpoint_auth_method="none",
        ),
        storage=storage,
        redirect_handler=redirect,
        callback_handler=callback,
    )
    async with (
        create_mcp_http_client(auth=provider) as http,
        Client(streamable_http_client(mcp_url, http_client=http), mode=mode) as client,
    ):

        async def text() -> str:
            result = await client.call_tool("fetch", {"url": page_url})
            assert not result.is_error, result
            return "\n".join(part.text for part in result.content)

        server = client.server_info
        say("fetched", server=server and server.model_dump(), version=client.protocol_version, text=await text())

        # The access token expires: the SDK sees that by its clock and refreshes before the call.
        before = storage.tokens.refresh_token
        provider.context.token_expiry_time = time.time() - 1
        say("refreshed", text=await text(), rotated=storage.tokens.refresh_token != before)

        # The test revokes; the next call must end at the browser again.
        say("tokens", client_id=storage.client.client_id, **storage.tokens.model_dump(mode="json"))
        await hear()
        await text()
        say("fetched again")


asyncio.run(main())
