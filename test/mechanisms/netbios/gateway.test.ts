import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { connect as connectTcp, createServer } from "node:net";
import { after, test } from "node:test";
import type { JournalEntry, Kernel, SessionRecord } from "../../../src/kernel/index.ts";
import { createKernel, isHoldfastError } from "../../../src/kernel/index.ts";
import type {
  ConnectOptions,
  NetbiosOptions,
  NetbiosSession,
} from "../../../src/mechanisms/netbios/index.ts";
import {
  announceNames,
  connect,
  createNameService,
  createNetbios,
  nodeStatus,
  queryName,
  refreshName,
  registerName,
  releaseName,
} from "../../../src/mechanisms/netbios/index.ts";
import {
  encodeMessageHeader,
  encodeSessionPacket,
  KEEPALIVE,
} from "../../../src/mechanisms/netbios/codec/session.ts";
import { memory } from "../../../src/store/memory/index.ts";

const closers: (() => Promise<unknown> | void)[] = [];
after(async () => {
  for (const close of closers.toReversed()) await close();
});

/** A server that sends back whatever comes, and keeps what it saw. */
async function echo(): Promise<{ port: number; seen: () => Buffer; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>();
  const seen: Buffer[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    socket.on("data", (chunk) => seen.push(chunk));
    socket.pipe(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  assert.ok(address !== null && typeof address !== "string");
  return { port: address.port, seen: () => Buffer.concat(seen), sockets };
}

interface Standing {
  readonly kernel: Kernel;
  readonly gateway: ReturnType<typeof createNetbios>;
  readonly port: number;
  readonly backend: Awaited<ReturnType<typeof echo>>;
  readonly journal: JournalEntry[];
  readonly call: (called?: string, options?: Partial<ConnectOptions>) => Promise<NetbiosSession>;
}

/** A gateway before an echo server that is called FILESRV. */
async function standing(options: Partial<NetbiosOptions> = {}): Promise<Standing> {
  const backend = await echo();
  const kernel = createKernel({ store: memory() });
  const journal: JournalEntry[] = [];
  kernel.onEntry((entry) => journal.push(entry));
  const gateway = createNetbios({
    kernel,
    backends: { nas: { host: "127.0.0.1", port: backend.port }, down: { host: "127.0.0.1", port: 1 } },
    routes: [
      { called: "FILESRV", backend: "nas" },
      { called: "DOWN", backend: "down" },
    ],
    countsEveryMs: 20,
    ...options,
  });
  const { port } = await gateway.listen({ port: 0 });
  closers.push(async () => {
    await gateway.close();
    await kernel.close();
  });
  const call = (called = "FILESRV", more: Partial<ConnectOptions> = {}): Promise<NetbiosSession> =>
    connect({ host: "127.0.0.1", port, called, calling: "MYCLIENT", ...more });
  return { kernel, gateway, port, backend, journal, call };
}

async function until<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  for (let attempt = 0; attempt < 2_000; attempt++) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`waited in vain for ${what}`);
}

async function sessionsOf(kernel: Kernel): Promise<readonly SessionRecord[]> {
  const { found } = await kernel.store.list({ term: "m:netbios", limit: 100 });
  return found.map(({ record }) => record);
}

async function endOfOnly(kernel: Kernel): Promise<SessionRecord> {
  return until("the end of the session", async () => {
    const { found } = await kernel.store.list({ term: "ended", limit: 10 });
    return found[0]?.record;
  });
}

async function codeOf(calling: Promise<NetbiosSession>): Promise<unknown> {
  const error: unknown = await calling.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(isHoldfastError(error, "establish-refused"), String(error));
  return error.detail["code"] ?? error.detail["why"];
}

async function next(session: NetbiosSession): Promise<string> {
  for await (const message of session) return message.toString();
  return "(over)";
}

/** A bare connection to the gateway, and all it was sent until it was closed. */
function raw(port: number): { socket: Socket; received: () => string; closed: Promise<unknown> } {
  const chunks: Buffer[] = [];
  const socket = connectTcp({ port, host: "127.0.0.1" });
  socket.on("data", (chunk) => chunks.push(chunk));
  socket.on("error", () => {});
  const closed = new Promise((resolve) => socket.once("close", resolve));
  return { socket, received: () => Buffer.concat(chunks).toString("hex"), closed };
}

const REQUEST = encodeSessionPacket({
  type: "session-request",
  called: { name: "FILESRV", suffix: 0x20, scope: "" },
  calling: { name: "MYCLIENT", suffix: 0, scope: "" },
});

