import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";

const PATH = "/usr/bin/chromium";
/** Where pictures of every screen go, to be looked at. */
const SHOTS = "artifacts/console";
/** How long something may take to come about before a test gives up on it. */
export const PATIENCE_MS = 30_000;

/** Why Chromium cannot be used here; `undefined` when it can. In CI it must be there. */
export function chromiumMissing(): string | undefined {
  if (existsSync(PATH)) return undefined;
  if (process.env["CI"] === "true") throw new Error("chromium is not installed, and CI must have it");
  return "chromium is not installed";
}

export function launchChromium(more: readonly string[] = []): Promise<Browser> {
  return chromium.launch({
    executablePath: PATH,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...more,
    ],
  });
}

export async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  const before = Date.now();
  while (!(await holds())) {
    if (Date.now() - before > PATIENCE_MS) assert.fail(`it did not come about: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

export async function shot(page: Page, name: string): Promise<void> {
  mkdirSync(SHOTS, { recursive: true });
  await page.evaluate("document.fonts.ready.then(() => true)");
  await page.screenshot({ path: join(SHOTS, `${name}.png`) });
}

/** As a click on a link to `path` would. */
export async function follow(page: Page, path: string): Promise<void> {
  await page.evaluate(
    `(() => { const link = document.createElement("a"); link.href = ${JSON.stringify(path)}; document.body.append(link); link.click(); link.remove(); })()`,
  );
}

export async function fits(page: Page): Promise<boolean> {
  return (await page.evaluate("document.documentElement.scrollWidth <= innerWidth")) === true;
}

/** What axe finds of serious or critical, one line each. */
export async function complaints(page: Page): Promise<string[]> {
  const path = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
  // A script tag would be refused by the page's own policy.
  await page.evaluate(readFileSync(path, "utf8"));
  const { violations } = (await page.evaluate("axe.run({ resultTypes: ['violations'] })")) as {
    violations: { id: string; impact: string; nodes: { html: string; failureSummary: string }[] }[];
  };
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 160)} ${failureSummary}`),
    );
}
