// A real provider of OpenID Connect (npm oidc-provider) for the tests. Started by testkit::openid.
//
//   node openid_provider.mjs PORT '{"client_id": …, "client_secret": …, "redirect_uri": …, "algorithm": …}'
//
// Whoever signs in is taken to be who they say. GATEWAY_TOOLS is the folder of scripts/tools.py, where the package is.

import { generateKeyPairSync } from "node:crypto";
import { pathToFileURL } from "node:url";

const [port, text] = process.argv.slice(2);
const client = JSON.parse(text);
const library = `${process.env.GATEWAY_TOOLS}/npm/node_modules/oidc-provider/lib/index.js`;
const { Provider } = await import(pathToFileURL(library));

const kinds = {
  RS256: ["rsa", { modulusLength: 2048 }],
  ES256: ["ec", { namedCurve: "P-256" }],
  EdDSA: ["ed25519", {}],
};
const keys = Object.entries(kinds).map(([alg, [kind, options]]) => ({
  ...generateKeyPairSync(kind, options).privateKey.export({ format: "jwk" }),
  use: "sig",
  alg,
  kid: `test-${alg}`,
}));

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys },
  cookies: { keys: ["of a test"] },
  pkce: { required: () => true },
  claims: {
    openid: ["sub"],
    profile: ["preferred_username"],
    email: ["email", "email_verified"],
    groups: ["groups"],
  },
  clients: [
    {
      client_id: client.client_id,
      client_secret: client.client_secret,
      redirect_uris: [client.redirect_uri],
      id_token_signed_response_alg: client.algorithm,
    },
  ],
  enabledJWA: { idTokenSigningAlgValues: Object.keys(kinds) },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      preferred_username: id,
      email: `${id}@example.com`,
      email_verified: id !== "mallory",
      groups: id === "ada" ? ["staff"] : [],
    }),
  }),
});
// What it would tell the browser of a mistake of ours.
for (const event of ["authorization.error", "grant.error", "userinfo.error", "server_error"]) {
  provider.on(event, (_, error) => console.error(`${event}: ${error.message} (${error.error_description})`));
}
provider.listen(Number(port), "127.0.0.1", () => console.log("listening"));
