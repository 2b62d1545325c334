import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

const PATH = "/usr/bin/chromium";

/** Why Chromium cannot be used here; `undefined` when it can. In CI it must be there. */
export function chromiumMissing(): string | undefined {
  if (existsSync(PATH)) return undefined;
  if (process.env["CI"] === "true") throw new Error("chromium is not installed, and CI must have it");
  return "chromium is not installed";
}

export function launchChromium(): Promise<Browser> {
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
    ],
  });
}