test("a called name with a route is a session: listed live, counted to the byte, ended when the client goes", async () => {
  const { kernel, call, backend } = await standing();
  const session = await call("filesrv<20>");
  await session.send(Buffer.from("hello"));
  assert.equal(await next(session), "hello");
  await session.send(Buffer.alloc(100_000, 7));
  const live = await until("the counts", async () => {
    const [record] = await sessionsOf(kernel);
    return record?.checkpoint?.position === 2 * (5 + 4 + 100_000 + 4) ? record : undefined;
  });
  assert.equal(live.label, "FILESRV<20>");
  assert.equal(live.mode, "full-duplex");
  assert.equal(live.state, "established");
  assert.equal(live.principal, "MYCLIENT");
  assert.deepEqual(live.peer, { address: "127.0.0.1", agent: "MYCLIENT<00>" });
  assert.deepEqual(live.checkpoint?.note, { up: 100_013, down: 100_013 });
  const { data } = live;
  assert.ok(typeof data === "object" && data !== null && "backend" in data && data.backend === "nas");
  await session.close();
  const ended = await endOfOnly(kernel);
  assert.equal(ended.ended?.reason, "finished");
  assert.equal(backend.seen().length, 100_013);
  const phases = (await kernel.store.timeline(ended.handle)).map(({ phase }) => phase);
  assert.deepEqual([...new Set(phases)], ["pre-session", "establishment", "maintenance", "termination"]);
});

test("who is not there, may not be called, or does not answer, is refused with its code", async () => {
  const { call, gateway, kernel } = await standing({
    routes: [
      { called: "FILESRV", callers: ["BOSS"], backend: "nas" },
      { called: "DOWN", backend: "down" },
      { called: "CLOSED", refuse: 0x8f },
      { called: "SCOPED<20>.corp", backend: "nas" },
    ],
  });
  assert.equal(await codeOf(call("NOSUCH")), 0x82);
  assert.equal(await codeOf(call("*SMBSERVER")), 0x82, "denied unless allowed in words");
  assert.equal(await codeOf(call("FILESRV<00>")), 0x82, "another suffix is another name");
  assert.equal(await codeOf(call("SCOPED")), 0x82, "another scope is another name");
  assert.equal(await codeOf(call("FILESRV")), 0x81);
  assert.equal(await codeOf(call("DOWN")), 0x80);
  assert.equal(await codeOf(call("CLOSED")), 0x8f);
  for (const session of [await call("FILESRV", { calling: "boss" }), await call("SCOPED<20>.CORP")])
    await session.close();
  await until("the counts", () => gateway.stats().connections === 0);
  assert.equal(gateway.stats().refused, 7);
  const { found } = await kernel.store.list({ term: "ended", limit: 10 });
  const refused = found.filter(({ record }) => record.ended?.reason === "refused");
  assert.deepEqual(
    refused.map(({ record }) => record.label),
    ["DOWN<20>"],
  );
});

test("*SMBSERVER and unknown names go where the policy says", async () => {
  const { call } = await standing({ anyServer: { backend: "nas" }, otherwise: { refuse: 0x80 } });
  const session = await call("*SMBSERVER");
  await session.send(Buffer.from("any"));
  assert.equal(await next(session), "any");
  await session.close();
  assert.equal(await codeOf(call("NOSUCH")), 0x80);
});

test("wrong options are refused at once, by name", () => {
  const kernel = createKernel({ store: memory() });
  const wrong: readonly Partial<NetbiosOptions>[] = [
    { routes: [{ called: "A", backend: "nowhere" }] },
    { routes: [{ called: "SIXTEENLETTERSXX", backend: "nas" }] },
    { routes: [{ called: "A", refuse: 5 }] },
    { routes: [{ called: "A", retarget: { address: "example.org", port: 139 } }] },
    { backends: { nas: { host: "x", port: 0 } } },
  ];
  for (const options of wrong) {
    const make = (): unknown =>
      createNetbios({ kernel, backends: { nas: { host: "x" } }, routes: [], ...options });
    assert.throws(make, (error) => isHoldfastError(error, "invalid-argument"));
  }
});

test("our client follows a retarget, as often as it was told to and only where it may", async () => {
  const there = await standing();
  const here = await standing({
    routes: [{ called: "FILESRV", retarget: { address: "127.0.0.1", port: there.port } }],
  });
  const session = await here.call();
  assert.equal(session.remote.port, there.port);
  await session.send(Buffer.from("moved"));
  assert.equal(await next(session), "moved");
  await session.close();
  assert.equal(await codeOf(here.call("FILESRV", { maxRetargets: 0 })), "retarget-refused");
  assert.equal(await codeOf(here.call("FILESRV", { mayRetarget: () => false })), "retarget-refused");
});

