import assert from "node:assert/strict";
import { randomBytes, randomInt } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { connectOver } from "../../../src/mechanisms/dialog/client.ts";
import { connect } from "../../../src/mechanisms/dialog/client-node.ts";
import type { NodeConnectOptions } from "../../../src/mechanisms/dialog/client-node.ts";
import { decodeFrames, encodeFrame } from "../../../src/mechanisms/dialog/codec.ts";
import {
  EventSplitter,
  fromBase64url,
  toBase64url,
  toEvent,
} from "../../../src/mechanisms/dialog/event-stream.ts";
import type { Frame } from "../../../src/mechanisms/dialog/frames.ts";
import { REFUSED } from "../../../src/mechanisms/dialog/numbers.ts";
import * as UNIT from "../../../src/mechanisms/dialog/units.ts";
import type { Dialog } from "../../../src/mechanisms/dialog/index.ts";
import { explain } from "../../../src/mechanisms/dialog/machine/reasons.ts";
import { rulesFor } from "../../../src/mechanisms/dialog/machine/rules-for.ts";
import { nodeFetcher } from "../../../src/mechanisms/dialog/node-fetcher.ts";
import type { Fetcher } from "../../../src/mechanisms/dialog/posted-link.ts";
import { postedLink } from "../../../src/mechanisms/dialog/posted-link.ts";
import { embeddedLog } from "../../../src/store/embedded/log.ts";
import { memory } from "../../../src/store/memory/index.ts";
import { isFault } from "../../../src/wire/fault.ts";
import { CutLink } from "./cut-link.ts";
import { numbered, reading, sendAll, served, until } from "./served.ts";

const base = mkdtempSync(join(tmpdir(), "holdfast-posted-"));
after(() => rmSync(base, { recursive: true, force: true }));

const FAST: NodeConnectOptions = { authorization: "ann", reconnect: { minMs: 5, maxMs: 50 } };

test("an event stream, cut anywhere, is the same events; what is too long is a fault", () => {
  const data = ["one", "two\nlines", "", "ünï", "cr\r\nlf"];
  const text = data
    .map((one, index) => toEvent(one, { event: `e${index}`, id: String(index) }))
    .join(": noise\n\n");
  const bytes = new TextEncoder().encode(text);
  const expected = data.map((one, index) => ({ event: `e${index}`, data: one.replace("\r\n", "\n") }));
  for (const step of [1, 2, 3, 7, bytes.length]) {
    const splitter = new EventSplitter(1000);
    const events = [];
    for (let at = 0; at < bytes.length; at += step) {
      const cut = splitter.push(bytes.subarray(at, at + step));
      assert.ok(!isFault(cut));
      events.push(...cut);
    }
    assert.deepEqual(events, expected);
  }
  assert.ok(isFault(new EventSplitter(10).push(new TextEncoder().encode("data: 0123456789"))));
  const lines = new EventSplitter(100);
  let ended = false;
  for (let turn = 0; turn < 50 && !ended; turn++)
    ended = isFault(lines.push(new TextEncoder().encode("data: 0123456789\n")));
  assert.ok(ended, "an event that does not end must not grow for ever");
  for (let size = 0; size < 100; size++) {
    const some = randomBytes(size);
    assert.deepEqual(Buffer.from(fromBase64url(toBase64url(some)) ?? []), some);
  }
  assert.equal(fromBase64url("a b"), undefined);
  assert.equal(fromBase64url("abcde"), undefined);
});

