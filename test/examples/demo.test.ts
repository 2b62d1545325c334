import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { chromium } from "playwright-core";

const CHROMIUM = "/usr/bin/chromium";
const missing = existsSync(CHROMIUM) || process.env["CI"] === "true" ? false : "chromium is not installed";
const ARTIFACTS = "artifacts/demo";

let folder: string;
let site: { base: string; child: ChildProcess; output: () => string };
let browser: Browser;

before(async () => {
  if (missing !== false) return;
  folder = mkdtempSync(join(tmpdir(), "holdfast-demo-"));
  mkdirSync(ARTIFACTS, { recursive: true });
  site = await start(0);
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
});

after(async () => {
  if (missing !== false) return;
  await browser.close();
  await stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs what script/server runs, once it has built. */
async function start(port: number): Promise<typeof site> {
  const child = spawn(
    process.execPath,
    ["build/examples/demo/gateway.js", "--port", String(port), "--data", folder],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  let text = "";
  const base = await new Promise<string>((resolve, reject) => {
    const read = (chunk: Buffer): void => {
      text += chunk.toString();
      const ready = /^ready (http:\S+)$/m.exec(text)?.[1];
      if (ready !== undefined) resolve(ready);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.on("exit", (code) => reject(new Error(`it left with ${code}: ${text}`)));
  });
  return { base, child, output: () => text };
}

function stop(): Promise<number | null> {
  return new Promise((resolve) => {
    site.child.removeAllListeners("exit");
    site.child.on("exit", resolve);
    site.child.kill("SIGTERM");
  });
}

async function visitor(): Promise<{ context: BrowserContext; page: Page }> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  await page.goto(site.base);
  return { context, page };
}

async function signIn(page: Page, password = "analytical", remember = false): Promise<void> {
  await page.getByLabel("Name").fill("ada");
  await page.getByLabel("Password").fill(password);
  if (remember) await page.getByLabel("Remember me").check();
  await page.getByRole("button", { name: "Sign in" }).click();
}

test(
  "a person signs in, sees their sessions and the six phases, and ends the other one",
  { skip: missing },
  async () => {
    const first = await visitor();
    await first.page.screenshot({ path: `${ARTIFACTS}/sign-in.png` });
    await signIn(first.page, "wrong");
    await first.page.getByText("do not go together").waitFor();
    await signIn(first.page);
    await first.page.getByText("Hello, Ada").waitFor();
    const cookie = (await first.context.cookies()).find((one) => one.name === "__Host-session");
    assert.ok(cookie?.httpOnly && cookie.secure && cookie.sameSite === "Lax");
    const second = await visitor();
    await signIn(second.page);
    await first.page.reload();
    assert.equal(await first.page.locator("ul.sessions li").count(), 2);
    for (const phase of [
      "pre-session",
      "establishment",
      "identifier-issuance",
      "maintenance",
      "termination",
      "post-session",
    ]) {
      await first.page.getByText(phase, { exact: true }).waitFor();
    }
    await first.page.screenshot({ path: `${ARTIFACTS}/home.png`, fullPage: true });
    await first.page.getByRole("button", { name: "End the others" }).click();
    await first.page.getByText("The other session was ended").waitFor();
    await second.page.reload();
    await second.page.getByRole("heading", { name: "Sign in" }).waitFor();
    await first.context.close();
    await second.context.close();
  },
);

test("a copied cookie opens until the victim signs out, and never again", { skip: missing }, async () => {
  const { context, page } = await visitor();
  await signIn(page);
  await page.getByRole("button", { name: "Copy my cookie" }).click();
  const thief = page.url();
  await page.getByRole("button", { name: "Use the copy" }).click();
  await page.getByText("opened", { exact: true }).waitFor();
  await page.goto(site.base);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByText("You are signed out").waitFor();
  await page.goto(thief);
  await page.getByRole("button", { name: "Use the copy" }).click();
  await page.getByText("Refused: the session has ended").waitFor();
  for (const told of ["the name and password arrived", "the cookie was issued", "it ended"])
    await page.locator(".event", { hasText: told }).waitFor();
  await page.getByText("somebody came with its cookie after the end").waitFor();
  await page.screenshot({ path: `${ARTIFACTS}/thief.png`, fullPage: true });
  await context.close();
});

test(
  "a cookie copied before a rotation is refused and taken for theft once its grace is over",
  { skip: missing },
  async () => {
    const { context, page } = await visitor();
    await signIn(page);
    await page.getByRole("button", { name: "Copy my cookie" }).click();
    const thief = page.url();
    await page.goto(site.base);
    await page.getByRole("button", { name: "Rotate my cookie" }).click();
    await page.getByText("Your cookie was replaced").waitFor();
    // The grace is ten seconds of real time, in a browser that keeps real time.
    await new Promise((resolve) => setTimeout(resolve, 10_500));
    await page.goto(thief);
    await page.getByRole("button", { name: "Use the copy" }).click();
    await page.getByText("Refused, and taken for theft").waitFor();
    await page.goto(site.base);
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    await context.close();
  },
);

test("changing the e-mail is free right after the login", { skip: missing }, async () => {
  const { context, page } = await visitor();
  await signIn(page);
  await page.getByLabel("Address").fill("countess@example.org");
  await page.getByRole("button", { name: "Change" }).click();
  await page.getByText("Your e-mail address was changed").waitFor();
  assert.equal(await page.getByLabel("Address").inputValue(), "countess@example.org");
  await context.close();
});

test(
  "when the password is old, changing the e-mail asks for it, and the cookie from before is worth nothing",
  { skip: missing },
  async () => {
    const { context, page } = await visitor();
    await signIn(page);
    const cookie = async (): Promise<string> =>
      (await context.cookies()).find((one) => one.name === "__Host-session")?.value ?? "";
    const before = await cookie();
    await page.getByLabel("Address").fill("enchantress@example.org");
    await page.getByRole("button", { name: "Pretend a minute has passed" }).click();
    await page.getByRole("heading", { name: "Prove it is you" }).waitFor();
    assert.equal(await cookie(), before);
    await page.getByLabel("Password of ada").fill("wrong");
    await page.getByRole("button", { name: "Confirm" }).click();
    await page.getByText("That is not the password").waitFor();
    await page.getByLabel("Password of ada").fill("analytical");
    await page.getByRole("button", { name: "Confirm" }).click();
    await page.getByText("Your e-mail address was changed").waitFor();
    assert.equal(await page.getByLabel("Address").inputValue(), "enchantress@example.org");
    await page.getByText("the password was proved again").waitFor();
    assert.notEqual(await cookie(), before);
    const old = await fetch(`${site.base}/api/me`, { headers: { cookie: `__Host-session=${before}` } });
    assert.equal(old.status, 401);
    await page.reload();
    await page.getByText("Hello, Ada").waitFor();
    await context.close();
  },
);

test("the pages fit a telephone", { skip: missing }, async () => {
  const context = await browser.newContext({ viewport: { width: 360, height: 740 } });
  const page = await context.newPage();
  const fits = async (): Promise<void> => {
    const over = await page.evaluate(
      "document.documentElement.scrollWidth - document.documentElement.clientWidth",
    );
    assert.equal(over, 0, page.url());
  };
  await page.goto(site.base);
  await fits();
  await signIn(page);
  await page.getByText("Hello, Ada").waitFor();
  await fits();
  await page.screenshot({ path: `${ARTIFACTS}/telephone.png`, fullPage: true });
  await page.getByRole("button", { name: "Copy my cookie" }).click();
  await page.getByRole("button", { name: "Use the copy" }).click();
  await page.getByText("opened", { exact: true }).waitFor();
  await fits();
  await page.goto(`${site.base}/confirm`);
  await page.getByRole("heading", { name: "Prove it is you" }).waitFor();
  await fits();
  await context.close();
});

test(
  "sessions survive a kill -9 and a restart of the server; its console link works once",
  { skip: missing },
  async () => {
    const { context, page } = await visitor();
    await signIn(page, "analytical", true);
    await page.getByText("Hello, Ada").waitFor();
    const handle = await page.locator("code").first().textContent();
    const port = Number(new URL(site.base).port);
    site.child.removeAllListeners("exit");
    const dead = new Promise((resolve) => site.child.on("exit", resolve));
    site.child.kill("SIGKILL");
    await dead;
    site = await start(port);
    await page.reload();
    await page.getByText("Hello, Ada").waitFor();
    assert.equal(await page.locator("code").first().textContent(), handle);
    const link = /once: (\S+)/.exec(site.output())?.[1] ?? "";
    const answer = await context.request.get(link, { maxRedirects: 0 });
    assert.equal(answer.headers()["location"], "/");
    await context.close();
  },
);

/** Drops a file of random bytes on the page; its SHA-256, as the page's own crypto has it. */
async function dropFile(page: Page, name: string, bytes: number): Promise<string> {
  const dropped = await page.evaluateHandle(`(async () => {
    const content = new Uint8Array(${bytes});
    for (let at = 0; at < ${bytes}; at += 65_536)
      crypto.getRandomValues(content.subarray(at, Math.min(at + 65_536, ${bytes})));
    const transfer = new DataTransfer();
    transfer.items.add(new File([content], ${JSON.stringify(name)}, { type: "video/mp4", lastModified: 1 }));
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
    return { transfer, digest: [...digest].map((one) => one.toString(16).padStart(2, "0")).join("") };
  })()`);
  await page.dispatchEvent("#drop", "drop", { dataTransfer: await dropped.getProperty("transfer") });
  return String(await (await dropped.getProperty("digest")).jsonValue());
}

test(
  "a file goes on where it was after the server was killed, and ends with the login it belongs to",
  { skip: missing, timeout: 240_000 },
  async () => {
    const { context, page } = await visitor();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    await signIn(page);
    await page.getByRole("link", { name: "Open uploads" }).click();
    await page.getByText("the server answers").waitFor();
    const bytes = 6 * 1024 * 1024 + 321;
    const sha256 = await dropFile(page, "film.mp4", bytes);
    const item = page.locator("#list li");
    const done = async (): Promise<number> =>
      Number(await item.locator(".bar").getAttribute("aria-valuenow"));
    // The server's own list moves as well.
    await page
      .locator("#sessions li", { hasText: /film\.mp4.*checkpoint (\d+ KiB|[1-4]\.\d MiB) of 6\.0 MiB/s })
      .waitFor();
    const handle = await page.locator("#sessions code").textContent();
    const deadline = Date.now() + 60_000;
    while ((await done()) < 20 && Date.now() < deadline) await page.waitForTimeout(50);
    const port = Number(new URL(site.base).port);
    site.child.removeAllListeners("exit");
    const dead = new Promise((resolve) => site.child.on("exit", resolve));
    site.child.kill("SIGKILL");
    await dead;
    await page.locator("#list li[data-state=away]").waitFor({ timeout: 60_000 });
    await page.getByText("the server is away").waitFor({ timeout: 60_000 });
    const before = await done();
    assert.ok(before >= 16 && before < 100, `it was at ${before}`);
    await page.screenshot({ path: `${ARTIFACTS}/upload-away.png`, fullPage: true });
    site = await start(port);
    await page.locator("#list li[data-state=moving]").waitFor({ timeout: 60_000 });
    assert.ok((await done()) >= before, "it went back");
    await page.screenshot({ path: `${ARTIFACTS}/upload-moving.png`, fullPage: true });
    await page.getByText("done, digest right").waitFor({ timeout: 120_000 });
    assert.equal(await item.getAttribute("data-sha256"), sha256);
    // What was under way when the server died is all that may go twice.
    const sent = Number(await item.getAttribute("data-sent"));
    assert.ok(sent >= bytes && sent <= bytes + 1024 * 1024, `it sent ${sent} of ${bytes}`);
    const link = await item.getByRole("link", { name: "Download it" }).getAttribute("href");
    const got = await page.evaluate(async (url) => {
      const body = await (await fetch(url)).arrayBuffer();
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", body));
      return [...digest].map((one) => one.toString(16).padStart(2, "0")).join("");
    }, link ?? "");
    assert.equal(got, sha256);
    assert.match(handle ?? "", /^\w{20}$/);
    await page.locator("#sessions li").waitFor({ state: "detached", timeout: 60_000 });

    // Paused, left and come back to: the page knows it, and the same file goes on.
    await dropFile(page, "second.mp4", 4 * 1024 * 1024);
    const second = page.locator("#list li", { hasText: "second.mp4" });
    await page.locator("#sessions li", { hasText: "second.mp4" }).waitFor();
    await second.getByRole("button", { name: "Pause" }).click();
    await second.getByText("paused", { exact: true }).waitFor();
    await page.reload();
    await second.getByText("Drop the same file again").waitFor();
    await page.getByText("the server answers").waitFor();

    // Another sign-in is another login; leaving this one ends what was uploaded under it.
    await dropFile(page, "third.mp4", 8 * 1024 * 1024);
    const third = page.locator("#list li", { hasText: "third.mp4" });
    await page.locator("#sessions li", { hasText: "third.mp4" }).waitFor();
    const other = await context.newPage();
    await other.goto(site.base);
    await other.getByRole("button", { name: "Sign out" }).click();
    await other.getByText("You are signed out").waitFor();
    await third.getByText("failed", { exact: true }).waitFor({ timeout: 60_000 });
    await page.getByText("you are signed out").waitFor({ timeout: 60_000 });
    const strange = await fetch(`${site.base}/files`, {
      method: "POST",
      headers: { "tus-resumable": "1.0.0", "upload-length": "5" },
    });
    assert.equal(strange.status, 401);
    assert.equal((await fetch(`${site.base}/script/client/%2e%2e/server.js`)).status, 404);
    assert.deepEqual(errors, []);
    await context.close();
  },
);

test(
  "forms that are too long, from another site, or to nowhere get a plain answer",
  { skip: missing },
  async () => {
    const post = (path: string, body: string, headers: Record<string, string> = {}): Promise<Response> =>
      fetch(site.base + path, {
        method: "POST",
        body,
        headers: { "content-type": "application/x-www-form-urlencoded", ...headers },
        redirect: "manual",
      });
    assert.equal((await post("/login", "x".repeat(10_000))).status, 413);
    assert.equal(
      (await post("/login", "name=ada&password=analytical", { "sec-fetch-site": "cross-site" })).status,
      403,
    );
    assert.equal((await post("/nowhere", "")).status, 303);
    assert.equal((await fetch(`${site.base}/nowhere`)).status, 404);
    assert.equal((await fetch(site.base, { method: "PUT" })).status, 405);
    assert.equal((await fetch(site.base, { headers: { cookie: `x=${"y".repeat(9_000)}` } })).status, 431);
  },
);

test(
  "a typo on the command line is answered with what there is, a taken port with why",
  { skip: missing },
  async () => {
    const run = (...args: string[]): Promise<{ code: number | null; text: string }> =>
      new Promise((resolve) => {
        const child = spawn(process.execPath, ["build/examples/demo/gateway.js", ...args]);
        let text = "";
        for (const stream of [child.stdout, child.stderr])
          stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
        child.on("exit", (code) => resolve({ code, text }));
      });
    const typo = await run("--prot", "1");
    assert.ok(typo.code === 2 && typo.text.includes("--prot") && typo.text.includes("Usage"));
    assert.equal((await run("--port", "x")).code, 2);
    const other = mkdtempSync(join(tmpdir(), "holdfast-demo-"));
    const taken = await run("--port", new URL(site.base).port, "--data", other);
    rmSync(other, { recursive: true, force: true });
    assert.ok(taken.code === 1 && /EADDRINUSE/.test(taken.text), taken.text);
  },
);
