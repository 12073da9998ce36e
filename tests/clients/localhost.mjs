// Not every system resolves names below localhost (RFC 6761 section 6.3 says it should). Load with `node --import`.

import dns from "node:dns";

dns.lookup = (name, options, callback) => {
  const done = callback ?? options;
  if (name === "127.0.0.1" || name === "localhost" || name.endsWith(".localhost")) {
    return options?.all ? done(null, [{ address: "127.0.0.1", family: 4 }]) : done(null, "127.0.0.1", 4);
  }
  return done(new Error(`${name} is not on this machine`));
};