for (const logged of [false, true]) {
  test(`http, ${logged ? "with a log" : "in memory"}: both ways, through resets and half-open links, nothing is lost, doubled or reordered`, async () => {
    const log = logged ? embeddedLog({ path: join(base, "log") }) : undefined;
    const server = await served(log === undefined ? {} : { log });
    const cut = await new CutLink().start(server.port);
    let there: Dialog | undefined;
    let gotThere: string[] = [];
    server.dialogs.on("open", (dialog) => {
      there = dialog;
      gotThere = reading(dialog);
      void sendAll(dialog, numbered(3000));
    });
    const here = await connect(`http://127.0.0.1:${cut.port}/dialog`, { ...FAST, proof: true });
    const gotHere = reading(here);
    const sent = sendAll(here, numbered(3000));
    for (let turn = 1; turn <= 6; turn++) {
      await until("more", () => gotHere.length + gotThere.length > turn * 800);
      if (turn % 2 === 0) cut.reset();
      else cut.halfOpen();
    }
    await sent;
    await until("everything", () => gotHere.length >= 3000 && gotThere.length >= 3000);
    assert.deepEqual(gotHere, numbered(3000));
    assert.deepEqual(gotThere, numbered(3000));
    await here.finish();
    await until("the end on the server", () => there?.ended?.reason === "finished");
    assert.deepEqual(server.faults, []);
    assert.equal(await (await fetch(`http://127.0.0.1:${server.port}/`)).text(), "something else");
    await cut.stop();
    await server.stop();
    await log?.close();
  });
}

test("over http a dialog goes on on another node, turns included", async () => {
  const store = memory();
  const log = embeddedLog({ path: join(base, "moving") });
  const one = await served({ store, log });
  const two = await served({ store, log });
  const cut = await new CutLink().start(one.port);
  const got: string[] = [];
  const dialogs: Dialog[] = [];
  for (const server of [one, two])
    server.dialogs.on("open", async (dialog) => {
      dialogs.push(dialog);
      for await (const message of dialog) {
        got.push(message.text);
        await message.commit().catch(() => undefined);
      }
    });
  const here = await connect(`http://127.0.0.1:${cut.port}/dialog`, { ...FAST, mode: "half-duplex" });
  const gotHere = reading(here);
  for (const text of numbered(200)) await here.send(text, { until: "acked" });
  cut.target = two.port;
  cut.halfOpen();
  await here.giveTurn();
  await until("the turn on the second node", () => dialogs[1]?.hasTurn === true);
  await dialogs[1]?.send("reply", { until: "acked" });
  assert.deepEqual(got, numbered(200));
  assert.deepEqual(gotHere, ["reply"]);
  here.abort();
  await until("the end on the server", () => dialogs[1]?.ended?.reason === "aborted");
  assert.deepEqual([...one.faults, ...two.faults], []);
  await cut.stop();
  await one.stop();
  await two.stop();
  await log.close();
});

test("where WebSockets are refused, or swallowed, the client goes another way by itself", async () => {
  const server = await served();
  server.dialogs.on("open", (dialog) => void reading(dialog));
  for (const refuses of ["refused", "reset"]) {
    const sockets = new Set<Socket>();
    const proxy = createServer((request, response) => server.dialogs.handle(request, response));
    proxy.on("connection", (socket: Socket) => sockets.add(socket));
    proxy.on("upgrade", (_request, socket: Socket) =>
      refuses === "reset" ? socket.resetAndDestroy() : socket.end("HTTP/1.1 403 Forbidden\r\n\r\n"),
    );
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const { port } = proxy.address() as AddressInfo;
    const here = await connect(`ws://127.0.0.1:${port}/dialog`, FAST);
    await here.send("one", { until: "acked" });
    for (const socket of sockets) socket.resetAndDestroy();
    await until("the loss", () => !here.linked);
    await here.send("two", { until: "acked" });
    await here.finish();
    proxy.closeAllConnections();
    proxy.close();
  }
  assert.deepEqual(server.faults, []);
  await server.stop();
});

const OPEN: Frame = {
  type: "open",
  version: 1,
  units: UNIT.duplex,
  placement: 0,
  checkpointBytes: 0,
  checkpointWindow: 0,
  maxMessageBytes: 1000,
  credit: { messages: 100, bytes: 100_000 },
  holdMs: 60_000,
  proofKey: new Uint8Array(0),
  authorization: "ann",
  label: "",
  data: new Uint8Array(0),
};
const FRAMES = { "content-type": "application/octet-stream" };

/** A peer that says what it likes, over HTTP. */
class RawPosts {
  readonly url: string;
  readonly frames: Frame[] = [];
  readonly #abort = new AbortController();
  token = "";
  closed = false;

  constructor(url: string) {
    this.url = url;
  }

