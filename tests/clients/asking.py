"""Drives the official Python client, in its default mode, against a server that asks its client in the middle of a call.

    asking.py MCP_URL

Says one JSON line: the negotiated revision, what was asked, and the texts of the answers.
"""

from __future__ import annotations

import asyncio
import json
import sys

from mcp import Client
from mcp.types import CreateMessageResult, ElicitResult, ListRootsResult, Root, TextContent

FIELDS = {"name": "Alice", "color": "blue", "ok": True}
asked: list[str] = []


async def elicit(context, params) -> ElicitResult:
    asked.append(params.message)
    names = params.requested_schema["properties"]
    return ElicitResult(action="accept", content={name: FIELDS[name] for name in names})


async def sample(context, params) -> CreateMessageResult:
    asked.append(params.messages[0].content.text)
    return CreateMessageResult(role="assistant", content=TextContent(type="text", text="Paris"), model="test")


async def roots(context) -> ListRootsResult:
    asked.append("roots")
    return ListRootsResult(roots=[Root(uri="file:///test")])


async def main() -> None:
    callbacks = {"elicitation_callback": elicit, "sampling_callback": sample, "list_roots_callback": roots}
    async with Client(sys.argv[1], **callbacks) as client:
        answers = []
        for name in ["multi_round", "sampling", "multiple_inputs"]:
            result = await client.call_tool(f"test_input_required_result_{name}", {})
            answers.append(result.content[0].text)
        print(json.dumps({"version": client.protocol_version, "asked": asked, "answers": answers}), flush=True)


asyncio.run(main())
