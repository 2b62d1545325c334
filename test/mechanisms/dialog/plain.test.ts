import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isHoldfastError } from "../../../src/kernel/index.ts";
import { EventSplitter } from "../../../src/mechanisms/dialog/event-stream.ts";
import type { Arrival, Dialog, DialogsOptions } from "../../../src/mechanisms/dialog/index.ts";
import { embeddedLog } from "../../../src/store/embedded/log.ts";
import { memory } from "../../../src/store/memory/index.ts";
import { isFault } from "../../../src/wire/fault.ts";
import { numbered, sendAll, served, until } from "./served.ts";

const base = mkdtempSync(join(tmpdir(), "holdfast-plain-"));
after(() => rmSync(base, { recursive: true, force: true }));

/** What an EventSource does, so that a test can look inside and cut it anywhere. */
class Reader {
  readonly texts: string[] = [];
  readonly others: string[] = [];
  lastId = "";
  /** The status that ended it for good, 204 included. */
  status = 0;
  requests = 0;
  readonly #url: string;
  readonly #who: string;
  #abort = new AbortController();
  #stopped = false;

  constructor(url: string, who = "ann") {
    this.#url = url;
    this.#who = who;
    void this.#run();
  }

  /** Loses the connection, and comes again by itself. */
  cut(): void {
    this.#abort.abort();
  }

  stop(): void {
    this.#stopped = true;
    this.cut();
  }

  async #run(): Promise<void> {
    while (!this.#stopped && this.status === 0) {
      this.#abort = new AbortController();
      this.requests++;
      const headers = {
        authorization: this.#who,
        accept: "text/event-stream",
        ...(this.lastId !== "" && { "last-event-id": this.lastId }),
      };
      try {
        const response = await fetch(this.#url, { headers, signal: this.#abort.signal });
        if (response.status !== 200) this.status = response.status;
        let text = "";
        for await (const chunk of response.body ?? []) {
          text += Buffer.from(chunk).toString();
          const whole = text.lastIndexOf("\n\n") + 2;
          if (whole >= 2) this.#take(text.slice(0, whole));
          text = text.slice(Math.max(whole, 0));
        }
      } catch {
        // Cut: by the test, or by the server.
      }
    }
  }

  #take(text: string): void {
    for (const block of text.split("\n\n")) {
      const events = new EventSplitter(1 << 22).push(Buffer.from(`${block}\n\n`));
      assert.ok(!isFault(events));
      this.lastId = /^id: (.*)$/m.exec(block)?.[1] ?? this.lastId;
      for (const { event, data } of events)
        if (event === "message") this.texts.push(data);
        else this.others.push(`${event} ${data}`);
    }
  }
}

/** Sends what has not been sent yet by another node, until this one does not have the dialog any more. */
async function passOn(dialog: Dialog, arrival: Arrival, texts: readonly string[]): Promise<void> {
  const last = await arrival.lastSent();
  const from = last === undefined ? 0 : texts.indexOf(Buffer.from(last.bytes).toString()) + 1;
  try {
    await sendAll(dialog, texts.slice(from));
  } catch (error) {
    assert.ok(isHoldfastError(error, "session-ended"), String(error));
  }
}

test("an EventSource gets everything once and in order, however often it is cut, and on another node as well", async () => {
  const store = memory();
  const log = embeddedLog({ path: join(base, "nodes") });
  const options: Partial<DialogsOptions> = { log };
  const one = await served({ store, ...options });
  const two = await served({ store, ...options });
  let dialog: Dialog | undefined;
  for (const server of [one, two])
    server.dialogs.on("open", (opened, arrival) => {
      dialog = opened;
      const { label, principal } = arrival;
      assert.equal(principal, "ann");
      assert.equal(label, "news");
      void passOn(opened, arrival, numbered(2000));
    });
  // One address that leads to either node, in turns.
  const ports = [one.port, two.port];
  const front = (await import("node:http")).createServer((request, response) => {
    const server = ports.push(ports.shift() ?? 0) > 0 && ports[0] === one.port ? one : two;
    server.dialogs.handle(request, response);
  });
  await new Promise<void>((resolve) => front.listen(0, "127.0.0.1", resolve));
  const at = front.address();
  assert.ok(at !== null && typeof at === "object");
  const reader = new Reader(`http://127.0.0.1:${at.port}/dialog?label=news`);
  for (let turn = 1; turn <= 5; turn++) {
    await until("more", () => reader.texts.length >= turn * 100);
    const { requests } = reader;
    reader.cut();
    await until("the next request", () => reader.requests > requests);
  }
  await until("everything", () => reader.texts.length >= 2000);
  await until("the link", () => dialog?.linked === true);
  await dialog?.send("line one\nline two");
  await dialog?.send(Uint8Array.of(0, 255));
  await until("the last", () => reader.others.length === 1);
  assert.deepEqual(reader.texts, [...numbered(2000), "line one\nline two"]);
  assert.deepEqual(reader.others, ["data AP8="]);
  // It finishes in order: the reader comes again for the end, and is told not to any more.
  const finished = dialog?.finish().catch((error: unknown) => error);
  await until("the end", () => reader.status === 204);
  const outcome = await finished;
  // Its end may have been made on the other node.
  assert.ok(outcome === undefined || isHoldfastError(outcome, "session-ended"), String(outcome));
  assert.equal(dialog?.ended?.reason, "finished");
  assert.deepEqual([...one.faults, ...two.faults], []);
  front.closeAllConnections();
  front.close();
  await one.stop();
  await two.stop();
  await log.close();
});

