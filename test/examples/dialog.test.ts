import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { after, test } from "node:test";
import type { Browser, FrameLocator } from "playwright-core";
import { chromiumMissing, complaints, launchChromium, shot, until } from "../console/chromium.ts";

const started: ChildProcess[] = [];
let browser: Browser | undefined;
after(async () => {
  await browser?.close();
  for (const child of started) child.kill("SIGKILL");
});

/** Runs an example; what it prints is in `output`. */
function example(name: string, ...args: string[]): { child: ChildProcess; output: () => string } {
  const path = new URL(`../../examples/${name}.js`, import.meta.url).pathname;
  const child = spawn(process.execPath, [path, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  started.push(child);
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += String(chunk)));
  return { child, output: () => output };
}

test("examples/checkpointed-job: killed twice, it goes on behind its last point and counts nothing twice", async () => {
  const { child, output } = example("checkpointed-job");
  const code = await new Promise((resolve) => child.once("exit", resolve));
  assert.equal(code, 0, output());
  const lines = output().trimEnd().split("\n");
  // π(240,000), whatever happened on the way.
  assert.equal(lines.at(-1), "done: 21221 primes below 240000");
  assert.equal(lines.filter((line) => line === "the worker was killed").length, 2);
  const resumed = lines.filter((line) => line.startsWith("resumed behind point"));
  assert.equal(resumed.length, 2);
  const points = lines.flatMap((line) => /^point (\d+): (\d+) blocks/.exec(line)?.slice(1).map(Number) ?? []);
  assert.deepEqual(
    points,
    Array.from({ length: 24 }, (_, index) => 1 + (index >> 1)),
    "every point once, behind one block more",
  );
});

test(
  "examples/walkie-talkie: the turn goes to and fro, and what is said while a link is cut arrives",
  { skip: chromiumMissing() },
  async () => {
    const { child, output } = example("walkie-talkie/server", "--port=0");
    await until(async () => output().includes("http://"), "the address");
    const address = /http:\S+/.exec(output())?.[0] ?? "";
    browser = await launchChromium();
    const page = await browser.newPage({ viewport: { width: 900, height: 760 } });
    const errors: unknown[] = [];
    page.on("pageerror", (error) => errors.push(error));
    await page.goto(address);
    const [ann, ben] = ["Ann", "Ben"].map((name) => page.frameLocator(`[title="${name}'s radio"]`));
    assert.ok(ann !== undefined && ben !== undefined);
    for (const radio of [ann, ben]) await shows(radio, ".link", "linked");
    await shows(ann, ".who", "Nobody speaks");

    await ann.locator(".talk").click();
    await shows(ann, ".who", "You have the turn");
    await shows(ben, ".who", "Ann speaks");
    await say(ann, "Ben, do you hear me? Over.");
    await shows(ben, "li:last-child", /Ann.*do you hear me/);

    // Ben asks while Ann speaks, and is cut off: what Ann says meanwhile waits for him.
    await ben.locator(".talk").click();
    await shows(ben, ".talk", "Waiting…");
    await ben.locator(".cut").click();
    await shows(ben, ".link", "cut off, coming back");
    await say(ann, "The bridge is out.");
    await say(ann, "Take the ford.");
    await shot(page, "walkie-talkie-cut");
    await ann.locator(".talk").click();
    await shows(ben, ".link", "linked");
    await shows(ben, "li:last-child", /Take the ford/);
    assert.equal(await ben.locator("li").count(), 3);
    await shows(ben, ".who", "You have the turn");
    await shows(ann, ".who", "Ben speaks");
    await say(ben, "I hear you. Over and out.");
    await shows(ann, "li:last-child", /Ben.*over and out/i);
    await shot(page, "walkie-talkie");
    assert.deepEqual(errors, []);

    const radio = await browser.newPage({ viewport: { width: 390, height: 700 } });
    await radio.goto(new URL("/radio?name=Cleo", address).href);
    await until(async () => (await radio.locator(".link").textContent()) === "linked", "Cleo's link");
    assert.deepEqual(await complaints(radio), []);
    child.kill("SIGTERM");
    assert.equal(await new Promise((resolve) => child.once("exit", resolve)), 0);
  },
);

async function say(radio: FrameLocator, text: string): Promise<void> {
  await radio.locator("input").fill(text);
  await radio.locator(".send").click();
}

async function shows(radio: FrameLocator, where: string, text: string | RegExp): Promise<void> {
  await until(
    async () => {
      const found = radio.locator(where);
      if ((await found.count()) !== 1) return false;
      const shown = (await found.textContent()) ?? "";
      return typeof text === "string" ? shown === text : text.test(shown);
    },
    `${where} shows ${String(text)}`,
  );
}