  async open(...first: readonly Uint8Array[]): Promise<number> {
    const response = await fetch(this.url, {
      method: "POST",
      headers: FRAMES,
      body: Buffer.concat(first),
      signal: this.#abort.signal,
    });
    if (response.status !== 200) {
      await response.arrayBuffer();
      return response.status;
    }
    void this.#listen(response).catch(() => (this.closed = true));
    await until("the link token", () => this.token !== "");
    return response.status;
  }

  async post(turn: number | string, body: Uint8Array, more: Record<string, string> = {}): Promise<number> {
    const headers = { ...FRAMES, "holdfast-link": this.token, "holdfast-turn": String(turn), ...more };
    const response = await fetch(this.url, { method: "POST", headers, body });
    await response.arrayBuffer();
    return response.status;
  }

  async hears<Type extends Frame["type"]>(type: Type): Promise<Extract<Frame, { type: Type }>> {
    const find = () => this.frames.find((one): one is Extract<Frame, { type: Type }> => one.type === type);
    await until(type, () => find() !== undefined);
    const found = find();
    assert.ok(found !== undefined);
    return found;
  }

  leave(): void {
    this.#abort.abort();
  }

  async #listen(response: Response): Promise<void> {
    const splitter = new EventSplitter(1 << 20);
    for await (const chunk of response.body ?? []) {
      const events = splitter.push(chunk);
      assert.ok(!isFault(events));
      for (const { event, data } of events) {
        if (event === "link") this.token = data;
        else {
          const frames = decodeFrames(fromBase64url(data) ?? new Uint8Array(0));
          assert.ok(!isFault(frames));
          this.frames.push(...frames);
        }
      }
    }
    this.closed = true;
  }
}

test("hostile posts: each gets its answer, and none costs a dialog of somebody else's", async () => {
  const server = await served({ pendingLinks: 4 });
  const texts: string[] = [];
  server.dialogs.on("open", async (dialog) => {
    for await (const message of dialog) {
      texts.push(message.text);
      await message.commit();
    }
  });
  const peer = new RawPosts(server.url);
  assert.equal(await peer.open(encodeFrame(OPEN)), 200);
  await peer.hears("opened");
  const text = (said: string): Uint8Array => encodeFrame({ type: "text", bytes: Buffer.from(said) });
  // A turn that was heard does nothing when it comes again; one that is ahead of its time is refused.
  assert.equal(await peer.post(0, text("first")), 204);
  assert.equal(await peer.post(0, text("not again")), 204);
  assert.equal(await peer.post(2, text("too early")), 409);
  assert.equal(await peer.post(1, text("second")), 204);
  for (const turn of ["", "-1", "1.5", "x", "9".repeat(30)])
    assert.equal(await peer.post(turn, text("no")), 400);
  assert.equal(await peer.post(2, text("no"), { "holdfast-link": "guessed" }), 404);
  assert.equal(await peer.post(2, text("no"), { "content-type": "text/plain" }), 415);
  await until("both", () => texts.length === 2);
  assert.deepEqual(texts, ["first", "second"]);

  // What does not even open one.
  const other = new RawPosts(server.url);
  assert.equal(await other.open(randomBytes(200_000)), 413);
  assert.equal((await fetch(server.url, { method: "PUT" })).status, 405);
  assert.equal((await fetch(server.url, { method: "POST", body: "x=1" })).status, 415);
  assert.equal(
    (await fetch(server.url, { method: "DELETE", headers: { "holdfast-link": "x" } })).status,
    404,
  );
  for (const first of [
    randomBytes(20),
    encodeFrame({ type: "pong", id: 1 }),
    Buffer.concat([encodeFrame(OPEN), text("!")]),
  ]) {
    const noise = new RawPosts(server.url);
    assert.equal(await noise.open(first), 200);
    assert.equal((await noise.hears("refused")).code, REFUSED.malformed);
    await until("its end", () => noise.closed);
    assert.equal(await noise.post(0, text("still here?")), 404);
  }
  const nobody = new RawPosts(server.url);
  await nobody.open(encodeFrame({ ...OPEN, authorization: "" }));
  assert.equal((await nobody.hears("refused")).code, REFUSED.unauthorized);

  // A broken rule ends the dialog with its reason, and the link with it.
  assert.equal(await peer.post(2, encodeFrame({ type: "minor", serial: 5 })), 204);
  assert.match((await peer.hears("abort")).why, /minor/);
  await until("its end", () => peer.closed);
  assert.equal(await peer.post(3, text("after the end")), 404);
  assert.deepEqual(server.faults, []);
  await server.stop();
});