test("what is unacknowledged is bounded: a reader that is too far ahead comes back to acknowledge, and loses nothing", async () => {
  const server = await served({ outboxBytes: 20_000 });
  let most = 0;
  server.dialogs.on("open", async (dialog) => {
    for (const text of numbered(3000, "a message of some length")) {
      await dialog.send(text);
      most = Math.max(most, dialog.backlog);
    }
  });
  const reader = new Reader(server.url);
  await until("everything", () => reader.texts.length >= 3000);
  assert.deepEqual(reader.texts, numbered(3000, "a message of some length"));
  assert.ok(reader.requests > 4, `${reader.requests} requests`);
  assert.ok(most < 1500, `${most} messages were held`);
  reader.stop();
  assert.deepEqual(server.faults, []);
  await server.stop();
});

test("a feed that keeps its newest says what it left out", async () => {
  const server = await served({ keepNewest: 100 });
  let dialog: Dialog | undefined;
  server.dialogs.on("open", (opened) => void (dialog = opened));
  const first = new Reader(server.url);
  await until("the dialog", () => dialog?.linked === true);
  await dialog?.send("before");
  await until("it", () => first.texts.length === 1);
  first.stop();
  await until("the loss", () => dialog?.linked === false);
  if (dialog !== undefined) await sendAll(dialog, numbered(1000));
  const second = await fetch(server.url, {
    headers: { authorization: "ann", "last-event-id": first.lastId },
  });
  const events: { event: string; data: string }[] = [];
  const splitter = new EventSplitter(1 << 20);
  for await (const chunk of second.body ?? []) {
    const cut = splitter.push(chunk);
    assert.ok(!isFault(cut));
    events.push(...cut);
    if (events.at(-1)?.data === "message 999") break;
  }
  const [gap, ...rest] = events;
  assert.equal(gap?.event, "gap");
  const { from, to } = JSON.parse(gap?.data ?? "{}") as { from: number; to: number };
  assert.equal(from, 1);
  assert.equal(rest.length, 1000 - (to - from + 1));
  assert.deepEqual(
    rest.map((one) => one.data),
    numbered(1000).slice(to),
  );
  await server.stop();
});

test("nobody reads on without the right to: strangers, spent ids, nonsense, ended dialogs", async () => {
  const server = await served({ policy: { quietMs: 0 } });
  const dialogs: Dialog[] = [];
  server.dialogs.on("open", (opened) => void dialogs.push(opened));
  const status = async (id: string, who = "ann"): Promise<number> => {
    const abort = new AbortController();
    const headers = { "last-event-id": id, ...(who !== "" && { authorization: who }) };
    const response = await fetch(server.url, { headers, signal: abort.signal });
    abort.abort();
    return response.status;
  };
  const reader = new Reader(server.url);
  await until("the dialog", () => dialogs[0]?.linked === true);
  await dialogs[0]?.send("a secret of ann's");
  await until("it", () => reader.texts.length === 1);
  const stale = reader.lastId;
  assert.equal(await status("", ""), 401);
  const framed = await fetch(server.url, { headers: { authorization: "ann", "sec-fetch-dest": "image" } });
  assert.equal(framed.status, 406);
  assert.equal(await status(stale, ""), 401);
  assert.equal(await status(stale, "eve"), 410);
  for (const id of [
    "17",
    "-1.x.y",
    `9${stale}`,
    `${stale}x`,
    stale.replace(/\.\w+\./, ".."),
    "9".repeat(400),
  ])
    assert.equal(await status(id), 410, id);
  assert.equal(reader.texts.length, 1);
  // Twice on: what the first request brought along is spent then, and whoever still has it is not the reader.
  for (let turn = 0; turn < 2; turn++) {
    const { lastId } = reader;
    reader.cut();
    await until("the next secret", () => reader.lastId !== lastId);
  }
  assert.equal(await status(stale), 410);
  await until("the end for everybody", () => dialogs[0]?.ended?.reason === "revoked");
  await until("the reader to hear it", () => reader.status !== 0);
  assert.equal(reader.status, 403);
  assert.deepEqual(server.faults, []);
  await server.stop();
});

test("curl reads on exactly behind what it had", async (t) => {
  const server = await served();
  let dialog: Dialog | undefined;
  server.dialogs.on("open", (opened) => {
    dialog = opened;
    void sendAll(opened, numbered(300));
  });
  const curl = async (id: string, enough: (text: string) => boolean): Promise<string | undefined> => {
    const resuming = id === "" ? [] : ["-H", `Last-Event-ID: ${id}`];
    const child = spawn("curl", ["-sN", "-m", "60", "-H", "Authorization: ann", ...resuming, server.url]);
    after(() => child.kill("SIGKILL"));
    let text = "";
    return new Promise((resolve, reject) => {
      child.on("error", (error: NodeJS.ErrnoException) =>
        error.code === "ENOENT" && process.env["CI"] !== "true" ? resolve(undefined) : reject(error),
      );
      child.stdout.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        if (enough(text)) child.kill("SIGKILL");
      });
      child.on("close", () => resolve(text));
    });
  };
  const messages = (text: string): string[] =>
    [...text.matchAll(/^data: (.*)\n\n/gm)].map(([, one]) => one ?? "");
  const first = await curl("", (text) => messages(text).length >= 100);
  if (first === undefined) return t.skip("curl is not installed");
  const whole = first.slice(0, first.lastIndexOf("\n\n") + 2);
  const got = messages(whole);
  const id = [...whole.matchAll(/^id: (.*)$/gm)].at(-1)?.[1] ?? "";
  assert.match(id, new RegExp(`^${got.length - 1}\\.`));
  await dialog?.send("while nobody reads");
  const second = await curl(id, (text) => text.includes("while nobody reads\n\n"));
  assert.deepEqual([...got, ...messages(second ?? "")], [...numbered(300), "while nobody reads"]);
  await server.stop();
});
