// A stdio MCP server on the npm `@modelcontextprotocol/sdk` 1.x that offers what the conformance suite calls up to 2025-11-25.
// It stands beside `conformance-legacy` of the test kit, so that no private understanding of the protocol passes by itself.
//
// Usage: node sdk-legacy-server.mjs DIRECTORY, where DIRECTORY/node_modules has the SDK.

import { createRequire } from "node:module";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const require = createRequire(path.join(path.resolve(process.argv[2]), "package.json"));
const { McpServer, ResourceTemplate } = require("@modelcontextprotocol/sdk/server/mcp.js");
const { StdioServerTransport } = require("@modelcontextprotocol/sdk/server/stdio.js");
const { completable } = require("@modelcontextprotocol/sdk/server/completable.js");
const { SubscribeRequestSchema, UnsubscribeRequestSchema } = require("@modelcontextprotocol/sdk/types.js");
const { z } = require("zod");

const PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
const SILENCE = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

const server = new McpServer(
  { name: "sdk-legacy-server", version: "1.0.0" },
  { capabilities: { logging: {}, resources: { subscribe: true } } },
);

const text = (text) => ({ type: "text", text });
const image = () => ({ type: "image", data: PIXEL, mimeType: "image/png" });
const resource = (uri, mimeType, text) => ({ type: "resource", resource: { uri, mimeType, text } });

/** Registers a tool that takes `inputSchema` (zod) and answers with the content that `work` returns. */
function tool(name, description, inputSchema, work) {
  server.registerTool(name, { description, inputSchema }, async (args, extra) => ({ content: await work(args, extra) }));
}

tool("test_simple_text", "Returns a text", {}, () => [text("This is a simple text response for testing.")]);
tool("test_image_content", "Returns a picture", {}, () => [image()]);
tool("test_audio_content", "Returns a sound", {}, () => [{ type: "audio", data: SILENCE, mimeType: "audio/wav" }]);
tool("test_embedded_resource", "Returns an embedded resource", {}, () => [
  resource("test://embedded-resource", "text/plain", "This is an embedded resource content."),
]);
tool("test_multiple_content_types", "Returns text, picture and resource", {}, () => [
  text("Multiple content types test:"),
  image(),
  resource("test://mixed-content-resource", "application/json", JSON.stringify({ test: "data", value: 123 })),
]);
tool("test_error_handling", "Always fails", {}, () => {
  throw new Error("This tool intentionally returns an error for testing");
});

tool("test_tool_with_logging", "Logs three times while it works", {}, async (_, extra) => {
  for (const data of ["Tool execution started", "Tool processing data", "Tool execution completed"]) {
    await server.sendLoggingMessage({ level: "info", data }, extra.sessionId);
    await sleep(50);
  }
  return [text("Tool with logging executed successfully")];
});

tool("test_tool_with_progress", "Reports progress three times while it works", {}, async (_, extra) => {
  const progressToken = extra._meta?.progressToken;
  for (const progress of [0, 50, 100]) {
    if (progressToken !== undefined) {
      await extra.sendNotification({ method: "notifications/progress", params: { progressToken, progress, total: 100 } });
    }
    await sleep(50);
  }
  return [text("Tool with progress executed successfully")];
});

tool("test_sampling", "Asks the model of the client", { prompt: z.string() }, async ({ prompt }) => {
  const message = { role: "user", content: { type: "text", text: prompt } };
  const answer = await server.server.createMessage({ messages: [message], maxTokens: 100 });
  return [text(`LLM response: ${answer.content.text}`)];
});

/** Asks the user of the client and returns the answer as a text. */
async function elicit(message, properties, required) {
  const answer = await server.server.elicitInput({ message, requestedSchema: { type: "object", properties, required } });
  return [text(`Elicitation completed: action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`)];
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

const user = (...contents) => ({ messages: contents.map((content) => ({ role: "user", content })) });
const argument = completable(z.string(), (typed) => ["testValue1", "testValue2"].filter((value) => value.startsWith(typed)));
server.registerPrompt("test_simple_prompt", { description: "Without arguments" }, () =>
  user(text("This is a simple prompt for testing.")),
);
server.registerPrompt(
  "test_prompt_with_arguments",
  { description: "Repeats its arguments", argsSchema: { arg1: argument, arg2: z.string() } },
  ({ arg1, arg2 }) => user(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)),
);
server.registerPrompt(
  "test_prompt_with_embedded_resource",
  { description: "Embeds a resource", argsSchema: { resourceUri: z.string() } },
  ({ resourceUri }) =>
    user(resource(resourceUri, "text/plain", "Embedded resource content for testing."), text("Please process it.")),
);
server.registerPrompt("test_prompt_with_image", { description: "With a picture" }, () => user(image(), text("Please analyze it.")));

const contents = (uri, content) => ({ contents: [{ uri: uri.href, ...content }] });
server.registerResource("static-text", "test://static-text", { description: "A text", mimeType: "text/plain" }, (uri) =>
  contents(uri, { mimeType: "text/plain", text: "This is the content of the static text resource." }),
);
server.registerResource("static-binary", "test://static-binary", { description: "A picture", mimeType: "image/png" }, (uri) =>
  contents(uri, { mimeType: "image/png", blob: PIXEL }),
);
server.registerResource("watched", "test://watched-resource", { description: "May be watched" }, (uri) =>
  contents(uri, { mimeType: "text/plain", text: "Watched resource content" }),
);
server.registerResource(
  "template",
  new ResourceTemplate("test://template/{id}/data", { list: undefined }),
  { description: "Data by id", mimeType: "application/json" },
  (uri, { id }) => contents(uri, { mimeType: "application/json", text: JSON.stringify({ id, data: `Data for ID: ${id}` }) }),
);
server.server.setRequestHandler(SubscribeRequestSchema, () => ({}));
server.server.setRequestHandler(UnsubscribeRequestSchema, () => ({}));

await server.connect(new StdioServerTransport());
