// A stdio MCP server on the npm `@modelcontextprotocol/server` 2.x that offers what the conformance suite calls in 2026-07-28.
// It stands beside `conformance-dual` of the test kit, so that no private understanding of the protocol passes by itself.
//
// Usage: node sdk-dual-server.mjs DIRECTORY, where DIRECTORY/node_modules has the SDK.

import { createRequire } from "node:module";
import path from "node:path";

import { registerBasics, text, user } from "./sdk-basics.mjs";

const require = createRequire(path.join(path.resolve(process.argv[2]), "package.json"));
const {
  McpServer,
  ResourceTemplate,
  acceptedContent,
  completable,
  createRequestStateCodec,
  inputRequired,
  inputResponse,
} = require("@modelcontextprotocol/server");
const { serveStdio } = require("@modelcontextprotocol/server/stdio");
const { z } = require("zod");

// Fixed: the retry of a call may reach another process of this server. It guards nothing but a test.
const state = createRequestStateCodec({ key: "tests/conformance: nothing secret.", bind: (context) => context.mcpReq.method });

const elicit = (message, fields) => inputRequired.elicit({ message, requestedSchema: z.object(fields) });
const sample = (prompt, maxTokens) =>
  inputRequired.createMessage({ messages: [{ role: "user", content: { type: "text", text: prompt } }], maxTokens });
const done = (answer) => ({ content: [text(answer)] });
const capabilities = (context) => context.mcpReq.envelope?.["io.modelcontextprotocol/clientCapabilities"] ?? {};

function create() {
  const server = new McpServer(
    { name: "sdk-dual-server", version: "1.0.0" },
    { capabilities: { logging: {} }, requestState: { verify: state.verify } },
  );
  registerBasics(server, {
    z,
    ResourceTemplate,
    completable,
    shape: (fields) => z.object(fields),
    notify: (context) => context.mcpReq.notify,
  });

  /** Registers a tool without arguments whose `work` returns a whole result. */
  const tool = (name, description, work) =>
    server.registerTool(name, { description, inputSchema: z.object({}) }, (_, context) => work(context));

  tool("test_missing_capability", "Samples, whatever the client declared: the SDK refuses", (context) => {
    if (inputResponse(context.mcpReq.inputResponses, "sampling").kind === "sampling") return done("The client can sample.");
    return inputRequired({ inputRequests: { sampling: sample("Is anybody there?", 10) } });
  });
  tool("test_logging_tool", "Logs whatever the client asked for", async (context) => {
    await context.mcpReq.log("info", "The diagnostic tool logs");
    return done("Logged, if the client asked for it");
  });
  tool("test_trigger_tool_change", "Says that the list of tools changed", () => {
    server.sendToolListChanged();
    return done("Sent");
  });
  tool("test_trigger_prompt_change", "Says that the list of prompts changed", () => {
    server.sendPromptListChanged();
    return done("Sent");
  });

  const askForName = (context) => {
    const answer = acceptedContent(context.mcpReq.inputResponses, "user_name", z.object({ name: z.string() }));
    if (answer) return done(`Hello, ${answer.name}!`);
    return inputRequired({ inputRequests: { user_name: elicit("What is your name?", { name: z.string() }) } });
  };
  tool("test_streaming_elicitation", "Asks the user for a name", askForName);
  tool("test_input_required_result_elicitation", "Asks the user for a name", askForName);

  tool("test_input_required_result_sampling", "Asks the model for a capital", (context) => {
    const answer = inputResponse(context.mcpReq.inputResponses, "capital_question");
    if (answer.kind === "sampling") return done(answer.result.content.text);
    return inputRequired({ inputRequests: { capital_question: sample("What is the capital of France?", 100) } });
  });
  tool("test_input_required_result_list_roots", "Asks the client for its roots", (context) => {
    const answer = inputResponse(context.mcpReq.inputResponses, "client_roots");
    if (answer.kind === "roots") return done(`${answer.roots.length} roots`);
    return inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
  });

  const confirm = async (context) => {
    const answer = acceptedContent(context.mcpReq.inputResponses, "confirm", z.object({ ok: z.boolean() }));
    if (answer && context.mcpReq.requestState() === "confirming") return done("state-ok");
    const inputRequests = { confirm: elicit("Please confirm", { ok: z.boolean() }) };
    return inputRequired({ inputRequests, requestState: await state.mint("confirming", context) });
  };
  tool("test_input_required_result_request_state", "Asks for confirmation and keeps state", confirm);
  tool("test_input_required_result_tampered_state", "Asks for confirmation and guards its state", confirm);

  tool("test_input_required_result_multiple_inputs", "Asks three things at once", async (context) => {
    const answers = ["user_name", "greeting", "client_roots"].map((key) => inputResponse(context.mcpReq.inputResponses, key));
    if (answers.every((answer) => answer.kind !== "missing")) return done("Three answers");
    const inputRequests = {
      user_name: elicit("What is your name?", { name: z.string() }),
      greeting: sample("Generate a greeting", 50),
      client_roots: inputRequired.listRoots(),
    };
    return inputRequired({ inputRequests, requestState: await state.mint("asking", context) });
  });
  tool("test_input_required_result_multi_round", "Asks two things one after the other", async (context) => {
    const known = context.mcpReq.requestState() ?? {};
    const color = acceptedContent(context.mcpReq.inputResponses, "step2", z.object({ color: z.string() }));
    if (known.name && color) return done(`${known.name} likes ${color.color}`);
    const name = acceptedContent(context.mcpReq.inputResponses, "step1", z.object({ name: z.string() }));
    const inputRequests = name
      ? { step2: elicit("Step 2: What is your favorite color?", { color: z.string() }) }
      : { step1: elicit("Step 1: What is your name?", { name: z.string() }) };
    return inputRequired({ inputRequests, requestState: await state.mint(name ?? {}, context) });
  });
  tool("test_input_required_result_capabilities", "Asks only what the client declared", (context) => {
    const inputRequests = {};
    if (capabilities(context).elicitation) inputRequests.user_name = elicit("What is your name?", { name: z.string() });
    if (capabilities(context).sampling) inputRequests.greeting = sample("Generate a greeting", 50);
    return inputRequired({ inputRequests });
  });

  server.registerPrompt("test_input_required_result_prompt", { description: "Asks the client for context" }, (context) => {
    const answer = acceptedContent(context.mcpReq.inputResponses, "user_context", z.object({ context: z.string() }));
    if (answer) return user(text(`Use this context: ${answer.context}`));
    const question = elicit("What context should the prompt use?", { context: z.string() });
    return inputRequired({ inputRequests: { user_context: question } });
  });
  return server;
}

serveStdio(create);
