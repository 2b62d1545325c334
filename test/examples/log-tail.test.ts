import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { chromiumMissing, launchChromium } from "../console/chromium.ts";

test(
  "the log tail's page loses no line when the server is killed, and none when it is loaded again",
  { skip: chromiumMissing() },
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "holdfast-tail-"));
    const children: ChildProcess[] = [];
    t.after(() => {
      for (const child of children) child.kill("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    });
    const start = async (http: string, syslog: string) => {
      const child = spawn(process.execPath, ["build/examples/log-tail.js", folder, http, syslog], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      children.push(child);
      const ports = await new Promise<string[]>((resolve, reject) => {
        let text = "";
        child.on("exit", () => reject(new Error(`it ended: ${text}`)));
        child.stdout.on("data", (chunk: Buffer) => {
          text += chunk.toString();
          const found = /^page http:\/\/127\.0\.0\.1:(\d+) syslog (\d+)$/m.exec(text);
          if (found !== null) resolve(found.slice(1));
        });
      });
      return { child, http: ports[0] ?? "", syslog: ports[1] ?? "" };
    };
    const first = await start("0", "0");
    const send = async (from: number, to: number): Promise<void> => {
      const socket = connect(Number(first.syslog), "127.0.0.1");
      for (let line = from; line < to; line++) socket.write(`<14>1 - host app - - - line ${line}\n`);
      socket.end();
      // An end that is answered: everything was read.
      socket.resume();
      await once(socket, "close");
    };
    const browser = await launchChromium();
    t.after(() => browser.close());
    const page = await browser.newPage();
    const shown = (): Promise<string[]> => page.locator("#lines li").allTextContents();
    const shows = (last: string): Promise<void> =>
      page.locator("#lines li").last().filter({ hasText: last }).waitFor({ timeout: 60_000 });
    await send(0, 100);
    await page.goto(`http://127.0.0.1:${first.http}/`);
    await shows("line 99");
    await send(100, 150);
    await shows("line 149");
    const killed = once(first.child, "exit");
    first.child.kill("SIGKILL");
    await killed;
    await start(first.http, first.syslog);
    await send(150, 200);
    await shows("line 199");
    const lines = (from: number, to: number): string[] =>
      [...Array(to - from).keys()].map((line) => `info host app: line ${from + line}`);
    assert.deepEqual(await shown(), lines(0, 200));
    await page.goto("about:blank");
    await send(200, 250);
    await page.goto(`http://127.0.0.1:${first.http}/`);
    await shows("line 249");
    assert.deepEqual(await shown(), lines(200, 250));
  },
);
