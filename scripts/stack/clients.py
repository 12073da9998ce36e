#!/usr/bin/env python3
"""Prints the line (or the file) with which each MCP client gets a service.

    clients.py [NAME]      one service, or all that are enabled
"""

from __future__ import annotations

import json
import urllib.parse

from compose import StackError, enabled, start, url


def lines(name: str) -> str:
    short, address = name[4:], f"{url(name)}/mcp"
    code = json.dumps({"name": short, "type": "http", "url": address})
    cursor = json.dumps({"mcpServers": {short: {"url": address}}})
    return f"""{name}: {address}

  Claude Code      claude mcp add --transport http {short} {address}; claude mcp login {short}
  claude.ai        Settings, Connectors, Add custom connector: {address}
  ChatGPT          Settings, Apps and connectors, Advanced, Developer mode, Create: {address} with OAuth
  VS Code          code --add-mcp '{code}'
  Cursor           in ~/.cursor/mcp.json: {cursor}
  Codex            codex mcp add {short} --url {address}
  Gemini CLI       gemini mcp add --transport http {short} {address}   (then in it: /mcp auth {short})
  MCP Inspector    npx @modelcontextprotocol/inspector --transport http --server-url {urllib.parse.quote(address, safe=':/')}
  A script         just token {short}
"""


def main(arguments: list[str]) -> None:
    names = [name if name.startswith("mcp-") else f"mcp-{name}" for name in arguments] or enabled()
    for name in names:
        if name not in enabled():
            raise StackError(f"{name} is not enabled; there are {', '.join(enabled()) or 'none'}")
    print("\n".join(map(lines, names)))
    if url("auth").startswith("http://"):
        print("http://….localhost is for clients on this machine; claude.ai and ChatGPT need a public domain.")


if __name__ == "__main__":
    start(main)
