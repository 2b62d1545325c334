import assert from "node:assert/strict";
import type { ChildProcess, SpawnSyncReturns } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

import { readAdminFile } from "../../src/console/index.ts";

const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const place = mkdtempSync(join(tmpdir(), "holdfast-up-"));
const children = new Set<ChildProcess>();
after(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(place, { recursive: true, force: true });
});

interface Running {
  readonly child: ChildProcess;
  readonly lines: readonly string[];
  readonly admin: string;
}

/** `holdfast up`, from its start to the line that says it is ready. */
async function up(config: string): Promise<Running> {
  const child = spawn(process.execPath, [MAIN, "up", "--config", config], {
    cwd: place,
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.add(child);
  let errors = "";
  child.stderr.on("data", (chunk) => (errors += String(chunk)));
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    if (line.startsWith("ready ")) return { child, lines, admin: line.slice("ready ".length) };
  }
  throw new Error(`it ended before it was ready:\n${errors}`);
}

function configuration(name: string, text: string): string {
  const path = join(place, name);
  writeFileSync(path, text);
  return path;
}

const QUIET = "log: { level: error }\n";

test("init writes a configuration once, and up starts it, says where everything is, and stops cleanly", async () => {
  const holdfast = (...args: string[]): SpawnSyncReturns<string> =>
    spawnSync(process.execPath, [MAIN, ...args], { cwd: place, encoding: "utf8" });
  assert.equal(holdfast("init").status, 0);
  const again = holdfast("init");
  assert.deepEqual([again.status, /is there already/.test(again.stderr)], [1, true]);
  const sample = readFileSync(join(place, "holdfast.yaml"), "utf8");
  const config = configuration("free.yaml", sample.replaceAll(/port: \d+/g, "port: 0"));
  const { child, lines, admin } = await up(config);
  assert.ok(lines.some((line) => line.startsWith("verify: http://127.0.0.1:")));
  assert.ok(lines.includes(`console: ${admin}`));
  assert.ok(lines.some((line) => line.startsWith(`sign in once: ${admin}/sign-in?code=`)));
  child.kill("SIGHUP");
  const shown = holdfast("nodes", "--json");
  assert.equal(shown.status, 0, shown.stderr);
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  assert.deepEqual(await gone, [0, null]);
});

test("a mistake in the configuration ends it with the place, before anything is started", () => {
  const config = configuration("wrong.yaml", "admin:\n  prot: 0\n");
  const { status, stderr } = spawnSync(process.execPath, [MAIN, "up", "--config", config], {
    cwd: place,
    encoding: "utf8",
  });
  assert.notEqual(status, 0);
  assert.match(stderr, /wrong\.yaml:2:3: admin\.prot is not known here; did you mean "port"\?/);
});

test("kill -9 loses no session that was acknowledged, and its successor takes over the name and the folder", async () => {
  const data = join(place, "killed");
  const config = configuration("killed.yaml", `${QUIET}node: gw\ndata: ${data}\nadmin: { port: 0 }\n`);
  const acknowledged: string[] = [];
  for (let round = 0; round < 2; round++) {
    const { child, admin } = await up(config);
    const token = readAdminFile(data)?.token ?? "";
    const killed = once(child, "exit");
    const wanted = acknowledged.length + 12;
    // Several at once, so that the kill falls into the middle of writes.
    const workers = Array.from({ length: 4 }, async () => {
      while (child.exitCode === null && child.signalCode === null) {
        try {
          acknowledged.push(await signIn(admin, token));
        } catch {
          return;
        }
        if (acknowledged.length >= wanted) child.kill("SIGKILL");
      }
    });
    await Promise.all(workers);
    await killed;
    assert.ok(acknowledged.length >= wanted);
  }
  const { child, admin } = await up(config);
  for (const cookie of acknowledged) {
    const me = await fetch(`${admin}/api/me`, { headers: { cookie } });
    assert.equal(me.status, 200, "an acknowledged session is gone");
  }
  assert.ok(existsSync(join(data, "admin.json")));
  const gone = once(child, "exit");
  child.kill("SIGINT");
  assert.deepEqual(await gone, [0, null]);
});

/** Makes a session over HTTP and returns its cookie, once the gateway has answered with it. */
async function signIn(admin: string, token: string): Promise<string> {
  const made = await fetch(`${admin}/api/sign-in-links`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ role: "viewer" }),
  });
  const { link } = (await made.json()) as { link: string };
  const response = await fetch(link, { redirect: "manual" });
  const cookie = response.headers.getSetCookie()[0]?.split(";")[0];
  if (cookie === undefined) throw new Error(`no cookie with ${response.status}`);
  return cookie;
}
