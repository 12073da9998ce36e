// A stdio MCP server on the npm `@modelcontextprotocol/sdk` 1.x that offers what the conformance suite calls up to 2025-11-25, and, by
// requests that it pushes to its client, what the suite calls in 2026-07-28.
// It stands beside `conformance-legacy` of the test kit, so that no private understanding of the protocol passes by itself.
//
// Usage: node sdk-legacy-server.mjs DIRECTORY, where DIRECTORY/node_modules has the SDK.

import { createRequire } from "node:module";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { registerBasics, text, user } from "./sdk-basics.mjs";

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

// What 2026-07-28 asks for by `inputRequests`, whose keys a bridge takes from the ids of these requests.

const client = () => server.server.getClientCapabilities() ?? {};
const ask = (message, fields) => {
  const properties = Object.fromEntries(fields.map((field) => [field, { type: field === "ok" ? "boolean" : "string" }]));
  return server.server.elicitInput({ message, requestedSchema: { type: "object", properties, required: fields } });
};
const sample = (prompt) =>
  server.server.createMessage({ messages: [{ role: "user", content: { type: "text", text: prompt } }], maxTokens: 100 });

const askForName = async () => `Hello, ${(await ask("What is your name?", ["name"])).content?.name}!`;
tool("test_missing_capability", "Samples, whatever the client declared", {}, async () => (await sample("Is anybody there?")).content.text);
tool("test_logging_tool", "Logs whatever the client asked for", {}, async () => {
  await server.sendLoggingMessage({ level: "info", data: "The diagnostic tool logs" });
  return "Logged, if the client asked for it";
});
tool("test_trigger_tool_change", "Says that the list of tools changed", {}, () => {
  server.sendToolListChanged();
  return "Sent";
});
tool("test_trigger_prompt_change", "Says that the list of prompts changed", {}, () => {
  server.sendPromptListChanged();
  return "Sent";
});
tool("test_streaming_elicitation", "Asks the user for a name", {}, askForName);
tool("test_input_required_result_elicitation", "Asks the user for a name", {}, askForName);
tool("test_input_required_result_sampling", "Asks the model for a capital", {}, async () =>
  (await sample("What is the capital of France?")).content.text,
);
tool("test_input_required_result_list_roots", "Asks the client for its roots", {}, async () =>
  `${(await server.server.listRoots()).roots.length} roots`,
);
const confirm = async () => {
  await ask("Please confirm", ["ok"]);
  return "state-ok";
};
tool("test_input_required_result_request_state", "Asks for confirmation and keeps state", {}, confirm);
tool("test_input_required_result_tampered_state", "Asks for confirmation and guards its state", {}, confirm);
tool("test_input_required_result_multiple_inputs", "Asks three things at once", {}, async () => {
  await Promise.all([ask("What is your name?", ["name"]), sample("Generate a greeting"), server.server.listRoots()]);
  return "Three answers";
});
tool("test_input_required_result_multi_round", "Asks two things one after the other", {}, async () => {
  const { name } = (await ask("Step 1: What is your name?", ["name"])).content;
  const { color } = (await ask("Step 2: What is your favorite color?", ["color"])).content;
  return `${name} likes ${color}`;
});
tool("test_input_required_result_capabilities", "Asks only what the client declared", {}, async () => {
  const answers = [];
  if (client().elicitation) answers.push(ask("What is your name?", ["name"]));
  if (client().sampling) answers.push(sample("Generate a greeting"));
  return `${(await Promise.all(answers)).length} answers`;
});
server.registerPrompt("test_input_required_result_prompt", { description: "Asks the client for context" }, async () => {
  const { content } = await ask("What context should the prompt use?", ["context"]);
  return user(text(`Use this context: ${content?.context}`));
});

server.server.setRequestHandler(SubscribeRequestSchema, () => ({}));
server.server.setRequestHandler(UnsubscribeRequestSchema, () => ({}));

/** The suite wants these keys; the SDK numbers its requests, so they get their ids on the way out and lose them on the way in. */
const KEYS = {
  "What is your name?": "user_name",
  "What is the capital of France?": "capital_question",
  "Generate a greeting": "greeting",
  "What context should the prompt use?": "user_context",
  "roots/list": "client_roots",
  "Please confirm": "confirm",
};

class KeyedTransport extends StdioServerTransport {
  numbers = new Map();

  send(message) {
    const { id, method, params } = message;
    const key = id === undefined || !method ? undefined : KEYS[params?.message ?? params?.messages?.[0]?.content?.text ?? method];
    if (key === undefined) return super.send(message);
    this.numbers.set(key, id);
    return super.send({ ...message, id: key });
  }

  set onmessage(hear) {
    this.hear = hear;
  }

  get onmessage() {
    if (!this.hear) return undefined;
    return (message, extra) => {
      const number = message.method === undefined ? this.numbers.get(message.id) : undefined;
      return this.hear(number === undefined ? message : { ...message, id: number }, extra);
    };
  }
}

await server.connect(new KeyedTransport());
