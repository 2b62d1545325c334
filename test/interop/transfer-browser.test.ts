import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { build } from "esbuild";
import type { Browser, Page } from "playwright-core";
import type { Kernel } from "../../src/kernel/index.ts";
import { createKernel } from "../../src/kernel/index.ts";
import type { FinishedFile, Transfers, TransferStorage } from "../../src/mechanisms/transfer/index.ts";
import { createTransfers, openDiskStorage } from "../../src/mechanisms/transfer/index.ts";
import { memory } from "../../src/store/memory/index.ts";
import { chromiumMissing, launchChromium } from "../console/chromium.ts";

const skip = chromiumMissing() ?? false;
const CHUNK = 128 * 1024;
const CONTENT = randomBytes(16 * CHUNK + 777);

let folder: string;
let browser: Browser;
let server: Server;
let origin: string;
let kernel: Kernel;
let store: TransferStorage;
let transfers: Transfers;
let bundle: string;
let finished: FinishedFile[] = [];
let patches: { readonly offset: number; bytes: number }[] = [];
/** The furthest offset that an answer has told. */
let acknowledged = 0;
let away = false;
/** Asked before each PATCH is handled; true when it has dealt with the request. */
let inFront: (request: IncomingMessage, response: ServerResponse) => boolean = () => false;

before(async () => {
  if (skip !== false) return;
  folder = mkdtempSync(join(tmpdir(), "holdfast-transfer-browser-"));
  const built = await build({
    entryPoints: ["test/interop/uppy-page.js"],
    bundle: true,
    write: false,
    format: "iife",
    platform: "browser",
    logLevel: "silent",
  });
  bundle = built.outputFiles[0]?.text ?? "";
  await begin();
  server = createServer({ requestTimeout: 0 }, serve).listen(0, "127.0.0.1");
  await once(server, "listening");
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  browser = await launchChromium();
});

beforeEach(() => {
  finished = [];
  patches = [];
  acknowledged = 0;
  inFront = () => false;
});

after(async () => {
  if (skip !== false) return;
  await browser.close();
  await end();
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** All that a server process has: what it knows beyond the disk goes with it. */
async function begin(): Promise<void> {
  kernel = createKernel({ store: memory() });
  store = await openDiskStorage(join(folder, "uploads"));
  transfers = createTransfers({
    store,
    kernel,
    policy: { commitBytes: 32 * 1024, watermarkBytes: 0 },
    onFinish: (file) => void finished.push(file),
  });
}

async function end(): Promise<void> {
  await transfers.close();
  await store.close();
  await kernel.close();
}

function serve(request: IncomingMessage, response: ServerResponse): void {
  if (away) request.destroy();
  else if (request.url?.startsWith("/files") === true) {
    if (request.method === "PATCH") {
      if (inFront(request, response)) return;
      const patch = { offset: Number(request.headers["upload-offset"]), bytes: 0 };
      patches.push(patch);
      assert.ok(patch.offset >= acknowledged, `${acknowledged} was acknowledged, ${patch.offset} was sent`);
      request.on("data", (chunk: Buffer) => (patch.bytes += chunk.length));
      response.on("finish", () => {
        if (response.statusCode === 204) acknowledged = Number(response.getHeader("upload-offset"));
      });
    }
    transfers.node(request, response).catch(() => response.destroy());
  } else if (request.url === "/uppy.js") {
    response.writeHead(200, { "content-type": "text/javascript" }).end(bundle);
  } else if (request.url === "/source") response.end(CONTENT);
  else {
    response
      .writeHead(200, { "content-type": "text/html" })
      .end('<!doctype html><title>uploads</title><script src="/uppy.js"></script>');
  }
}

async function eventually<T>(what: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline) {
    const found = await what();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error("it did not come about");
}

async function assertArrived(page: Page, name: string): Promise<void> {
  const outcome = await eventually(
    async () => (await page.evaluate("outcome()")) as { good: string[]; bad: string[] } | undefined,
  );
  assert.deepEqual(outcome.bad, []);
  assert.equal(outcome.good.length, 1);
  const [file] = finished;
  assert.equal(finished.length, 1);
  assert.equal(file?.name, name);
  assert.equal(file?.type, "application/x-test");
  assert.deepEqual(Buffer.from(file?.sha256 ?? []), createHash("sha256").update(CONTENT).digest());
  const stored = await fetch(new URL(outcome.good[0] ?? "", origin));
  assert.deepEqual(Buffer.from(await stored.arrayBuffer()), CONTENT);
}

async function open(): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  await page.goto(origin);
  return page;
}

test(
  "Uppy goes on by itself after its connection was cut and the server was another one",
  { skip },
  async () => {
    const page = await open();
    let seen = 0;
    inFront = (request) => {
      seen += 1;
      if (seen !== 6) return false;
      // What it sends is lost on the way, and so is the server.
      request.once("data", () => {
        request.destroy();
        away = true;
        void end()
          .then(begin)
          .then(() => (away = false));
      });
      return true;
    };
    await page.evaluate('begin("cut.bin")');
    await assertArrived(page, "cut.bin");
    // Only what was under way may go twice: Chromium itself sends it again on a fresh connection.
    const sent = patches.reduce((sum, one) => sum + one.bytes, 0);
    assert.ok(sent >= CONTENT.length && sent <= CONTENT.length + CHUNK, `${sent} bytes were sent`);
    assert.equal(patches[5]?.offset, 5 * CHUNK);
    await page.context().close();
  },
);

test("Uppy goes on where it was after its page was closed and opened again", { skip }, async () => {
  const page = await open();
  const held = new Promise<void>((resolve) => {
    let seen = 0;
    inFront = () => {
      seen += 1;
      if (seen <= 9) return false;
      resolve();
      return true;
    };
  });
  await page.evaluate('begin("reopened.bin")');
  await held;
  await page.reload();
  inFront = () => false;
  const before = patches.length;
  await page.evaluate('begin("reopened.bin")');
  await assertArrived(page, "reopened.bin");
  assert.equal(patches[before]?.offset, 9 * CHUNK);
  assert.equal(
    patches.reduce((sum, one) => sum + one.bytes, 0),
    CONTENT.length,
  );
  await page.context().close();
});

test("Uppy pauses and resumes, and nothing is sent twice but what was under way", { skip }, async () => {
  const page = await open();
  await page.evaluate('begin("paused.bin")');
  await eventually(() => (patches.length >= 3 ? true : undefined));
  await page.evaluate("pauseAll()");
  await page.evaluate("resumeAll()");
  await assertArrived(page, "paused.bin");
  const sent = patches.reduce((sum, one) => sum + one.bytes, 0);
  assert.ok(sent >= CONTENT.length && sent <= CONTENT.length + CHUNK, `${sent} bytes were sent`);
  await page.context().close();
});
