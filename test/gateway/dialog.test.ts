import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Gateway } from "../../src/gateway/index.ts";
import { ConfigError, parseConfig, up } from "../../src/gateway/index.ts";
import { isHoldfastError } from "../../src/kernel/index.ts";
import { connect } from "../../src/mechanisms/dialog/client-node.ts";
import { hashPassword } from "../../src/mechanisms/socks/index.ts";
import { reading, until } from "../mechanisms/dialog/served.ts";
import { selfSigned } from "../peers/certificate.ts";

let folder: string;
let hash: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-talk-"));
  hash = await hashPassword("secret");
});

after(() => rmSync(folder, { recursive: true, force: true }));

function gatewayOf(listeners: string, store = "{ kind: memory }", data = folder): Promise<Gateway> {
  const text = `store: ${store}\nadmin: { port: 0 }\nlog: { level: silent }\ndrain: 5s\ndata: ${data}\nlisteners:\n${listeners}`;
  return up(parseConfig(text, "holdfast.yaml", {}));
}

function at(gateway: Gateway, scheme: string): string {
  const all = gateway.listeners.flatMap(({ address, also = [] }) => [address, ...also]);
  return (
    all.find((one) => one.startsWith(`${scheme}:`)) ?? assert.fail(`${scheme} is not among ${all.join(" ")}`)
  );
}

function basic(name: string): string {
  return `Basic ${Buffer.from(`${name}:secret`).toString("base64")}`;
}

/** Reads plain events until there are `count` of them. */
async function events(
  url: string,
  count: number,
  headers: Record<string, string>,
): Promise<{ id: string; data: string }[]> {
  const abort = new AbortController();
  const response = await fetch(url, { headers, signal: abort.signal });
  assert.equal(response.status, 200);
  let text = "";
  const found = () =>
    [...text.matchAll(/^id: (.*)\ndata: (.*)\n\n/gm)].map(([, id = "", data = ""]) => ({ id, data }));
  for await (const chunk of response.body ?? []) {
    text += Buffer.from(chunk).toString();
    if (found().length >= count) break;
  }
  abort.abort();
  return found();
}

test("a topic: written and read over WebSocket, TCP, an event stream with posts, and by what has but HTTP", async () => {
  const gateway = await gatewayOf(`
  - mechanism: dialog
    port: 0
    tcp-port: 0
    users: [{ name: ann, hash: ${hash} }, { name: bob, hash: ${hash} }]
    origins: ["https://app.example"]
    topics:
      - { name: news, keep: 100, writers: [ann] }
      - { name: minutes, readers: [ann] }`);
  const http = at(gateway, "http");
  const ann = { authorization: basic("ann"), label: "news" };
  const data = Buffer.from("oldest");
  const readers = [
    await connect(`${http.replace("http", "ws")}/dialog`, { ...ann, data, mode: "simplex-down" }),
    await connect(`${http}/dialog`, { ...ann, data, mode: "simplex-down", authorization: basic("bob") }),
  ];
  const got = readers.map(reading);
  const writer = await connect(at(gateway, "tcp"), { ...ann, mode: "simplex-up" });
  await writer.send("one", { until: "acked" });
  const posted = await fetch(`${http}/topics/news`, {
    method: "POST",
    headers: { authorization: basic("ann") },
    body: "two",
  });
  assert.deepEqual(await posted.json(), { n: 1 });
  const both = await connect(`${http.replace("http", "ws")}/dialog`, ann);
  const gotBoth = reading(both);
  await until("its beginning", () => gotBoth.length === 1);
  await both.send("three", { until: "acked" });
  const expected = [
    '{"n":-1,"topic":"news"}',
    '{"n":0,"text":"one"}',
    '{"n":1,"text":"two"}',
    '{"n":2,"text":"three"}',
  ];
  await until("all", () => [...got, gotBoth].every((one) => one.at(-1) === expected[3]));
  assert.deepEqual(got, [expected, expected]);
  assert.deepEqual(gotBoth, ['{"n":1,"topic":"news"}', expected[3]]);
  const plain = `${http}/topics/news`;
  const first = (await events(`${plain}?from=oldest`, 2, { authorization: basic("bob") })).slice(0, 2);
  const rest = await events(plain, 1, { authorization: basic("bob"), "last-event-id": first[1]?.id ?? "" });
  assert.deepEqual(
    [...first, ...rest].map((one) => one.data),
    ["one", "two", "three"],
  );

  // Who may do what.
  const status = async (path: string, init: RequestInit = {}) => (await fetch(`${http}${path}`, init)).status;
  const bob = { authorization: basic("bob") };
  assert.equal(await status("/topics/news"), 401);
  assert.equal(
    await status("/topics/news", { headers: { authorization: "Basic bm9ib2R5OnNlY3JldA==" } }),
    401,
  );
  assert.equal(
    await status("/topics/news", { headers: { ...bob, origin: "https://elsewhere.example" } }),
    401,
  );
  for (const path of ["/topics/news", "/dialog"]) {
    const asked = (origin: string) => fetch(`${http}${path}`, { method: "OPTIONS", headers: { origin } });
    const allowed = await asked("https://app.example");
    assert.equal(allowed.status, 204);
    assert.equal(allowed.headers.get("access-control-allow-origin"), "https://app.example");
    assert.match(allowed.headers.get("access-control-allow-headers") ?? "", /holdfast-turn/);
    assert.equal((await asked("https://elsewhere.example")).headers.get("access-control-allow-origin"), null);
  }
  assert.equal(await status("/topics", { headers: { ...bob, origin: "https://app.example" } }), 200);
  assert.equal(await status("/topics/news", { method: "POST", headers: bob, body: "no" }), 403);
  assert.equal(await status("/topics/minutes", { headers: bob }), 403);
  assert.equal(await status("/topics/none", { headers: bob }), 404);
  assert.deepEqual(await (await fetch(`${http}/topics`, { headers: bob })).json(), { topics: ["news"] });
  for (const [label, mode] of [
    ["news", "full-duplex"],
    ["minutes", "simplex-down"],
    ["", "full-duplex"],
  ] as const) {
    const refused = await connect(`${http}/dialog`, { authorization: basic("bob"), label, mode });
    await until("the refusal", () => refused.ended !== undefined);
    assert.match(refused.ended?.why ?? "", /not for you|no topic/);
  }
  await assert.rejects(connect(`${http}/dialog`, { authorization: "Basic ZXZl" }), (error) =>
    isHoldfastError(error, "establish-refused"),
  );
  await gateway.kernel.revoke({ principal: "bob" }, { reason: "left" });
  await until("bob's end", () => readers[1]?.ended?.reason === "revoked");
  assert.equal(readers[0]?.ended, undefined);
  for (const dialog of [...readers, writer, both]) dialog.abort();
  await gateway.close();
});

