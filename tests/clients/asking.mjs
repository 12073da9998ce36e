// Drives the official TypeScript client of 2026-07-28 against a server that asks its client in the middle of a call.
//
//   node asking.mjs auto|pinned MCP_URL
//
// Says one JSON line: the negotiated revision, what was asked, and the texts of the answers.
// GATEWAY_TOOLS is the folder of scripts/tools.py, where the packages are.

import { createRequire } from "node:module";

const [kind, url] = process.argv.slice(2);
const require = createRequire(`${process.env.GATEWAY_TOOLS}/npm/package.json`);
const { Client, StreamableHTTPClientTransport } = require("@modelcontextprotocol/client");

const mode = kind === "pinned" ? { pin: "2026-07-28" } : "auto";
const client = new Client(
  { name: `asking-${kind}`, version: "1.0.0" },
  { versionNegotiation: { mode }, capabilities: { elicitation: { form: {} }, sampling: {}, roots: {} } },
);
const asked = [];
const FIELDS = { name: "Alice", color: "blue", ok: true };
client.setRequestHandler("elicitation/create", ({ params }) => {
  asked.push(params.message);
  const names = Object.keys(params.requestedSchema.properties);
  return { action: "accept", content: Object.fromEntries(names.map((name) => [name, FIELDS[name]])) };
});
client.setRequestHandler("sampling/createMessage", ({ params }) => {
  asked.push(params.messages[0].content.text);
  return { role: "assistant", content: { type: "text", text: "Paris" }, model: "test", stopReason: "endTurn" };
});
client.setRequestHandler("roots/list", () => {
  asked.push("roots");
  return { roots: [{ uri: "file:///test" }] };
});

await client.connect(new StreamableHTTPClientTransport(new URL(url)));
const text = async (name) => (await client.callTool({ name, arguments: {} })).content[0].text;
const answers = [];
for (const name of ["multi_round", "sampling", "multiple_inputs"]) answers.push(await text(`test_input_required_result_${name}`));
console.log(JSON.stringify({ version: client.getNegotiatedProtocolVersion(), asked, answers }));
process.exit(0);