test("a backend that wants a session request gets one, and its retarget is followed for clients that cannot", async () => {
  const last = await standing();
  const inner = await standing({
    routes: [{ called: "INNER", retarget: { address: "127.0.0.1", port: last.port } }],
  });
  const backend = { host: "127.0.0.1", port: inner.port, speaks: "netbios", calledName: "INNER" } as const;
  const strict = await standing({
    backends: { nas: backend },
    routes: [{ called: "OUTER", backend: "nas" }],
  });
  assert.equal(await codeOf(strict.call("OUTER")), 0x8f, "not to where nobody allowed it");
  const retargets = [`127.0.0.1:${last.port}`];
  const passing = { nas: { ...backend, retargets } };
  const outer = await standing({
    backends: passing,
    routes: [{ called: "OUTER", backend: "nas" }],
    keepalive: { everyMs: 10, during: "idle" },
  });
  // The last one knows FILESRV and not INNER: its refusal is handed on.
  assert.equal(await codeOf(outer.call("OUTER")), 0x82);
  const matching = await standing({
    backends: { nas: { host: "127.0.0.1", port: last.port, speaks: "netbios", calledName: "FILESRV" } },
    routes: [{ called: "OUTER", backend: "nas" }],
    keepalive: { everyMs: 10, during: "idle" },
  });
  const session = await matching.call("OUTER");
  await session.send(Buffer.from("through two"));
  assert.equal(await next(session), "through two");
  await until("keepalives", () => session.keepalivesReceived > 2);
  await session.close();
  assert.equal(last.backend.seen().toString("latin1"), `\0\0\0\x0bthrough two`, "none of them went further");
});

test("revoke closes both sides, and its receipt says so", async () => {
  const { kernel, call, backend } = await standing();
  const session = await call();
  await session.send(Buffer.from("x"));
  assert.equal(await next(session), "x");
  const [record] = await sessionsOf(kernel);
  assert.ok(record !== undefined);
  const revocation = await kernel.revoke({ handle: record.handle }, { reason: "test", by: "operator" });
  const receipts = await revocation.settled;
  assert.deepEqual(
    receipts.map(({ state }) => state),
    ["closed"],
  );
  await assert.rejects(next(session), (error) => isHoldfastError(error, "session-ended"));
  await until("the backend's side to close", () => backend.sockets.size === 0);
  const ended = await endOfOnly(kernel);
  assert.equal(ended.ended?.reason, "revoked");
  await until("the last counts in the timeline", async () =>
    (await kernel.store.timeline(ended.handle)).some(
      ({ event, detail }) => event === "note" && detail?.["up"] === 5,
    ),
  );
});

test("a lock refuses who it names before any backend is reached", async () => {
  const { kernel, call, backend } = await standing();
  await kernel.start();
  await kernel.lock({ selector: { principal: "MYCLIENT" }, reason: "stolen laptop" });
  assert.equal(await codeOf(call()), 0x81);
  assert.equal(backend.sockets.size, 0);
  const other = await call("FILESRV", { calling: "OTHER" });
  await other.close();
});

test("idle, absolute and byte limits end a session with reasons of their own", async () => {
  const idle = await standing({ limits: { idleMs: 60 }, keepalive: false });
  const quiet = await idle.call("FILESRV", { keepalive: { everyMs: 10, during: "idle" } });
  await assert.rejects(next(quiet), (error) => isHoldfastError(error, "session-ended"));
  assert.equal(
    (await endOfOnly(idle.kernel)).ended?.reason,
    "idle-expired",
    "though the client kept it alive",
  );

  const absolute = await standing({ limits: { absoluteMs: 150 } });
  const busy = await absolute.call();
  await assert.rejects(
    async () => {
      for (;;) {
        await busy.send(Buffer.from("x"));
        await next(busy);
      }
    },
    (error) => isHoldfastError(error, "session-ended"),
  );
  assert.equal((await endOfOnly(absolute.kernel)).ended?.reason, "absolute-expired");

  const bytes = await standing({ limits: { maxBytes: 1_000 } });
  const much = await bytes.call();
  await much.send(Buffer.alloc(5_000));
  // Closed in order or with a reset, depending on what was still under way.
  const last = await next(much).catch((error: unknown) => isHoldfastError(error, "session-ended"));
  assert.ok(last === "(over)" || last === true);
  const ended = await endOfOnly(bytes.kernel);
  assert.equal(ended.ended?.reason, "byte-limit");
  const line = (await bytes.kernel.store.timeline(ended.handle)).find(({ event }) => event === "end");
  assert.equal(Number(line?.detail?.["up"]) + Number(line?.detail?.["down"]), 1_000);
  assert.equal(bytes.backend.seen().length, 1_000);
});

