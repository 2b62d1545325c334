import assert from "node:assert/strict";
import { copyFileSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { test } from "node:test";
import { readAdminFile } from "../../src/console/index.ts";
import type { Summary } from "../../src/console/index.ts";
import type { Keepsake, Trip } from "../../src/doctor/tls/trip.ts";
import { isMishap, travel } from "../../src/doctor/tls/trip.ts";
import type { Gateway } from "../../src/gateway/index.ts";
import { ConfigError, parseConfig, up } from "../../src/gateway/index.ts";
import type { Kernel } from "../../src/kernel/index.ts";
import type { KeyFiles } from "../interop/tls-peers.ts";
import { keyFiles } from "../interop/tls-peers.ts";
import { folder, installed } from "../peers/process.ts";

/** A gateway on a store of its own, with these lines in its file. */
async function gatewayOf(
  t: TestContext,
  lines: string,
  data: string = folder(t),
  kind: "memory" | "lmdb" = "memory",
): Promise<Gateway> {
  const text = `store: { kind: ${kind} }\nlog: { level: silent }\ndata: ${data}\n${lines}\n`;
  const gateway = await up(parseConfig(text, "holdfast.yaml", {}));
  t.after(() => gateway.close());
  return gateway;
}

type Version = "TLSv1.2" | "TLSv1.3";
const BOTH: readonly Version[] = ["TLSv1.2", "TLSv1.3"];

/** One connection. Servers here close when their peer does, so the long wait is for slow machines only. */
async function visit(address: string, version: Version, session?: Keepsake): Promise<Trip> {
  const { hostname, port } = new URL(address);
  const target = { host: hostname, port: Number(port), servername: "localhost", waitMs: 60_000 };
  const trip = await travel(target, { version, ...(session !== undefined && { session }) });
  assert.ok(!isMishap(trip), JSON.stringify(trip));
  return trip;
}

async function sessionFrom(address: string, version: Version): Promise<Keepsake> {
  const session = (await visit(address, version)).kept.at(-1);
  assert.ok(session, `${version}: nothing to resume with was given`);
  return session;
}

/** A session that a store on a disk has taken in. The connection it came by waits for an answer, so that its ticket is sent. */
async function lastingSession({ adminOrigin, kernel }: Gateway, version: Version): Promise<Keepsake> {
  const { hostname, port } = new URL(adminOrigin);
  const target = { host: hostname, port: Number(port), servername: "localhost", waitMs: 60_000, http: true };
  const before = await countOf(kernel);
  const trip = await travel(target, { version });
  assert.ok(!isMishap(trip), JSON.stringify(trip));
  for (const until = Date.now() + 30_000; (await countOf(kernel)) <= before;) {
    assert.ok(Date.now() < until, "the session was not written");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const session = trip.kept.at(-1);
  assert.ok(session, `${version}: nothing to resume with was given`);
  return session;
}

async function countOf(kernel: Kernel): Promise<number> {
  let count = 0;
  for await (const _ of kernel.sessions({ mechanism: "tls" })) count++;
  return count;
}

const portsOf = ({ cert, key }: KeyFiles): string =>
  `admin: { port: 0, tls: { cert: ${cert}, key: ${key} } }
listeners:
  - { mechanism: web, port: 0, tls: { cert: ${cert}, key: ${key} } }`;

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

for (const mode of ["ticket", "cache"]) {
  test(`a replaced certificate costs no full handshake, on the admin port and a listener: ${mode}`, async (t) => {
    if (!installed(t, "openssl")) return;
    const [files, renewed] = [keyFiles(t), keyFiles(t)];
    const gateway = await gatewayOf(t, `tls-sessions: { mode: ${mode} }\n${portsOf(files)}`);
    for (const address of [gateway.adminOrigin, gateway.listeners[0]?.address ?? ""]) {
      const before = await visit(address, "TLSv1.3");
      const held = await Promise.all(BOTH.map((version) => sessionFrom(address, version)));
      copyFileSync(files.cert, `${files.cert}.old`);
      copyFileSync(files.key, `${files.key}.old`);
      copyFileSync(renewed.cert, files.cert);
      copyFileSync(renewed.key, files.key);
      gateway.reload();
      for (const [i, version] of BOTH.entries())
        assert.equal((await visit(address, version, held[i])).resumed, true, `${version} at ${address}`);
      const after = await visit(address, "TLSv1.3");
      assert.notEqual(after.certificate?.fingerprint256, before.certificate?.fingerprint256);
      copyFileSync(`${files.cert}.old`, files.cert);
      copyFileSync(`${files.key}.old`, files.key);
      gateway.reload();
    }
  });
}

const KEEPING = [
  "mode: ticket",
  "mode: cache",
  "mode: ticket, keys: random",
  "mode: both, keys: ratchet, single-use: true",
];

for (const how of KEEPING) {
  test(`sessions resume after a restart on the same folder, whose secret is its user's alone: ${how}`, async (t) => {
    if (!installed(t, "openssl")) return;
    const [files, data] = [keyFiles(t), folder(t)];
    const lines = `tls-sessions: { ${how} }\n${portsOf(files)}`;
    const first = await gatewayOf(t, lines, data, "lmdb");
    const held = [await lastingSession(first, "TLSv1.2"), await lastingSession(first, "TLSv1.3")];
    await first.close();
    assert.equal(statSync(join(data, "tls-secret")).mode & 0o777, 0o600);
    const second = await gatewayOf(t, lines, data, "lmdb");
    for (const [i, version] of BOTH.entries())
      assert.equal((await visit(second.adminOrigin, version, held[i])).resumed, true, version);
  });
}

test("gateways with one secret take each other's sessions, with another they do not, and ports keep apart", async (t) => {
  if (!installed(t, "openssl")) return;
  const files = keyFiles(t);
  const secret = "shared by all of the gateways in this test";
  const written = join(files.folder, "secret");
  writeFileSync(written, `${secret}\n`);
  const one = await gatewayOf(t, `tls-sessions: { secret: "${secret}" }\n${portsOf(files)}`);
  const two = await gatewayOf(t, `tls-sessions: { secret-file: ${written} }\n${portsOf(files)}`);
  const other = await gatewayOf(
    t,
    `tls-sessions: { secret: "known to this one gateway and to no other" }\n${portsOf(files)}`,
  );
  const off = await gatewayOf(t, `tls-sessions: { mode: off }\n${portsOf(files)}`);
  for (const version of BOTH) {
    const resumes = async (from: string, to: string): Promise<boolean> =>
      (await visit(to, version, await sessionFrom(from, version))).resumed;
    assert.equal(await resumes(one.adminOrigin, two.adminOrigin), true, version);
    assert.equal(
      await resumes(one.listeners[0]?.address ?? "", two.listeners[0]?.address ?? ""),
      true,
      version,
    );
    assert.equal(await resumes(one.adminOrigin, one.listeners[0]?.address ?? ""), false, version);
    assert.equal(await resumes(one.adminOrigin, other.adminOrigin), false, version);
    assert.equal(
      (await visit(off.adminOrigin, version, await sessionFrom(one.adminOrigin, version))).resumed,
      false,
    );
  }
  await assert.rejects(
    gatewayOf(t, `tls-sessions: { secret-file: ${files.cert}.none }\n${portsOf(files)}`),
    /TLS secret .*\.none cannot be read/,
  );
  writeFileSync(written, "too short\n");
  await assert.rejects(
    gatewayOf(t, `tls-sessions: { secret-file: ${written} }\n${portsOf(files)}`),
    /has 9 characters; it needs 32/,
  );
});

test("a new secret in its file is taken on reload, and what was made with the old one stays good", async (t) => {
  if (!installed(t, "openssl")) return;
  const files = keyFiles(t);
  const [changing, young] = [join(files.folder, "changing"), join(files.folder, "young")];
  writeFileSync(changing, "the secret that all of them had at first\n");
  writeFileSync(young, "the secret that all of them are to have\n");
  const one = await gatewayOf(t, `tls-sessions: { secret-file: ${changing} }\n${portsOf(files)}`);
  const two = await gatewayOf(t, `tls-sessions: { secret-file: ${young} }\n${portsOf(files)}`);
  const from = (gateway: Gateway): Promise<Keepsake[]> =>
    Promise.all(BOTH.map((version) => sessionFrom(gateway.adminOrigin, version)));
  const resumed = (held: readonly Keepsake[]): Promise<boolean[]> =>
    Promise.all(BOTH.map(async (version, i) => (await visit(one.adminOrigin, version, held[i])).resumed));
  const before = await from(one);
  assert.deepEqual(await resumed(await from(two)), [false, false]);
  writeFileSync(changing, "too short to be one\n");
  one.reload();
  assert.deepEqual(await resumed(before), [true, true]);
  copyFileSync(young, changing);
  one.reload();
  assert.deepEqual(await resumed(before), [true, true]);
  assert.deepEqual(await resumed(await from(two)), [true, true]);
});

test("the health screen's figures and the metrics say how many resumed, and why others were refused", async (t) => {
  if (!installed(t, "openssl")) return;
  const [files, data] = [keyFiles(t), folder(t)];
  const gateway = await gatewayOf(t, portsOf(files), data);
  const stranger = await gatewayOf(t, portsOf(files));
  const { listeners, adminOrigin } = gateway;
  const web = listeners[0]?.address ?? "";
  const good = await sessionFrom(web, "TLSv1.3");
  assert.equal((await visit(web, "TLSv1.3", good)).resumed, true);
  const foreign = await sessionFrom(stranger.listeners[0]?.address ?? "", "TLSv1.3");
  assert.equal((await visit(web, "TLSv1.3", foreign)).resumed, false);
  const token = readAdminFile(data)?.token ?? "";
  const { tls } = JSON.parse(await bodyOf(`${adminOrigin}/api/summary`, token)) as Summary;
  // The two requests for the figures come over the admin port, and are counted as well.
  assert.equal(tls?.resumed, 1);
  assert.equal(tls?.offered, 2);
  assert.deepEqual(tls?.refusals, { "unknown-key": 1 });
  const metrics = await bodyOf(`${adminOrigin}/metrics`);
  assert.match(
    metrics,
    /^holdfast_tls_handshakes\{port="listener web",version="TLSv1\.3",outcome="resumed"\} 1$/m,
  );
  assert.match(
    metrics,
    /^holdfast_tls_handshakes\{port="listener web",version="TLSv1\.3",outcome="full"\} 2$/m,
  );
  assert.match(metrics, /^holdfast_tls_full\{port="listener web",reason="unknown-key"\} 1$/m);
  assert.match(metrics, /^holdfast_tls_tickets\{port="listener web",kind="issued"\} [1-9]/m);
  assert.match(metrics, /^holdfast_tls_epochs\{port="listener web",epoch="current"\} 1$/m);
});

test("without a port over TLS there are no figures of it", async (t) => {
  const data = folder(t);
  const gateway = await gatewayOf(t, "admin: { port: 0 }", data);
  const authorization = `Bearer ${readAdminFile(data)?.token ?? ""}`;
  const response = await fetch(`${gateway.adminOrigin}/api/summary`, { headers: { authorization } });
  assert.equal(((await response.json()) as Summary).tls, undefined);
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

function bodyOf(url: string, token?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const asked = request(url, { rejectUnauthorized: false, agent: false, headers }, (response) => {
      let body = "";
      response.on("data", (chunk: Buffer) => (body += String(chunk)));
      response.on("end", () => resolve(body));
    });
    asked.on("error", reject);
    asked.end();
  });
}

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
