import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import type { Dialog } from "../../../src/mechanisms/dialog/index.ts";
import { chromiumMissing, launchChromium } from "../../console/chromium.ts";
import { CutLink } from "./cut-link.ts";
import { numbered, reading, sendAll, served, until } from "./served.ts";

const missing = chromiumMissing();
const folder = mkdtempSync(join(tmpdir(), "holdfast-dialog-http-"));
let browser: Browser | undefined;

before(async () => {
  if (missing !== undefined) return;
  execFileSync(process.execPath, ["script/dialog-client.mjs", folder], { stdio: "inherit" });
  browser = await launchChromium();
});
after(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

const COUNT = 1500;

/** A server of dialogs and of the page that has them, behind a link that can be cut. */
async function scene(html: string) {
  assert.ok(browser !== undefined);
  let there: Dialog | undefined;
  let got: string[] = [];
  const server = await served({ authenticate: () => ({ principal: "ann" }) });
  server.dialogs.on("open", (dialog) => {
    there = dialog;
    got = reading(dialog);
    sendAll(dialog, numbered(COUNT)).catch((error: unknown) => server.faults.push(error));
  });
  const [attached] = server.http.listeners("request");
  server.http.removeAllListeners("request");
  server.http.on("request", (request, response) => {
    const name = /^\/(\w[\w-]*\.js)$/.exec(request.url ?? "")?.[1];
    if (name !== undefined) {
      response.setHeader("content-type", "text/javascript");
      return void response.end(readFileSync(join(folder, name)));
    }
    if (request.url?.startsWith("/dialog") === true)
      return void Reflect.apply(attached as () => void, server.http, [request, response]);
    response.setHeader("content-type", "text/html");
    response.end(html);
  });
  const cut = await new CutLink().start(server.port);
  const page = await browser.newPage();
  page.on("pageerror", (error) => server.faults.push(error));
  const loaded: string[] = [];
  page.on("request", (request) => loaded.push(new URL(request.url()).pathname));
  await page.goto(`http://127.0.0.1:${cut.port}/`);
  return {
    server,
    cut,
    page,
    loaded,
    got: () => got,
    dialog: () => there,
    here: () => page.evaluate<number>("got.length"),
    stop: async () => {
      await page.close();
      await cut.stop();
      await server.stop();
    },
  };
}

test(
  "in Chromium: where WebSockets are refused, the dialog goes over an event stream and posts",
  { skip: missing },
  async () => {
    const { server, cut, page, loaded, got, dialog, here, stop } =
      await scene(`<!doctype html><link rel="icon" href="data:,">
<script type="module">
// A network that lets none through.
globalThis.WebSocket = class { constructor() { setTimeout(() => this.onclose?.()); } send() {} close() {} };
const { connect } = await import("/client.js");
globalThis.got = [];
globalThis.dialog = await connect("ws://" + location.host + "/dialog", { reconnect: { minMs: 5, maxMs: 100 } });
void (async () => {
  for await (const message of dialog) {
    got.push(message.text);
    message.commit().catch(() => undefined);
  }
})();
globalThis.ready = true;
</script>`);
    await page.waitForFunction("globalThis.ready");
    assert.ok(loaded.includes("/posted-browser.js"), loaded.join(" "));
    const sending = page.evaluate(
      `(async () => { for (let i = 0; i < ${COUNT}; i++) await dialog.send("message " + i); })()`,
    );
    for (let turn = 1; turn <= 4; turn++) {
      await until("more", async () => got().length + (await here()) > turn * 400);
      const { links } = cut;
      if (turn % 2 === 0) cut.reset();
      else cut.halfOpen();
      await until("another link", () => cut.links > links);
    }
    await sending;
    await until("everything", async () => got().length >= COUNT && (await here()) >= COUNT);
    assert.deepEqual(got(), numbered(COUNT));
    assert.deepEqual(await page.evaluate("got"), numbered(COUNT));
    await page.evaluate("dialog.finish()");
    await until("the end", () => dialog()?.ended?.reason === "finished");
    assert.deepEqual(server.faults, []);
    await stop();
  },
);

test(
  "in Chromium: an EventSource reads a dialog through cuts, exactly once, and hears its end",
  { skip: missing },
  async () => {
    const { server, cut, page, dialog, here, stop } =
      await scene(`<!doctype html><link rel="icon" href="data:,"><script>
globalThis.got = [];
globalThis.source = new EventSource("/dialog?label=news");
source.onmessage = ({ data }) => got.push(data);
source.addEventListener("finish", () => (globalThis.over = true));
</script>`);
    for (let turn = 1; turn <= 4; turn++) {
      await until("more", async () => (await here()) > turn * 200);
      const { links } = cut;
      if (turn % 2 === 0) cut.reset();
      else cut.halfOpen();
      await until("another link", () => cut.links > links);
    }
    await until("everything", async () => (await here()) >= COUNT);
    assert.deepEqual(await page.evaluate("got"), numbered(COUNT));
    await until("a link", () => dialog()?.linked === true);
    await dialog()?.finish();
    await page.waitForFunction("globalThis.over === true && source.readyState === EventSource.CLOSED", null, {
      timeout: 60_000,
    });
    assert.equal(dialog()?.ended?.reason, "finished");
    assert.deepEqual(server.faults, []);
    await stop();
  },
);
