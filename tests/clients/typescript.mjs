// Drives the official TypeScript clients through their own OAuth code. Started by testkit::sdk.
//
//   node typescript.mjs sdk-1|client-2|client-2-auto MCP_URL PAGE_URL
//
// Speaks JSON lines: says {"event": …} on stdout and is told on stdin. The person and the browser are the test's.
// GATEWAY_TOOLS is the folder of scripts/tools.py, where the packages are.

import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import readline from "node:readline";
import "./localhost.mjs";

const [kind, mcpUrl, pageUrl] = process.argv.slice(2);
const require = createRequire(`${process.env.GATEWAY_TOOLS}/npm/package.json`);

const kinds = {
  "sdk-1": () => ({
    ...require("@modelcontextprotocol/sdk/client/index.js"),
    ...require("@modelcontextprotocol/sdk/client/streamableHttp.js"),
    options: {},
    finish: (transport, answer) => transport.finishAuth(answer.get("code")),
  }),
  "client-2": () => ({
    ...require("@modelcontextprotocol/client"),
    options: {},
    finish: (transport, answer) => transport.finishAuth(answer),
  }),
  "client-2-auto": () => ({
    ...require("@modelcontextprotocol/client"),
    options: { versionNegotiation: { mode: "auto" } },
    finish: (transport, answer) => transport.finishAuth(answer),
  }),
};
const sdk = kinds[kind]();

const input = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (event, more = {}) => process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);
const hear = async () => {
  const { done, value } = await input.next();
  if (done) process.exit(0);
  return JSON.parse(value);
};

/** Keeps what a client keeps, in memory. */
class Provider {
  redirectUrl = "http://127.0.0.1:33418/callback";
  clientMetadata = {
    client_name: `driver ${kind}`,
    redirect_uris: [this.redirectUrl],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  };
  waiting = false;

  state() {
    this.expectedState = randomBytes(16).toString("hex");
    return this.expectedState;
  }
  clientInformation() {
    return this.client;
  }
  saveClientInformation(client) {
    this.client = client;
  }
  tokens() {
    return this.stored;
  }
  saveTokens(tokens) {
    this.stored = tokens;
  }
  redirectToAuthorization(url) {
    this.waiting = true;
    say("authorize", { url: url.href, redirect_uri: this.redirectUrl });
  }
  saveCodeVerifier(verifier) {
    this.verifier = verifier;
  }
  codeVerifier() {
    return this.verifier;
  }
  invalidateCredentials(scope) {
    if (scope === "all" || scope === "tokens") this.stored = undefined;
    if (scope === "all" || scope === "client") this.client = undefined;
  }
}

const provider = new Provider();

/** Runs `action`; when the SDK sends the person to the browser, waits for the way back and tries again. */
async function signedIn(action, transport) {
  for (;;) {
    const current = transport();
    try {
      return await action(current);
    } catch (error) {
      if (!provider.waiting) throw error;
      provider.waiting = false;
      const answer = new URL((await hear()).callback).searchParams;
      if (answer.get("state") !== provider.expectedState) throw new Error("state does not match");
      await sdk.finish(current, answer);
    }
  }
}

const text = async (client) => {
  const result = await client.callTool({ name: "fetch", arguments: { url: pageUrl } });
  if (result.isError) throw new Error(JSON.stringify(result));
  return result.content.map((part) => part.text).join("\n");
};

let client;
const transport = await signedIn(
  async (transport) => {
    client = new sdk.Client({ name: `driver-${kind}`, version: "1.0.0" }, sdk.options);
    await client.connect(transport);
    return transport;
  },
  () => new sdk.StreamableHTTPClientTransport(new URL(mcpUrl), { authProvider: provider }),
);
say("fetched", {
  server: client.getServerVersion(),
  version: client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion,
  text: await text(client),
});

// The access token expires: the server refuses it, the SDK refreshes by itself.
const before = provider.stored;
provider.stored = { ...before, access_token: "expired" };
say("refreshed", { text: await text(client), rotated: provider.stored.refresh_token !== before.refresh_token });

// The test revokes; the next call must end at the browser again.
say("tokens", { ...provider.stored, client_id: provider.client.client_id });
await hear();
await signedIn(
  () => text(client),
  () => transport,
);
say("fetched again");
process.exit(0);