test("sessions of one address and of one principal, and silent connections, are bounded", async () => {
  const { call } = await standing({ limits: { perPeer: 3, perPrincipal: 2 } });
  const open = [await call(), await call()];
  assert.equal(await codeOf(call()), 0x83, "a third of the same principal");
  open.push(await call("FILESRV", { calling: "OTHER" }));
  assert.equal(await codeOf(call("FILESRV", { calling: "THIRD" })), 0x83, "a fourth of the same address");
  await open.pop()?.close();
  await until("room again", async () => {
    try {
      open.push(await call("FILESRV", { calling: "THIRD" }));
      return true;
    } catch (error) {
      assert.ok(isHoldfastError(error, "establish-refused"));
      return false;
    }
  });
  for (const session of open) await session.close();

  const { port, gateway } = await standing({ limits: { handshakesPerPeer: 4, handshakeMs: 60_000 } });
  const silent = Array.from({ length: 6 }, () => raw(port));
  await until("two to be dropped", () => gateway.stats().dropped === 2);
  assert.equal(gateway.stats().connections, 4);
  for (const { socket } of silent) socket.destroy();
});

test("a connection that never asks is closed at the deadline", async () => {
  const { port } = await standing({ limits: { handshakeMs: 30 } });
  const slow = raw(port);
  slow.socket.write(REQUEST.subarray(0, 20));
  await slow.closed;
  assert.equal(slow.received(), "");
});

test("a message before any session closes the connection without an answer", async () => {
  const { port } = await standing();
  const wrong = raw(port);
  wrong.socket.write(Buffer.from("00000004ff534d42", "hex"));
  await wrong.closed;
  assert.equal(wrong.received(), "");
});