test("a web login opens dialogs, and they end with it", async () => {
  const gateway = await gatewayOf(
    "  - { mechanism: dialog, port: 0, anonymous: false, topics: [{ name: news }] }\n",
  );
  const { record, secret } = await gateway.kernel.establish({
    mechanism: "web",
    mode: "request-response",
    principal: "ann",
    roles: ["staff"],
  });
  const url = `${at(gateway, "http")}/dialog`;
  await assert.rejects(connect(url, { label: "news" }), (error) =>
    isHoldfastError(error, "establish-refused"),
  );
  const byBearer = await connect(url, { label: "news", authorization: `Bearer ${secret?.reveal()}` });
  const byCookie = await connect(url.replace("http", "ws"), {
    label: "news",
    headers: { cookie: `a=b; __Host-session=${secret?.reveal()}` },
  });
  for await (const dialog of gateway.kernel.sessions({ mechanism: "dialog" })) {
    assert.equal(dialog.parent, record.handle);
    assert.deepEqual(dialog.roles, ["staff"]);
  }
  await gateway.kernel.end(record, { reason: "logout" });
  await until("both ends", () => byBearer.ended !== undefined && byCookie.ended !== undefined);
  await gateway.close();
});

test("a dialog and its topic outlive the gateway's restart", async () => {
  const data = join(folder, "restart");
  const listeners = (port: number) =>
    `  - { mechanism: dialog, port: 0, tcp-port: ${port}, topics: [{ name: news }] }\n`;
  const first = await gatewayOf(listeners(0), "{ kind: lmdb }", data);
  const url = at(first, "tcp");
  const here = await connect(url, { label: "news", reconnect: { minMs: 5, maxMs: 50 } });
  const got = reading(here);
  for (let turn = 0; turn < 50; turn++) await here.send(`before ${turn}`, { until: "acked" });
  await first.close();
  const sent = here.send("while it was away", { until: "acked" });
  const second = await gatewayOf(listeners(Number(new URL(url).port)), "{ kind: lmdb }", data);
  await sent;
  await until("everything", () => got.length === 52);
  assert.deepEqual(
    got.map((text) => (JSON.parse(text) as { n: number }).n),
    [...Array(52).keys()].map((n) => n - 1),
  );
  here.abort();
  await second.close();
});