test("DELETE ends a link and not the dialog; a secret is good once; links that never open anything are few", async () => {
  const server = await served({ pendingLinks: 2, policy: { quietMs: 0 } });
  server.dialogs.on("open", (dialog) => void reading(dialog));
  const peer = new RawPosts(server.url);
  await peer.open(encodeFrame(OPEN));
  const { handle, secret } = await peer.hears("opened");
  const gone = await fetch(server.url, { method: "DELETE", headers: { "holdfast-link": peer.token } });
  assert.equal(gone.status, 204);
  await until("its end", () => peer.closed);
  const resume: Frame = {
    type: "resume",
    handle,
    secret,
    authorization: "ann",
    position: { next: 0, committed: 0, sent: 0 },
    credit: { messages: 10, bytes: 1000 },
  };
  const again = new RawPosts(server.url);
  await again.open(encodeFrame(resume));
  await again.hears("resumed");
  // Its first frame makes the old secret a spent one.
  assert.equal(await again.post(0, encodeFrame({ type: "ack", next: 0, credit: resume.credit })), 204);
  await until("the confirmation", async () => {
    const { credentials } = (await server.kernel.lookUp(handle as never)) ?? {};
    return credentials !== undefined && credentials.pending === undefined;
  });
  const thief = new RawPosts(server.url);
  await thief.open(encodeFrame(resume));
  assert.equal((await thief.hears("refused")).code, REFUSED.unknown);
  assert.equal((await again.hears("abort")).code, 3);
  await server.stop();

  const busy = await served({
    pendingLinks: 2,
    authenticate: () => new Promise(() => undefined),
  });
  const waiting = [new RawPosts(busy.url), new RawPosts(busy.url)];
  for (const one of waiting) assert.equal(await one.open(encodeFrame(OPEN)), 200);
  assert.equal(await new RawPosts(busy.url).open(encodeFrame(OPEN)), 503);
  for (const one of waiting) one.leave();
  await until("room again", async () => {
    const next = new RawPosts(busy.url);
    const status = await next.open(encodeFrame(OPEN));
    next.leave();
    return status === 200;
  });
  await busy.stop();
});

test("requests that are lost on the way, or whose answer is, are said again and heard once", async (t) => {
  const seed = randomInt(2 ** 31);
  t.diagnostic(`SEED=${seed}`);
  let state = seed;
  const chance = (percent: number): boolean => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >> 8) % 100 < percent;
  };
  const server = await served();
  let got: string[] = [];
  server.dialogs.on("open", (dialog) => {
    got = reading(dialog);
    void sendAll(dialog, numbered(500));
  });
  const real = nodeFetcher();
  let lost = 0;
  let unanswered = 0;
  const lossy: Fetcher = async (url, request) => {
    const isTurn = request.headers["holdfast-turn"] !== undefined;
    if (isTurn && chance(20)) {
      lost++;
      throw new Error("lost on the way");
    }
    const answer = await real(url, request);
    if (!isTurn || !chance(20)) return answer;
    unanswered++;
    throw new Error("the answer was lost");
  };
  const here = await connectOver(
    {
      open: (url, listener) => postedLink(url, listener, lossy),
      defer: (run) => process.nextTick(run),
      rules: rulesFor,
      explain,
    },
    server.url,
    FAST,
  );
  const gotHere = reading(here);
  for (const text of numbered(500)) {
    await here.send(text);
    // So that there are many turns.
    if (chance(30)) await new Promise((resolve) => setImmediate(resolve));
  }
  await until("everything", () => got.length >= 500 && gotHere.length >= 500);
  for (let turn = 0; turn < 40 || lost === 0 || unanswered === 0; turn++)
    await here.send(`more ${turn}`, { until: "acked" });
  assert.deepEqual(got.slice(0, 500), numbered(500));
  assert.deepEqual(got.slice(500), numbered(got.length - 500, "more"));
  assert.deepEqual(gotHere, numbered(500));
  assert.deepEqual(server.faults, []);
  await here.finish();
  await server.stop();
});