test("keepalive, request byte by byte, and data behind it before any answer: all of it arrives", async () => {
  const { port, backend } = await standing();
  const bare = raw(port);
  bare.socket.setNoDelay(true);
  const early = Buffer.concat([encodeMessageHeader(5), Buffer.from("early")]);
  for (const byte of Buffer.concat([KEEPALIVE, REQUEST])) {
    bare.socket.write(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  bare.socket.write(Buffer.concat([early, KEEPALIVE, early]));
  const wanted = `82000000${early.toString("hex")}${early.toString("hex")}`;
  await until("both echoes", () => bare.received() === wanted);
  assert.equal(backend.seen().length, 18);
  bare.socket.end();
  await bare.closed;
});

test("a packet that has no place in an open session ends it, and only it", async () => {
  const { port, kernel, call } = await standing({ lengthBits: 17 });
  const other = await call();
  for (const wrong of [REQUEST, Buffer.from("00020000", "hex")]) {
    const bare = raw(port);
    bare.socket.write(Buffer.concat([REQUEST, wrong]));
    await bare.closed;
  }
  await until(
    "both ends",
    async () => (await kernel.store.list({ term: "ended", limit: 10 })).found.length === 2,
  );
  const { found } = await kernel.store.list({ term: "ended", limit: 10 });
  assert.deepEqual(
    found.map(({ record }) => record.ended?.reason),
    ["protocol-error", "protocol-error"],
  );
  await other.send(Buffer.from("fine"));
  assert.equal(await next(other), "fine");
  await other.close();
});

test("keepalives between messages of a busy session leave them whole", async () => {
  const { call } = await standing({ keepalive: { everyMs: 1, during: "always" } });
  const session = await call("FILESRV", {
    keepalive: { everyMs: 1, during: "always" },
    maxMessageBytes: 1 << 24,
  });
  const payload = Buffer.alloc(300_000);
  for (let index = 0; index < payload.length; index++) payload[index] = index % 251;
  for (let round = 0; round < 40; round++) {
    await session.send(payload);
    for await (const message of session) {
      assert.ok(message.equals(payload));
      break;
    }
  }
  assert.ok(session.keepalivesReceived > 0);
  await session.close();
});

test("probing for names shows in the journal, without filling it", async () => {
  const { call, journal, gateway, kernel } = await standing({ limits: { probesMs: 60_000 } });
  for (let index = 0; index < 50; index++) await codeOf(call(`PROBE${index}`));
  const notes = (): JournalEntry[] => journal.filter(({ event }) => event === "note");
  await until("the first", () => notes().length === 1);
  const [first] = notes();
  assert.equal(first?.mechanism, "netbios");
  assert.deepEqual(first?.detail, {
    what: "call refused",
    address: "127.0.0.1",
    name: "PROBE0<20>",
    calling: "MYCLIENT<00>",
    answer: "called name not present",
  });
  await gateway.close();
  await until("the rest", () => notes().length === 2);
  const detail = notes()[1]?.detail;
  assert.equal(detail?.["more"], 49);
  assert.ok(Array.isArray(detail["names"]) && detail["names"].length === 16);
  await kernel.close();
});

test("when both ends vanish at the same moment, nothing is left behind", async () => {
  const { port, backend, gateway } = await standing();
  const clients = Array.from({ length: 60 }, () => raw(port));
  for (const { socket } of clients) socket.write(REQUEST);
  await until("all to be open", () => clients.every(({ received }) => received() === "82000000"));
  await until("their backends", () => backend.sockets.size === clients.length);
  for (const { socket } of clients) socket.end();
  for (const socket of backend.sockets) socket.resetAndDestroy();
  await until("all to be gone", () => gateway.stats().connections === 0 && gateway.stats().sessions === 0);
});

test("draining lets sessions finish and takes no new ones; its deadline ends the rest", async () => {
  const { gateway, call, port, kernel } = await standing();
  const session = await call();
  const silent = raw(port);
  await until("the silent one to be seen", () => gateway.stats().connections === 2);
  const drained = gateway.drain(60_000);
  await silent.closed;
  await assert.rejects(call(), (error) => isHoldfastError(error, "establish-refused"));
  await session.send(Buffer.from("still here"));
  assert.equal(await next(session), "still here");
  await session.close();
  await drained;
  assert.equal((await endOfOnly(kernel)).ended?.reason, "finished");

  const impatient = await standing();
  const stuck = await impatient.call();
  await impatient.gateway.drain(20);
  assert.equal((await endOfOnly(impatient.kernel)).ended?.reason, "evicted");
  await assert.rejects(next(stuck), (error) => isHoldfastError(error, "session-ended"));
});

test("the gateway's names resolve to it, and hosts can register theirs", async () => {
  const { gateway, kernel } = await standing();
  const names = gateway.names.map(({ name }) => name);
  const service = createNameService({ kernel, names, addresses: ["127.0.0.1"], register: "own-address" });
  closers.push(() => service.close());
  const { port } = await service.listen({ host: "127.0.0.1", port: 0 });
  const at = { host: "127.0.0.1", port };
  const found = await queryName("FILESRV", at);
  assert.ok(found.ok);
  assert.deepEqual(
    found.entries.map(({ address }) => address),
    ["127.0.0.1"],
  );
  assert.deepEqual(await queryName("NOSUCH", at), { ok: false, why: "no-such-name", rcode: 3 });
  const status = await nodeStatus(at);
  assert.deepEqual(
    status?.names.map((one) => `${one.name}/${one.suffix}`),
    ["FILESRV/32", "FILESRV/0", "DOWN/32", "DOWN/0"],
  );

  const claim = { name: "LAPTOP", address: "127.0.0.1", ttlMs: 60_000 };
  const granted = await registerName(claim, at);
  assert.ok(granted.ok && granted.ttlMs === 60_000);
  assert.ok((await refreshName(claim, at)).ok);
  assert.deepEqual(service.registered, [{ name: "LAPTOP<20>", addresses: ["127.0.0.1"] }]);
  assert.ok((await releaseName(claim, at)).ok);
  assert.deepEqual(service.registered, []);
  const refused = await registerName({ name: "LAPTOP", address: "10.9.9.9" }, at);
  assert.ok(!refused.ok && refused.why === "refused");
  const taken = await registerName({ name: "FILESRV", address: "127.0.0.1" }, at);
  assert.ok(!taken.ok && taken.why === "taken");

  const announced = await announceNames([claim, { ...claim, name: "PRINTER" }], at);
  assert.deepEqual(
    announced.answers.map(({ ok }) => ok),
    [true, true],
  );
  assert.ok((await queryName("PRINTER", at)).ok);
  await announced.close();
  assert.deepEqual(service.registered, []);

  const silent = await queryName("FILESRV", { host: "127.0.0.1", port: 1, attempts: 2, retryMs: 20 });
  assert.deepEqual(silent, { ok: false, why: "no-answer" });
});
