// What servers on either npm SDK offer to the conformance suite without asking their client for anything.

import { setTimeout as sleep } from "node:timers/promises";

const PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
const SILENCE = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

export const text = (text) => ({ type: "text", text });
const image = () => ({ type: "image", data: PIXEL, mimeType: "image/png" });
const resource = (uri, mimeType, text) => ({ type: "resource", resource: { uri, mimeType, text } });

/** Wraps contents in messages of the user, as a prompt returns them. */
export const user = (...contents) => ({ messages: contents.map((content) => ({ role: "user", content })) });

/**
 * Registers tools, prompts and resources. Where the SDKs differ: `shape(fields)` makes the schema of a prompt's arguments,
 * `notify(context)` gives the function that sends a notification during a call.
 */
export function registerBasics(server, { z, ResourceTemplate, completable, shape, notify }) {
  const nothing = z.object({});
  const tool = (name, description, work) =>
    server.registerTool(name, { description, inputSchema: nothing }, async (args, context) => ({ content: await work(context) }));

  tool("test_simple_text", "Returns a text", () => [text("This is a simple text response for testing.")]);
  tool("test_image_content", "Returns a picture", () => [image()]);
  tool("test_audio_content", "Returns a sound", () => [{ type: "audio", data: SILENCE, mimeType: "audio/wav" }]);
  tool("test_embedded_resource", "Returns an embedded resource", () => [
    resource("test://embedded-resource", "text/plain", "This is an embedded resource content."),
  ]);
  tool("test_multiple_content_types", "Returns text, picture and resource", () => [
    text("Multiple content types test:"),
    image(),
    resource("test://mixed-content-resource", "application/json", JSON.stringify({ test: "data", value: 123 })),
  ]);
  tool("test_error_handling", "Always fails", () => {
    throw new Error("This tool intentionally returns an error for testing");
  });
  tool("test_tool_with_progress", "Reports progress three times while it works", async (context) => {
    const progressToken = (context.mcpReq ?? context)._meta?.progressToken;
    for (const progress of [0, 50, 100]) {
      if (progressToken !== undefined) {
        await notify(context)({ method: "notifications/progress", params: { progressToken, progress, total: 100 } });
      }
      await sleep(50);
    }
    return [text("Tool with progress executed successfully")];
  });

  const argument = completable(z.string(), (typed) => ["testValue1", "testValue2"].filter((value) => value.startsWith(typed)));
  server.registerPrompt("test_simple_prompt", { description: "Without arguments" }, () =>
    user(text("This is a simple prompt for testing.")),
  );
  server.registerPrompt(
    "test_prompt_with_arguments",
    { description: "Repeats its arguments", argsSchema: shape({ arg1: argument, arg2: z.string() }) },
    ({ arg1, arg2 }) => user(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)),
  );
  server.registerPrompt(
    "test_prompt_with_embedded_resource",
    { description: "Embeds a resource", argsSchema: shape({ resourceUri: z.string() }) },
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
}
