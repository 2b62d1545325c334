import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { request } from "node:https";
import type { TestContext } from "node:test";
import { test } from "node:test";
import type { Gateway } from "../../src/gateway/index.ts";
import { ConfigError, parseConfig, up } from "../../src/gateway/index.ts";
import type { KeyFiles } from "../interop/tls-peers.ts";
import { keyFiles } from "../interop/tls-peers.ts";
import { folder, installed } from "../peers/process.ts";

/** A gateway on a store of its own, with these lines in its file. */
async function gatewayOf(t: TestContext, lines: string): Promise<Gateway> {
  const text = `store: { kind: memory }\nlog: { level: silent }\ndata: ${folder(t)}\n${lines}\n`;
  const gateway = await up(parseConfig(text, "holdfast.yaml", {}));
  t.after(() => gateway.close());
  return gateway;
}

/** The status of an answer over TLS, or why there was none. */
function statusOf(url: string, identity?: KeyFiles): Promise<number | string> {
  const own =
    identity === undefined ? {} : { cert: readFileSync(identity.cert), key: readFileSync(identity.key) };
  return new Promise((resolve) => {
    const asked = request(url, { rejectUnauthorized: false, agent: false, ...own }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    asked.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    asked.end();
  });
}

test("a web listener serves over TLS, and with authorities for clients only those they vouch for", async (t) => {
  if (!installed(t, "openssl")) return;
  const [own, client, stranger] = [keyFiles(t), keyFiles(t), keyFiles(t)];
  const tls = `cert: ${own.cert}, key: ${own.key}`;
  const gateway = await gatewayOf(
    t,
    `admin: { port: 0 }
listeners:
  - { mechanism: web, name: open, port: 0, tls: { ${tls} } }
  - { mechanism: web, name: closed, port: 0, tls: { ${tls}, client-ca: ${client.cert} } }`,
  );
  const [open, closed] = gateway.listeners.map(({ address }) => `${address}/verify`);
  assert.match(open ?? "", /^https:\/\/127\.0\.0\.1:/);
  assert.equal(await statusOf(open ?? ""), 401);
  assert.equal(await statusOf(closed ?? "", client), 401);
  assert.match(String(await statusOf(closed ?? "", stranger)), /^[A-Z]/);
  assert.match(String(await statusOf(closed ?? "")), /^[A-Z]/);
});

test("files that cannot be used keep a listener from starting, and are named", async (t) => {
  if (!installed(t, "openssl")) return;
  const [one, other] = [keyFiles(t), keyFiles(t)];
  const listener = (tls: string): string =>
    `admin: { port: 0 }\nlisteners:\n  - { mechanism: web, port: 0, tls: { ${tls} } }`;
  await assert.rejects(
    gatewayOf(t, listener(`cert: ${one.cert}, key: ${other.key}`)),
    /cannot be used: .*mismatch/i,
  );
  await assert.rejects(
    gatewayOf(t, listener(`cert: ${one.cert}, key: /nowhere/key.pem`)),
    /\/nowhere\/key\.pem/,
  );
});

const WRONG: readonly (readonly [what: string, lines: string, says: RegExp])[] = [
  ["a typo", "tls-sessions:\n  mod: ticket\n", /^h\.yaml:2:3: tls-sessions\.mod .*did you mean "mode"\?$/],
  [
    "a mode there is not",
    "tls-sessions:\n  mode: tickets\n",
    /^h\.yaml:2:9: .*must be one of ticket, cache.*did you mean "ticket"/,
  ],
  [
    "a short secret, without showing it",
    "tls-sessions:\n  secret: hunter2\n",
    /^h\.yaml:2:11: tls-sessions\.secret must be a secret of at least 32 characters, such as "openssl rand -base64 32" prints$/,
  ],
  [
    "a secret given twice, without showing it",
    `tls-sessions:\n  secret: ${"s3cret".repeat(6)}\n  secret-file: x\n`,
    /^h\.yaml:2:3: tls-sessions must be given either "secret" or "secret-file"$/,
  ],
  [
    "an epoch that is no span",
    "tls-sessions:\n  epoch: daily\n",
    /^h\.yaml:2:10: tls-sessions\.epoch must be a span/,
  ],
  [
    "a certificate without its key",
    "listeners:\n  - mechanism: web\n    tls: { cert: a }\n",
    /^h\.yaml:3:10: listeners\.0\.tls lacks "key"$/,
  ],
  [
    "a secret from an environment that has none",
    "tls-sessions:\n  secret: ${TLS_SECRET}\n",
    /^h\.yaml:2:11: the environment variable TLS_SECRET is not set$/,
  ],
];

for (const [what, lines, says] of WRONG) {
  test(`${what}: told with its line and column`, () => {
    assert.throws(
      () => parseConfig(lines, "h.yaml", {}),
      (error) => error instanceof ConfigError && error.mistakes.length === 1 && says.test(error.message),
      String(mistakesOf(lines)),
    );
  });
}

function mistakesOf(lines: string): readonly string[] {
  try {
    parseConfig(lines, "h.yaml", {});
    return [];
  } catch (error) {
    return error instanceof ConfigError ? error.mistakes : [String(error)];
  }
}
