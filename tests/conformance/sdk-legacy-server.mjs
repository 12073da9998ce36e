// A stdio MCP server on the npm `@modelcontextprotocol/sdk` 1.x that offers what the conformance suite calls up to 2025-11-25.
// It stands beside `conformance-legacy` of the test kit, so that no private understanding of the protocol passes by itself.
//
// Usage: node sdk-legacy-server.mjs DIRECTORY, where DIRECTORY/node_modules has the SDK.

import { createRequire } from "node:module";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { registerBasics, text } from "./sdk-basics.mjs";

const require = createRequire(path.join(path.resolve(process.argv[2]), "package.json"));
const { McpServer, ResourceTemplate } = require("@modelcontextprotocol/sdk/server/mcp.js");
const { StdioServerTransport } = require("@modelcontextprotocol/sdk/server/stdio.js");
const { completable } = require("@modelcontextprotocol/sdk/server/completable.js");
const { SubscribeRequestSchema, UnsubscribeRequestSchema } = require("@modelcontextprotocol/sdk/types.js");
const { z } = require("zod");

const server = new McpServer(
  { name: "sdk-legacy-server", version: "1.0.0" },
  { capabilities: { logging: {}, resources: { subscribe: true } } },
);
registerBasics(server, {
  z,
  ResourceTemplate,
  completable,
  shape: (fields) => fields,
  notify: (extra) => extra.sendNotification,
});

/** Registers a tool that answers with the text that `work` returns. */
function tool(name, description, inputSchema, work) {
  server.registerTool(name, { description, inputSchema }, async (args) => ({ content: [text(await work(args))] }));
}

tool("test_tool_with_logging", "Logs three times while it works", {}, async () => {
  for (const data of ["Tool execution started", "Tool processing data", "Tool execution completed"]) {
    await server.sendLoggingMessage({ level: "info", data });
    await sleep(50);
  }
  return "Tool with logging executed successfully";
});

tool("test_sampling", "Asks the model of the client", { prompt: z.string() }, async ({ prompt }) => {
  const message = { role: "user", content: { type: "text", text: prompt } };
  const answer = await server.server.createMessage({ messages: [message], maxTokens: 100 });
  return `LLM response: ${answer.content.text}`;
});

/** Asks the user of the client and returns the answer as a text. */
async function elicit(message, properties, required) {
  const answer = await server.server.elicitInput({ message, requestedSchema: { type: "object", properties, required } });
  return `Elicitation completed: action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`;
}

tool("test_elicitation", "Asks the user of the client", { message: z.string() }, ({ message }) =>
  elicit(message, { username: { type: "string" }, email: { type: "string" } }, ["username", "email"]),
);
tool("test_elicitation_sep1034_defaults", "Asks with a default for every primitive type", {}, () =>
  elicit("Please review the fields and their defaults", {
    name: { type: "string", default: "John Doe" },
    age: { type: "integer", default: 30 },
    score: { type: "number", default: 95.5 },
    status: { type: "string", enum: ["active", "inactive", "pending"], default: "active" },
    verified: { type: "boolean", default: true },
  }),
);
tool("test_elicitation_sep1330_enums", "Asks with every form of enumeration", {}, () => {
  const options = ["option1", "option2", "option3"];
  const titled = ["value1", "value2", "value3"].map((value) => ({ const: value, title: `Title of ${value}` }));
  return elicit("Please choose", {
    untitledSingle: { type: "string", enum: options },
    titledSingle: { type: "string", oneOf: titled },
    legacyEnum: { type: "string", enum: ["opt1", "opt2"], enumNames: ["Option One", "Option Two"] },
    untitledMulti: { type: "array", items: { type: "string", enum: options } },
    titledMulti: { type: "array", items: { anyOf: titled } },
  });
});

server.server.setRequestHandler(SubscribeRequestSchema, () => ({}));
server.server.setRequestHandler(UnsubscribeRequestSchema, () => ({}));

await server.connect(new StdioServerTransport());
