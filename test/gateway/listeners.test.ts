import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo, Server, Socket } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Gateway } from "../../src/gateway/index.ts";
import { ConfigError, parseConfig, sampleConfig, up } from "../../src/gateway/index.ts";
import { isHoldfastError } from "../../src/kernel/index.ts";
import type { Selector, SessionRecord } from "../../src/kernel/index.ts";
import { connect as call, queryName } from "../../src/mechanisms/netbios/index.ts";
import { associate, bind, dial, hashPassword, ProxyError } from "../../src/mechanisms/socks/index.ts";

let echo: Server;
let echoPort: number;
let folder: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-listeners-"));
  echo = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  }).listen(0, "127.0.0.1");
  await once(echo, "listening");
  echoPort = (echo.address() as AddressInfo).port;
});

after(() => {
  echo.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A gateway on a store of its own, with these lines as the listeners of its file. */
function gatewayOf(listeners: string, more = ""): Promise<Gateway> {
  const text = `store: { kind: memory }\nadmin: { port: 0 }\nlog: { level: silent }\ndata: ${folder}\n${more}\nlisteners:\n${listeners}`;
  return up(parseConfig(text, "holdfast.yaml", { ECHO: String(echoPort) }));
}

async function live(gateway: Gateway, selector: Selector): Promise<SessionRecord[]> {
  const found: SessionRecord[] = [];
  for await (const record of gateway.kernel.sessions(selector)) found.push(record);
  return found;
}

function proxyOf(gateway: Gateway, username: string): { proxy: string; host: string; port: number } {
  const [listener] = gateway.listeners;
  const proxy = (listener?.address ?? "").replace("socks5://", `socks5://${username}:secret@`);
  return { proxy, host: "127.0.0.1", port: echoPort };
}

async function socksGateway(more = "", limits = ""): Promise<Gateway> {
  const hash = await hashPassword("secret");
  return gatewayOf(
    `
  - mechanism: socks
    name: proxy
    port: 0
    users:
      - { name: alice, hash: "${hash}" }
      - { name: bob, hash: "${hash}" }
    rules:
      - { action: deny, principals: [bob] }
      - { action: allow, addresses: [loopback], ports: [${echoPort}, "1-1023"] }
${more}`,
    limits,
  );
}

test("a socks listener carries its users' bytes as sessions, and a revoke closes them", async () => {
  const gateway = await socksGateway();
  try {
    const { socket } = await dial(proxyOf(gateway, "alice"));
    socket.write("hello");
    assert.equal(String(await once(socket, "data")), "hello");
    const [session] = await live(gateway, { mechanism: "socks" });
    assert.equal(session?.principal, "alice");
    assert.equal(session?.label, `127.0.0.1:${echoPort}`);
    assert.equal(gateway.listeners[0]?.open(), 1);
    const closed = gone(socket);
    const revocation = await gateway.kernel.revoke({ principal: "alice" }, { reason: "test", by: "test" });
    await closed;
    await revocation.settled;
    assert.deepEqual(await live(gateway, { mechanism: "socks" }), []);
    // Another user, a wrong password and a forbidden port are refused as such.
    await assert.rejects(dial(proxyOf(gateway, "bob")), (error) => replyOf(error) === "not-allowed");
    await assert.rejects(dial(proxyOf(gateway, "carol")), ProxyError);
    await assert.rejects(
      dial({ ...proxyOf(gateway, "alice"), port: echoPort === 8080 ? 8081 : 8080 }),
      (error) => replyOf(error) === "not-allowed",
    );
  } finally {
    await gateway.close();
  }
});

test("a socks listener's switches go before its rules", async () => {
  const gateway = await socksGateway("    udp: false\n    bind: false\n");
  try {
    const { proxy } = proxyOf(gateway, "alice");
    await assert.rejects(associate({ proxy }), (error) => replyOf(error) === "not-allowed");
    await assert.rejects(bind(proxyOf(gateway, "alice")), (error) => replyOf(error) === "not-allowed");
  } finally {
    await gateway.close();
  }
});

test("the file's limits hold for relays: the newest is refused, or the oldest gives way", async () => {
  const limit = (more: string): string =>
    `limits:\n  - { mechanism: socks, per-principal: 1${more} }\ndrain: 100ms`;
  const refusing = await socksGateway("", limit(""));
  try {
    const { socket } = await dial(proxyOf(refusing, "alice"));
    await assert.rejects(dial(proxyOf(refusing, "alice")), (error) => replyOf(error) === "not-allowed");
    assert.equal((await live(refusing, { mechanism: "socks" })).length, 1);
    await Promise.all([gone(socket), socket.destroy()]);
  } finally {
    await refusing.close();
  }
  const evicting = await socksGateway("", limit(", on-limit: evict-oldest"));
  try {
    const first = await dial(proxyOf(evicting, "alice"));
    const closed = gone(first.socket);
    const second = await dial(proxyOf(evicting, "alice"));
    await closed;
    assert.equal((await live(evicting, { mechanism: "socks" })).length, 1);
    second.socket.destroy();
  } finally {
    await evicting.close();
  }
});

test("draining waits for a relay that finishes, takes no new one, and ends what is left at its deadline", async () => {
  const gateway = await socksGateway("", "drain: 30s");
  const { socket } = await dial(proxyOf(gateway, "alice"));
  const before = await live(gateway, { mechanism: "socks" });
  assert.equal(before.length, 1);
  const closing = gateway.close();
  await assert.rejects(dial(proxyOf(gateway, "alice")), ProxyError);
  socket.write("last words");
  assert.equal(String(await once(socket, "data")), "last words");
  socket.end();
  await closing;

  const hasty = await socksGateway("", "drain: 50ms");
  const { kernel } = hasty;
  const lasting = await dial(proxyOf(hasty, "alice"));
  const [session] = await live(hasty, { mechanism: "socks" });
  assert.ok(session !== undefined);
  const ended = new Promise<unknown>((resolve) =>
    kernel.onEntry((entry) => {
      if (entry.handle === session.handle && entry.event === "end") resolve(entry.detail?.["reason"]);
    }),
  );
  const cut = gone(lasting.socket);
  await hasty.close();
  await cut;
  assert.equal(await ended, "evicted");
});

test("a netbios listener relays calls by name, limits and revokes them, and its name service finds it", async () => {
  const gateway = await gatewayOf(
    `
  - mechanism: netbios
    name: files
    port: 0
    backends:
      nas: { host: 127.0.0.1, port: ${echoPort} }
    routes:
      - { called: FILESRV, callers: [ANNA-PC, OTTO-PC], backend: nas }
      - { called: GONE, refuse: 0x80 }
    otherwise: { refuse: 0x82 }
    keepalive: { every: 30s, during: always }
    limits: { per-peer: 10, idle: 1h }
    name-service: { port: 0 }
`,
    "limits:\n  - { mechanism: netbios, per-principal: 1 }\n",
  );
  try {
    const [files] = gateway.listeners;
    assert.ok(files !== undefined);
    const to = { host: "127.0.0.1", port: Number(new URL(files.address).port) };
    const lookups = Number(new URL(files.also?.[0] ?? "").port);
    const found = await queryName("FILESRV", { host: "127.0.0.1", port: lookups });
    assert.ok(found.ok && found.entries[0]?.address === "127.0.0.1");

    const session = await call({ ...to, called: "FILESRV", calling: "ANNA-PC" });
    await session.send(Buffer.from("hello"));
    const messages = session[Symbol.asyncIterator]();
    assert.equal(String((await messages.next()).value), "hello");
    const [record] = await live(gateway, { mechanism: "netbios" });
    assert.equal(record?.principal, "ANNA-PC");
    assert.equal(record?.label, "FILESRV<20>");
    assert.equal(files.open(), 1);
    const refusals = [
      { called: "FILESRV", calling: "ANNA-PC", code: 0x83 },
      { called: "FILESRV", calling: "EVE-PC", code: 0x81 },
      { called: "GONE", calling: "ANNA-PC", code: 0x80 },
      { called: "NOSUCH", calling: "ANNA-PC", code: 0x82 },
    ];
    for (const { called, calling, code } of refusals) {
      await assert.rejects(
        call({ ...to, called, calling }),
        (error) => isHoldfastError(error, "establish-refused") && error.detail?.["code"] === code,
        `${calling} calls ${called}`,
      );
    }
    await gateway.kernel.revoke({ principal: "ANNA-PC" }, { reason: "test", by: "test" });
    await assert.rejects(messages.next(), (error) => isHoldfastError(error, "session-ended"));
    assert.deepEqual(await live(gateway, { mechanism: "netbios" }), []);
    await session.close();
  } finally {
    await gateway.close();
  }
});

test("an open proxy beyond this machine has to be said in words", async () => {
  const listener = "  - { mechanism: socks, host: 0.0.0.0, port: 0";
  await assert.rejects(gatewayOf(`${listener} }`), /anonymous: true/);
  const opened = await gatewayOf(`${listener}, anonymous: true }`);
  await opened.close();
});

test("a name service that cannot lead anywhere, or listen, keeps its listener from starting", async () => {
  const files = (more: string): string =>
    `  - { mechanism: netbios, port: 0, backends: { nas: { host: 127.0.0.1 } }, routes: [], ${more} }`;
  await assert.rejects(
    gatewayOf(files("host: 0.0.0.0, name-service: { port: 0 }")),
    /name-service\.addresses/,
  );
  // An address of RFC 5737 that no machine has.
  await assert.rejects(
    gatewayOf(files("name-service: { port: 0, host: 192.0.2.1 }")),
    (error) => (error as NodeJS.ErrnoException).code === "EADDRNOTAVAIL",
  );
});

test("mistakes in a listener are told with their place, and alternatives in one sentence", () => {
  const mistakes = (text: string): readonly string[] => {
    try {
      parseConfig(text, "f.yaml");
    } catch (error) {
      if (error instanceof ConfigError) return error.mistakes;
      throw error;
    }
    return [];
  };
  const socks = (more: string): readonly string[] =>
    mistakes(`listeners:\n  - mechanism: socks\n    ${more}\n`);
  assert.match(
    socks("rules: [{ action: alow }]").join("|"),
    /^f\.yaml:3:23: .*action must be one of allow, deny.*"allow"\?$/,
  );
  assert.match(
    socks('rules: [{ action: allow, ports: ["80-x"] }]').join("|"),
    /^f\.yaml:3:\d+: .*"8000-8099"/,
  );
  assert.match(socks("users: [{ name: a, password: b }]").join("|"), /lacks "hash"/);
  assert.match(socks("limits: { idel: 3m }").join("|"), /did you mean "idle"/);
  assert.match(socks("upstream: [ftp://x]").join("|"), /A proxy as a URL/);
  const netbios = mistakes(
    "listeners:\n  - mechanism: netbios\n    backends: { a: { host: b } }\n    routes: [{ called: X }]\n",
  );
  assert.equal(netbios.length, 1);
  assert.match(netbios[0] ?? "", /^f\.yaml:4:14: .*exactly one of backend, retarget and refuse/);
});

test("the sample's examples of listeners are right when the comment signs go", () => {
  const at = sampleConfig.indexOf("  # A SOCKS proxy");
  assert.ok(at > 0);
  const examples = sampleConfig.slice(at).replaceAll(/^ {2}# ( *(?:- |[a-z-]+:|# ))/gm, "  $1");
  const { listeners } = parseConfig(sampleConfig.slice(0, at) + examples, "sample", {
    ALICE_HASH: "scrypt$1",
    PROXY_PASSWORD: "x",
    BACKUP_TOKEN: "0123456789abcdef",
  });
  assert.deepEqual(
    listeners?.map((listener) => listener.mechanism),
    ["web", "socks", "netbios", "dialog", "syslog", "transfer"],
  );
});

/** Resolves when it is closed, in whatever way. */
function gone(socket: Socket): Promise<void> {
  socket.on("error", () => {});
  socket.resume();
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

function replyOf(error: unknown): string | undefined {
  return error instanceof ProxyError ? error.reply : undefined;
}
