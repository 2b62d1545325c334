import assert from "node:assert/strict";
import { constants, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { TestContext } from "node:test";
import { test } from "node:test";
import { createServer as createTlsServer } from "node:tls";
import { commands } from "../../src/cli/commands/index.ts";
import { run } from "../../src/cli/run.ts";
import type { TlsInspection, Way } from "../../src/doctor/tls/index.ts";
import { createKernel } from "../../src/kernel/index.ts";
import { tlsSessions } from "../../src/mechanisms/tls/index.ts";
import { memory } from "../../src/store/memory/index.ts";
import { installed } from "../peers/process.ts";
import { haproxy, haproxyTcp, keyFiles, listening, nginx, nodeServer, opensslServer } from "./tls-peers.ts";

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

async function holdfast(...args: string[]): Promise<Outcome> {
  return onTerminal(false, ...args);
}

async function onTerminal(isTerminal: boolean, ...args: string[]): Promise<Outcome> {
  let [out, error] = ["", ""];
  const code = await run(commands, args, "1.2.3", {
    isTerminal,
    columns: 200,
    env: {},
    signal: new AbortController().signal,
    out: (text) => void (out += text),
    error: (text) => void (error += text),
  });
  return { code, out, error };
}

/** The answer in JSON. A long wait: every server here closes, however slow the machine is. */
async function inspected(
  port: number,
  ...more: string[]
): Promise<TlsInspection & { readonly exit: number }> {
  const { code, out, error } = await holdfast(
    "tls",
    "inspect",
    `localhost:${port}`,
    "--json",
    "--wait",
    "30s",
    ...more,
  );
  assert.equal(error, "");
  return { ...(JSON.parse(out) as TlsInspection), exit: code };
}

function wayOf({ ways }: TlsInspection, version: Way["version"], by: Way["by"]): Way {
  const found = ways.find((way) => way.version === version && way.by === by);
  assert.ok(found, `nothing is said of ${version} by ${by}`);
  return found;
}

function codesOf({ findings }: TlsInspection, weight: "good" | "note" | "bad"): string[] {
  return findings
    .filter((one) => one.weight === weight)
    .map((one) => `${one.code}: ${one.text.split(":")[0]}`);
}

function ready(t: TestContext, ...peers: string[]): boolean {
  return ["openssl", ...peers].every((peer) => installed(t, peer));
}

test("openssl s_server resumes in every way, and renews", async (t) => {
  if (!ready(t)) return;
  const port = await opensslServer(t, keyFiles(t));
  const seen = await inspected(port, "-n", "4");
  assert.equal(seen.exit, 0);
  assert.deepEqual(codesOf(seen, "bad"), []);
  assert.deepEqual(codesOf(seen, "good"), [
    "resumes: TLS 1.2 by session ID",
    "resumes: TLS 1.2 by ticket",
    "resumes: TLS 1.3",
  ]);
  const ticket = wayOf(seen, "TLSv1.3", "ticket");
  assert.deepEqual(ticket.perConnection, { min: 2, max: 2 });
  assert.deepEqual(ticket.lifetimeSeconds, { min: 7200, max: 7200 });
  assert.deepEqual([ticket.beginning, ticket.keyNames?.length, ticket.browsing.renewed], ["name", 1, 3]);
  // One process, one key, whatever the version.
  assert.equal(ticket.keyNames?.[0]?.name, wayOf(seen, "TLSv1.2", "ticket").keyNames?.[0]?.name);
  assert.equal(wayOf(seen, "TLSv1.2", "id").browsing.resumed, 3);
  assert.deepEqual(Object.keys(seen.failures), []);
});

test("a server that keeps TLS 1.3 sessions itself is known by its short tickets", async (t) => {
  if (!ready(t)) return;
  const seen = await inspected(await opensslServer(t, keyFiles(t), ["-no_ticket"]), "-n", "3");
  const way = wayOf(seen, "TLSv1.3", "ticket");
  assert.deepEqual([way.beginning, way.sizeBytes], ["reference", { min: 32, max: 32 }]);
  assert.ok(codesOf(seen, "note").includes("stateful: TLS 1.3"));
  assert.equal(wayOf(seen, "TLSv1.2", "ticket").issued, 0);
});

test("versions are told apart: one server takes old ones, another only the newest", async (t) => {
  if (!ready(t)) return;
  const files = keyFiles(t);
  const old = await inspected(
    await nodeServer(t, files, { minVersion: "TLSv1", maxVersion: "TLSv1.2", ciphers: "ALL@SECLEVEL=0" }),
    "-n",
    "2",
  );
  assert.deepEqual(
    old.versions.map(({ offered }) => offered),
    [true, true, true, false],
  );
  assert.equal(old.ways.length, 2);
  assert.deepEqual(codesOf(old, "note").slice(0, 3), [
    "old-version: TLS 1.0 is offered, which RFC 8996 has put out of use.",
    "old-version: TLS 1.1 is offered, which RFC 8996 has put out of use.",
    "version-missing: TLS 1.3 is not offered.",
  ]);
  const young = await inspected(await nodeServer(t, files, { minVersion: "TLSv1.3" }), "-n", "2");
  assert.deepEqual(
    young.versions.map(({ offered }) => offered),
    [false, false, false, true],
  );
  assert.match(young.versions[2]?.code ?? "", /PROTOCOL/);
});

test("a Node server as it is renews no ticket of TLS 1.3, and keeps no session IDs", async (t) => {
  if (!ready(t)) return;
  const seen = await inspected(await nodeServer(t, keyFiles(t)), "-n", "7");
  assert.equal(seen.exit, 6);
  assert.deepEqual(codesOf(seen, "bad"), ["no-renewal: TLS 1.3"]);
  // Two tickets, two resumptions, and again from the beginning.
  assert.equal(wayOf(seen, "TLSv1.3", "ticket").browsing.trace, "RRfRRf");
  assert.equal(wayOf(seen, "TLSv1.3", "ticket").again.trace, "RRRRRR");
  assert.ok(codesOf(seen, "note").includes("none-accepted: TLS 1.2 by session ID"));
});

test("behind a balancer, keys that are not shared, and shared keys with contexts that are not, are told apart", async (t) => {
  if (!ready(t, "haproxy")) return;
  const files = keyFiles(t);
  const behind = async (options: (server: number) => object): Promise<TlsInspection & { exit: number }> => {
    const ports = await Promise.all([0, 1, 2].map((server) => nodeServer(t, files, options(server))));
    return inspected(await haproxyTcp(t, files.folder, ports), "-n", "10");
  };
  const alone = await behind(() => ({}));
  assert.equal(alone.exit, 6);
  assert.ok(
    codesOf(alone, "bad").includes("keys-not-shared: TLS 1.2 by ticket"),
    JSON.stringify(alone.findings),
  );
  assert.ok(codesOf(alone, "bad").includes("keys-not-shared: TLS 1.3"));
  assert.equal(wayOf(alone, "TLSv1.3", "ticket").keyNames?.length, 3);
  // Every third connection comes to the server that the session was made on.
  assert.equal(wayOf(alone, "TLSv1.2", "ticket").again.resumed, 3);

  const ticketKeys = randomBytes(48);
  const apart = await behind((server) => ({ ticketKeys, sessionIdContext: `server ${server}` }));
  assert.ok(
    codesOf(apart, "bad").includes("context-differs: TLS 1.2 by ticket"),
    JSON.stringify(apart.findings),
  );
  assert.deepEqual(wayOf(apart, "TLSv1.2", "ticket").keyNames, [
    { name: ticketKeys.toString("hex", 0, 16), seen: 10 },
  ]);

  const shared = await behind(() => ({ ticketKeys, sessionIdContext: "all" }));
  assert.equal(wayOf(shared, "TLSv1.2", "ticket").again.resumed, 9);
  assert.deepEqual(codesOf(shared, "bad"), ["no-renewal: TLS 1.3"]);
});

test("servers of ours with one secret are one server to the inspector, and renew", async (t) => {
  if (!ready(t, "haproxy")) return;
  const files = keyFiles(t);
  const options = { cert: readFileSync(files.cert), key: readFileSync(files.key) };
  const ports: number[] = [];
  for (let i = 0; i < 3; i++) {
    // Each with a store of its own: a ticket needs none.
    const kernel = createKernel({ store: memory() });
    await kernel.start();
    t.after(() => kernel.close());
    const sessions = tlsSessions({ kernel, cluster: "one", secret: "known to all three of these servers" });
    const server = createTlsServer(sessions.serverOptions(options), (socket) => {
      socket.on("error", () => socket.destroy());
      socket.resume();
    });
    sessions.attach(server);
    t.after(() => sessions.close());
    ports.push(await listening(t, server));
  }
  const seen = await inspected(await haproxyTcp(t, files.folder, ports), "-n", "7");
  assert.equal(seen.exit, 0, JSON.stringify(seen.findings));
  const way = wayOf(seen, "TLSv1.3", "ticket");
  assert.deepEqual([way.keyNames?.length, way.browsing.trace, way.browsing.renewed], [1, "RRRRRR", 6]);
  assert.equal(wayOf(seen, "TLSv1.2", "ticket").browsing.trace, "RRRRRR");
});

test("caches that are not shared are told from servers that keep none", async (t) => {
  if (!ready(t, "haproxy")) return;
  const files = keyFiles(t);
  const ports = [
    await opensslServer(t, files, ["-no_ticket"]),
    await opensslServer(t, files, ["-no_ticket"]),
  ];
  const seen = await inspected(await haproxyTcp(t, files.folder, ports), "-n", "6");
  assert.ok(
    codesOf(seen, "bad").includes("cache-not-shared: TLS 1.2 by session ID"),
    JSON.stringify(seen.findings),
  );
});

test("HAProxy with a file of ticket keys is seen with the last but one of them", async (t) => {
  if (!ready(t, "haproxy")) return;
  const files = keyFiles(t);
  const keys = [randomBytes(48), randomBytes(48), randomBytes(48)];
  writeFileSync(`${files.folder}/tickets`, keys.map((key) => `${key.toString("base64")}\n`).join(""));
  const port = await haproxy(
    t,
    files.folder,
    (at) =>
      `frontend web\n  mode http\n  bind 127.0.0.1:${at} ssl crt ${files.folder}/both.pem tls-ticket-keys ${files.folder}/tickets\n  http-request return status 200\n`,
  );
  const seen = await inspected(port, "-n", "4");
  // With keys from a file it sends no new ticket when it resumes.
  assert.deepEqual(codesOf(seen, "bad"), ["no-renewal: TLS 1.3"], JSON.stringify(seen.findings));
  assert.deepEqual(wayOf(seen, "TLSv1.3", "ticket").keyNames, [
    { name: keys[1]?.toString("hex", 0, 16), seen: 4 },
  ]);
});

test("nginx: without a cache, with one, and with names that share their keys", async (t) => {
  if (!ready(t, "nginx")) return;
  const { folder: place, cert, key } = keyFiles(t);
  const server = (port: number, name: string, more: string): string =>
    `server { listen 127.0.0.1:${port} ssl; server_name ${name}; ssl_certificate ${cert}; ssl_certificate_key ${key}; ssl_protocols TLSv1.2 TLSv1.3; ${more} return 200; }`;
  const plain = await nginx(t, place, (port) => server(port, "localhost", ""));
  const seen = await inspected(plain, "-n", "4");
  assert.deepEqual(codesOf(seen, "bad"), [], JSON.stringify(seen.findings));
  assert.ok(codesOf(seen, "note").includes("none-accepted: TLS 1.2 by session ID"));
  const asked = await inspected(plain, "-n", "3", "--http");
  assert.deepEqual(
    asked.ways.map(({ browsing }) => browsing.trace),
    ["ff", "RR", "RR"],
  );

  const two = await nginx(t, place, (port) =>
    [
      server(port, "a.example", "ssl_session_cache shared:one:1m;"),
      server(port, "b.example", "ssl_session_cache shared:one:1m;"),
    ].join("\n"),
  );
  const both = await inspected(two, "-n", "3", "--servername", "a.example", "--servername", "b.example");
  assert.equal(wayOf(both, "TLSv1.2", "id").browsing.resumed, 2);
  assert.deepEqual(
    [both.servername, both.names.map(({ from, to }) => `${from} ${to}`)],
    ["a.example", ["a.example b.example", "a.example b.example"]],
  );
  const crossing = both.names.filter(({ resumed }) => resumed).length;
  assert.equal(codesOf(both, "note").filter((code) => code.startsWith("crosses-names")).length, crossing);
});

test("a server that keeps sessions elsewhere, and is slow about it, is given time for its tickets", async (t) => {
  if (!ready(t)) return;
  const { cert, key } = keyFiles(t);
  const server = createTlsServer(
    {
      cert: readFileSync(cert),
      key: readFileSync(key),
      minVersion: "TLSv1.3",
      secureOptions: constants.SSL_OP_NO_TICKET,
    },
    (socket) => {
      socket.on("error", () => socket.destroy());
      socket.resume();
    },
  );
  server.on("newSession", (_id: Buffer, _state: Buffer, done: () => void) => void setTimeout(done, 5));
  const seen = await inspected(await listening(t, server), "-n", "2");
  assert.equal(wayOf(seen, "TLSv1.3", "ticket").issued, 2, JSON.stringify(seen.ways));
  assert.equal(wayOf(seen, "TLSv1.3", "ticket").beginning, "reference");
});

test("names that share a key resume each other's sessions, and names with keys of their own do not", async (t) => {
  if (!ready(t)) return;
  const files = keyFiles(t);
  const seen = await inspected(
    await nodeServer(t, files),
    "-n",
    "2",
    "--servername",
    "a.example",
    "--servername",
    "b.example",
  );
  const crossed = seen.names.filter(({ resumed }) => resumed).map(({ version }) => version);
  assert.ok(crossed.includes("TLSv1.3"), JSON.stringify(seen.names));
  assert.ok(
    seen.findings.some(
      ({ code, text }) => code === "crosses-names" && /a\.example resumes for b\.example/.test(text),
    ),
  );
});

test("what was given is offered again later, and a change of keys meanwhile is told", async (t) => {
  if (!ready(t)) return;
  const files = keyFiles(t);
  const steady = await inspected(await opensslServer(t, files), "-n", "2", "--later", "10ms");
  assert.deepEqual(
    codesOf(steady, "good")
      .slice(-3)
      .map((code) => code.split(":")[0]),
    Array(3).fill("still-resumes"),
  );
  const server = createTlsServer(
    { cert: readFileSync(files.cert), key: readFileSync(files.key) },
    (socket) => {
      socket.on("error", () => socket.destroy());
      socket.resume();
    },
  );
  // The first; TLS 1.2 and 1.3; in each of three ways two, one and two; one more in TLS 1.3. Everything after it meets other keys.
  let connections = 0;
  server.on("secureConnection", () => {
    if (++connections === 1 + 2 + 3 * (2 + 1 + 2) + 1) server.setTicketKeys(randomBytes(48));
  });
  const changed = await inspected(await listening(t, server), "-n", "2", "--later", "1ms");
  assert.ok(
    codesOf(changed, "bad").includes("forgotten: TLS 1.2 by ticket"),
    JSON.stringify(changed.findings),
  );
});

test("a server that asks for a client's certificate is inspected with one, and says so without", async (t) => {
  if (!ready(t)) return;
  const [own, client] = [keyFiles(t), keyFiles(t)];
  const port = await nodeServer(t, own, { requestCert: true, ca: readFileSync(client.cert) });
  const seen = await inspected(port, "-n", "2", "--cert", client.cert, "--key", client.key);
  assert.equal(wayOf(seen, "TLSv1.3", "ticket").again.resumed, 1);
  const without = await holdfast("tls", "inspect", `localhost:${port}`, "--wait", "30s");
  assert.equal(without.code, 4);
  assert.match(without.error, /CERTIFICATE_REQUIRED.*--cert and --key/);
});

test("the page for people names keys, versions and what is to be mended", async (t) => {
  if (!ready(t)) return;
  const port = await nodeServer(t, keyFiles(t));
  const { code, out } = await holdfast("tls", "inspect", `localhost:${port}`, "-n", "4", "--wait", "30s");
  assert.equal(code, 6);
  assert.match(
    out,
    /^versions +no TLS 1\.0, no TLS 1\.1, TLS 1\.2 \([A-Z0-9-]+\), TLS 1\.3 \([A-Z0-9_]+\)$/m,
  );
  assert.match(
    out,
    /^certificate +CN=localhost, until \d{4}-\d\d-\d\d, not trusted here \(DEPTH_ZERO_SELF_SIGNED_CERT\)$/m,
  );
  assert.match(out, /^given on full handshakes +4 of 4 +4 of 4 +4 of 4$/m);
  assert.match(out, /^TLS 1\.3, key [0-9a-f]{32} on 4 of 4$/m);
  assert.match(out, /^✗ TLS 1\.3: a resumed connection gets no new ticket/m);
  // RFC 8446 §4.6.1: what resumes a session is nobody's to see.
  assert.doesNotMatch(out, /master|psk/i);
});

test("a terminal is shown how far it is, and never more than there is to do", async (t) => {
  if (!ready(t)) return;
  const port = await nodeServer(t, keyFiles(t));
  const names = ["--servername", "localhost", "--servername", "a.example"];
  const { error } = await onTerminal(
    true,
    "tls",
    "inspect",
    `localhost:${port}`,
    "-n",
    "2",
    "--later",
    "1ms",
    ...names,
  );
  const steps = [...error.matchAll(/ (\d+)\/(\d+)/g)].map(
    ([, made, most]) => [Number(made), Number(most)] as const,
  );
  assert.ok(steps.length > 20, error);
  assert.ok(
    steps.every(([made, most], i) => made === i + 1 && made <= most),
    error,
  );
});

test("what is no TLS server, and what is called wrongly, has an exit code of its own", async (t) => {
  if (!ready(t)) return;
  const plain = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.end("220 no TLS here\r\n");
  });
  const port = await listening(t, plain);
  const none = await holdfast("tls", "inspect", `127.0.0.1:${port}`);
  assert.equal(none.code, 4);
  assert.match(none.error, /^No TLS connection to 127\.0\.0\.1:\d+: [A-Z_]+/);
  const codes = await Promise.all(
    [
      ["tls"],
      ["tls", "inspect"],
      ["tls", "inspect", "a:b"],
      ["tls", "inspect", "a", "-n", "1"],
      ["tls", "inspect", "a", "--cert", "x"],
      ["tls", "inspect", "a", "--wait", "long"],
    ].map(async (args) => (await holdfast(...args)).code),
  );
  assert.deepEqual(codes, [2, 2, 2, 2, 2, 2]);
});
