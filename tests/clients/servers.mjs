// Lists, calls and closes a real MCP server through mcp-proxy with an official TypeScript client. Started by tests/it/real_servers.rs.
//
//   node servers.mjs sdk-1|client-2-auto MCP_URL TOOL ARGUMENTS
//
// Prints one JSON line: what was negotiated, listed and answered. GATEWAY_TOOLS is the folder of scripts/tools.py, where the
// packages are.

import { createRequire } from "node:module";

const [kind, mcpUrl, tool, toolArguments] = process.argv.slice(2);
const require = createRequire(`${process.env.GATEWAY_TOOLS}/npm/package.json`);

const sdk =
  kind === "sdk-1"
    ? {
        ...require("@modelcontextprotocol/sdk/client/index.js"),
        ...require("@modelcontextprotocol/sdk/client/streamableHttp.js"),
        options: {},
      }
    : { ...require("@modelcontextprotocol/client"), options: { versionNegotiation: { mode: "auto" } } };

const client = new sdk.Client({ name: "real-servers", version: "1.0.0" }, sdk.options);
const transport = new sdk.StreamableHTTPClientTransport(new URL(mcpUrl));
await client.connect(transport);
const version = client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion;
const server = client.getServerVersion();
const { tools } = await client.listTools();
const result = await client.callTool({ name: tool, arguments: JSON.parse(toolArguments) });
const session = transport.sessionId ?? null;
if (session) await transport.terminateSession();
await client.close();
console.log(
  JSON.stringify({ version, session: session !== null, server: server?.name, tools: tools.map(({ name }) => name), result }),
);
