import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import type { Page } from "playwright-core";
import { launchChromium } from "../test/console/chromium.ts";
import { median, printTable, quantile, rounded } from "./harness.ts";

/**
 * The console's page in a real Chromium: frames a second with 10,000 sessions and 1,000 changes a second, at rest, while
 * it is scrolled and while somebody reads; layout shifts; and the time from the click that ends a person's sessions to the last
 * receipt. The gateway runs in a process of its own, on the same cores.
 */
export default async function console(options: { rounds?: number } = {}): Promise<Record<string, unknown>> {
  const rounds = options.rounds ?? 5;
  const jsBytes = gzippedScripts();
  const server = await startServer();
  const browser = await launchChromium();
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    await page.goto(server.link);
    await page
      .getByRole("status")
      .filter({ hasText: /^(9,|10,)\d+ sessions/ })
      .waitFor({ timeout: 60_000 });
    await page.evaluate(MEASURE);

    const frames = { following: [] as number[], scrolling: [] as number[], reading: [] as number[] };
    let shifts = 0;
    for (let round = 0; round < rounds; round++) {
      frames.following.push(await measured(page, async () => {}));
      await page.mouse.move(600, 400);
      frames.scrolling.push(
        await measured(page, async () => {
          for (let i = 0; i < 20; i++) await page.mouse.wheel(0, 400);
        }),
      );
      await page.keyboard.press("j");
      await page.evaluate("bench.shifts = 0");
      frames.reading.push(await measured(page, async () => {}));
      shifts += Number(await page.evaluate("bench.shifts"));
      await page.keyboard.press("Escape");
      await page.keyboard.press("Home");
      await page.keyboard.press("Escape");
      await page.mouse.move(600, 20);
    }
    await server.ask("calm");
    const revokeMs: number[] = [];
    for (let round = 0; round < rounds; round++) revokeMs.push(await endPerson(page, server, round));

    const worst = Math.min(...frames.following, ...frames.scrolling, ...frames.reading);
    printTable([
      ["10,000 sessions, 1,000 changes a second", "median", "worst"],
      ...Object.entries(frames).map(([name, all]) => [
        `frames a second, ${name}`,
        rounded(median(all), 1),
        rounded(Math.min(...all), 1),
      ]),
      ["layout shift while reading", rounded(shifts, 4), rounded(shifts, 4)],
      ["click → all 15 receipts, ms", rounded(median(revokeMs), 0), rounded(Math.max(...revokeMs), 0)],
      ["JavaScript, gzipped bytes", jsBytes, jsBytes],
    ]);
    return {
      fps: rounded(median(frames.following), 1),
      fps_worst: rounded(worst, 1),
      fps_scrolling: rounded(median(frames.scrolling), 1),
      layout_shift: rounded(shifts, 4),
      revoke_p99_ms: rounded(quantile(revokeMs, 0.99), 0),
      revoke_ms: rounded(median(revokeMs), 0),
      js_gzip_bytes: jsBytes,
    };
  } finally {
    await browser.close();
    server.stop();
  }
}

/** Frames a second over two seconds in which `act` happens. */
async function measured(page: Page, act: () => Promise<void>): Promise<number> {
  await page.evaluate("bench.start()");
  await Promise.all([act(), page.waitForTimeout(2000)]);
  return Number(await page.evaluate("bench.stop()"));
}

async function endPerson(page: Page, server: BenchServer, round: number): Promise<number> {
  const principal = `bench.${round}`;
  await server.ask("person", principal);
  await page.goto(new URL(`/people/${principal}`, server.link).href);
  await page.getByRole("button", { name: /End everything/ }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("textbox", { name: "Reason" }).fill("a benchmark");
  const button = dialog.getByRole("button", { name: "End 15 sessions" });
  await button.waitFor();
  await page.evaluate(`(() => {
    const button = [...document.querySelectorAll("dialog button")].find((one) => one.textContent === "End 15 sessions");
    window.ended = new Promise((resolve) => {
      button.addEventListener("click", () => {
        const from = performance.now();
        const look = () => document.querySelector("dialog [data-settled=true]") ? resolve(performance.now() - from) : requestAnimationFrame(look);
        look();
      });
    });
  })()`);
  await button.click();
  return Number(await page.evaluate("window.ended"));
}

interface BenchServer {
  readonly link: string;
  ask(what: "calm" | "person", principal?: string): Promise<void>;
  stop(): void;
}

async function startServer(): Promise<BenchServer> {
  const child: ChildProcess = fork(fileURLToPath(new URL("./console/server.js", import.meta.url)), {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const [ready] = (await once(child, "message")) as [{ link: string }];
  return {
    link: ready.link,
    ask: async (what, principal) => {
      child.send({ what, principal });
      await once(child, "message");
    },
    stop: () => void child.kill("SIGKILL"),
  };
}

function gzippedScripts(): number {
  const folder = "dist/console/ui";
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".js"))
    .reduce((sum, name) => sum + gzipSync(readFileSync(join(folder, name))).length, 0);
}

const MEASURE = `
window.bench = {
  shifts: 0,
  frames: 0,
  from: 0,
  running: false,
  start() {
    this.frames = 0;
    this.running = true;
    requestAnimationFrame((at) => { this.from = at; this.count(); });
  },
  count() {
    requestAnimationFrame((at) => {
      if (!this.running) return;
      this.frames++;
      this.last = at;
      this.count();
    });
  },
  stop() {
    this.running = false;
    return (this.frames * 1000) / (this.last - this.from);
  },
};
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) bench.shifts += entry.value;
}).observe({ type: "layout-shift", buffered: false });
`;