test("logger, the gateway, and a reader that goes on behind what it had: datagrams, streams and TLS", async (t) => {
  const { cert, key } = selfSigned(folder);
  const tls = `{ cert: ${cert}, key: ${key} }`;
  const gateway = await gatewayOf(`
  - { mechanism: syslog, port: 0, tls-port: 0, tls: ${tls}, topic: logs, keep: 1000 }
  - { mechanism: dialog, port: 0, tcp-port: 0, tls: ${tls}, topics: [{ name: logs, writers: [] }] }`);
  const [tcp, udp, secure] = ["syslog+tcp", "syslog+udp", "syslog+tls"].map(
    (scheme) => new URL(at(gateway, scheme)).port,
  );
  assert.equal(tcp, udp);
  const logger = (...args: readonly string[]): Promise<boolean> => {
    const child = spawn("logger", ["-n", "127.0.0.1", "-P", tcp ?? "", "-t", "app", ...args], {
      stdio: "inherit",
    });
    after(() => child.kill("SIGKILL"));
    return new Promise((resolve, reject) => {
      child.on("error", (error: NodeJS.ErrnoException) =>
        error.code === "ENOENT" && process.env["CI"] !== "true" ? resolve(false) : reject(error),
      );
      child.on("close", () => resolve(true));
    });
  };
  const ca = readFileSync(cert);
  const reader = await connect(at(gateway, "tls"), {
    label: "logs",
    data: Buffer.from("oldest"),
    mode: "simplex-down",
    tls: { ca },
  });
  const got = reading(reader);
  const web = at(gateway, "https");
  const others = [`${web.replace("https", "wss")}/dialog`, `${web}/dialog`];
  for (const url of others) {
    const other = await connect(url, { label: "logs", mode: "simplex-down", tls: { ca } });
    const [first] = await Promise.race([
      other[Symbol.asyncIterator]()
        .next()
        .then(({ value }) => [value?.text]),
      new Promise<string[]>((_, reject) => other.on("end", ({ why }) => reject(new Error(why)))),
    ]);
    assert.match(first ?? "", /"topic":"logs"/);
    other.abort();
  }
  if (!(await logger("-T", "-p", "daemon.err", "first"))) return t.skip("logger is not installed");
  await until("the first", () => got.length === 2);
  await logger("-d", "second");
  await until("the second", () => got.length === 3);
  const text = '<14>1 2026-01-01T00:00:00Z host app - - [x@1 a="b"] third';
  const client = spawn(
    "openssl",
    ["s_client", "-quiet", "-connect", `127.0.0.1:${secure}`, "-CAfile", cert],
    {
      stdio: ["pipe", "ignore", "ignore"],
    },
  );
  after(() => client.kill("SIGKILL"));
  client.stdin.write(`${text.length} ${text}`);
  await until("the third", () => got.length === 4);
  client.kill("SIGKILL");
  const lines = got
    .slice(1)
    .map((one) => JSON.parse((JSON.parse(one) as { text: string }).text) as Record<string, unknown>);
  assert.deepEqual(
    lines.map(({ text: said, from, facility, severity, app }) => [said, from, facility, severity, app]),
    [
      ["first", "127.0.0.1", "daemon", "err", "app"],
      ["second", "127.0.0.1", "user", "notice", "app"],
      ["third", "127.0.0.1", "user", "info", "app"],
    ],
  );
  assert.deepEqual(lines[2]?.["data"], { "x@1": { a: "b" } });
  reader.abort();
  await gateway.close();
});

test("what cannot be a dialog listener says why", async () => {
  const refuse = (listener: string, says: RegExp) =>
    assert.throws(
      () => parseConfig(`listeners:\n  - ${listener}\n`, "h.yaml"),
      (error) => error instanceof ConfigError && says.test(error.message),
    );
  refuse("{ mechanism: dialog }", /lacks "topics"/);
  refuse("{ mechanism: dialog, topics: [{ name: a/b }] }", /a name of 1 to 64 letters/);
  refuse("{ mechanism: dialog, topics: [{ name: a, reader: [b] }] }", /did you mean "readers"/);
  refuse("{ mechanism: syslog, tls-port: 6514 }", /tls/);
  refuse("{ mechanism: syslog, transports: [sctp] }", /udp, tcp/);
  await assert.rejects(
    gatewayOf("  - { mechanism: dialog, host: 0.0.0.0, port: 0, topics: [{ name: a }] }\n"),
    (error) => isHoldfastError(error, "invalid-argument") && /anonymous/.test(error.message),
  );
});
