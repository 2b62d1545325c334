import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import type { Browser, Page } from "playwright-core";
import { createKernel } from "../../../src/kernel/index.ts";
import type { Dialog, DialogsOptions } from "../../../src/mechanisms/dialog/index.ts";
import { createDialogs } from "../../../src/mechanisms/dialog/index.ts";
import { memory } from "../../../src/store/memory/index.ts";
import { chromiumMissing, launchChromium } from "../../console/chromium.ts";
import { CutLink } from "./cut-link.ts";

const LIMIT_BYTES = 10_240;
const missing = chromiumMissing();
const folder = mkdtempSync(join(tmpdir(), "holdfast-dialog-client-"));
let browser: Browser | undefined;
/** Also of tests that fail on the way. */
const scenes = new Set<() => Promise<void>>();

before(async () => {
  execFileSync(process.execPath, ["script/dialog-client.mjs", folder], { stdio: "inherit" });
  if (missing === undefined) browser = await launchChromium();
});
after(async () => {
  for (const stop of scenes) await stop();
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

test("the browser's client is at most 10 kB, and needs nothing else to be loaded", () => {
  assert.deepEqual(readdirSync(folder).sort(), [
    "client.js",
    "client.js.map",
    "posted-browser.js",
    "posted-browser.js.map",
    "proof-key.js",
    "proof-key.js.map",
    "rules.js",
    "rules.js.map",
  ]);
  const code = readFileSync(join(folder, "client.js"), "utf8");
  const bytes = gzipSync(code, { level: 9 }).length;
  assert.ok(bytes <= LIMIT_BYTES, `it has ${bytes} bytes`);
  assert.doesNotMatch(code, /\bfrom\s*"|\brequire\(|node:|process\./);
});

interface Scene {
  readonly page: Page;
  readonly cut: CutLink;
  /** Of the server's side. */
  readonly dialog: () => Dialog;
  readonly got: string[];
  readonly faults: unknown[];
  readonly stop: () => Promise<void>;
}

/** A page with the client in it, whose way to the dialogs leads through a link that can be cut. */
async function scene(
  options: Partial<DialogsOptions>,
  opened: (dialog: Dialog) => void = () => undefined,
): Promise<Scene> {
  assert.ok(browser !== undefined);
  const faults: unknown[] = [];
  const got: string[] = [];
  let there: Dialog | undefined;
  const kernel = createKernel({ store: memory(), onFault: (error) => faults.push(error) });
  await kernel.start();
  const dialogs = createDialogs({
    kernel,
    authenticate: ({ authorization }) => (authorization === "ann" ? { principal: "ann" } : undefined),
    onFault: (error) => faults.push(error),
    ...options,
  });
  dialogs.on("open", async (dialog) => {
    there = dialog;
    opened(dialog);
    for await (const message of dialog) {
      got.push(message.text);
      await message.commit().catch(() => undefined);
    }
  });
  const server = createServer(serve);
  dialogs.attach(server, "/dialog");
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const cut = await new CutLink().start(port);
  const page = await browser.newPage();
  page.on("pageerror", (error) => faults.push(error));
  await page.goto(`http://127.0.0.1:${port}/?${cut.port}`);
  await page.waitForFunction("globalThis.client !== undefined");
  const stop = async (): Promise<void> => {
    scenes.delete(stop);
    await page.close();
    await dialogs.close();
    await cut.stop();
    server.closeAllConnections();
    server.close();
    await kernel.close();
  };
  scenes.add(stop);
  return {
    page,
    cut,
    stop,
    got,
    faults,
    dialog() {
      assert.ok(there !== undefined);
      return there;
    },
  };
}

function serve({ url = "/" }: IncomingMessage, response: ServerResponse): void {
  const name = /^\/(\w[\w-]*\.js)$/.exec(url)?.[1];
  if (name !== undefined) {
    response.setHeader("content-type", "text/javascript");
    return void response.end(readFileSync(join(folder, name)));
  }
  response.setHeader("content-type", "text/html");
  response.end(PAGE);
}

const PAGE = `<!doctype html><title>dialog</title><link rel="icon" href="data:,"><script type="module">
import * as client from "/client.js";
const url = "ws://127.0.0.1:" + location.search.slice(1) + "/dialog";
const options = { authorization: "ann", reconnect: { minMs: 5, maxMs: 100 } };
globalThis.open = async (more) => {
  const dialog = await client.connect(url, { ...options, ...more });
  const got = [];
  globalThis.dialog = dialog;
  globalThis.got = got;
  globalThis.downs = 0;
  dialog.on("link", (state) => { if (state === "down") downs++; });
  void (async () => {
    for await (const message of dialog) {
      got.push(message.text);
      message.commit().catch(() => undefined);
    }
  })();
};
globalThis.client = client;
</script>`;

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const giveUp = Date.now() + 60_000;
  while (!(await holds())) {
    assert.ok(Date.now() < giveUp, `waited a minute for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function numbered(count: number): string[] {
  return [...Array(count).keys()].map((index) => `message ${index}`);
}

const COUNT = 4000;

test(
  "in Chromium: both ways, over a link that is reset, half-open either way and silent, nothing is lost, doubled or reordered",
  { skip: missing },
  async () => {
    const { page, cut, got, faults, dialog, stop } = await scene({ pingMs: 150 }, (there) => {
      void (async () => {
        for (const message of numbered(COUNT)) await there.send(message);
      })();
    });
    await page.evaluate("open({})");
    const sending = page.evaluate(
      `(async () => { for (let i = 0; i < ${COUNT}; i++) await dialog.send("message " + i); })()`,
    );
    const here = (): Promise<number> => page.evaluate<number>("got.length");
    for (let turn = 1; turn <= 6; turn++) {
      await until("more", async () => got.length + (await here()) > turn * 800);
      await until("a link", () => page.evaluate<boolean>("dialog.linked"));
      const { links } = cut;
      if (turn % 3 === 0) cut.silence();
      else if (turn % 3 === 1) cut.halfOpen();
      else cut.reset();
      await until("another link", () => cut.links > links);
      // And once more while each side repeats what the other did not get.
      if (turn % 2 === 0) cut.reset();
    }
    await sending;
    await until("everything", async () => got.length >= COUNT && (await here()) >= COUNT);
    assert.deepEqual(got, numbered(COUNT));
    assert.deepEqual(await page.evaluate("got"), numbered(COUNT));
    assert.ok((await page.evaluate<number>("downs")) >= 3);
    await page.evaluate("dialog.finish()");
    await until("the end", () => dialog().ended?.reason === "finished");
    assert.deepEqual(faults, []);
    await stop();
  },
);

test(
  "in Chromium: turns, sync points and signed resumes load what they need when they are asked for",
  { skip: missing },
  async () => {
    const { page, cut, got, faults, dialog, stop } = await scene({}, (there) =>
      there.on("wanted", () => void there.giveTurn()),
    );
    const loaded: string[] = [];
    page.on("request", (request) => loaded.push(new URL(request.url()).pathname));
    await page.evaluate(`open({ mode: "half-duplex", sync: true, proof: true })`);
    assert.deepEqual(loaded.sort(), ["/proof-key.js", "/rules.js"]);
    await page.evaluate(`(async () => {
      await dialog.send("one", { until: "acked" });
      globalThis.point = await dialog.minorSync();
      await point.confirmed;
      await dialog.giveTurn();
    })()`);
    await until("the turn", () => dialog().hasTurn);
    const refused = await page.evaluate(
      `dialog.send("not mine").then(() => "sent", (error) => ({ name: error.name, code: error.code, reason: error.detail.reason }))`,
    );
    assert.deepEqual(refused, {
      name: "HoldfastError",
      code: "illegal-transition",
      reason: "token:text:data",
    });
    cut.reset();
    await dialog().send("reply", { until: "acked" });
    const { links } = cut;
    cut.reset();
    await until("another link", () => cut.links > links);
    const serial = await page.evaluate(`(async () => {
      await dialog.takeTurn();
      await dialog.minorSync();
      await dialog.send("two", { until: "acked" });
      return dialog.resynchronize({ restart: point });
    })()`);
    assert.equal(serial, await page.evaluate("point.serial"));
    assert.deepEqual(await page.evaluate("got"), ["reply"]);
    assert.deepEqual(got, ["one", "two"]);
    await page.evaluate("dialog.finish()");
    assert.deepEqual(await page.evaluate("dialog.ended"), { reason: "finished", why: "" });
    assert.deepEqual(faults, []);
    await stop();
  },
);

test("in Chromium: who is not let in learns why", { skip: missing }, async () => {
  const { page, faults, stop } = await scene({});
  const told = await page.evaluate(
    `open({ authorization: "eve" }).then(() => "open", (error) => ({ code: error.code, detail: error.detail }))`,
  );
  assert.deepEqual(told, { code: "establish-refused", detail: { code: 1 } });
  assert.deepEqual(faults, []);
  await stop();
});
