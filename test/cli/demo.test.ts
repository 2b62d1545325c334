import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { up } from "../../src/gateway/index.ts";
import type { SessionRecord } from "../../src/kernel/index.ts";
import { Users } from "../../src/mechanisms/socks/users.ts";

const MAIN = new URL("../../src/cli/main.js", import.meta.url).pathname;

const LISTED = /transfer +(established|suspended) .*\d+ %, [\d.]+ [KM]iB of [\d.]+ MiB/;

test("holdfast demo fills a gateway with sessions of every mechanism, and ends all of them when it is stopped", async (t) => {
  const data = mkdtempSync(join(tmpdir(), "holdfast-demo-"));
  t.after(() => rmSync(data, { recursive: true, force: true }));
  const gateway = await up({ data, admin: { port: 0 }, log: { level: "silent" } });
  t.after(() => gateway.close());
  const { kernel } = gateway;
  const living = async (): Promise<SessionRecord[]> => {
    const found: SessionRecord[] = [];
    for await (const record of kernel.sessions({ all: true }))
      // The gateway's own, for the command line and the console.
      if (record.principal?.startsWith("console:") !== true) found.push(record);
    return found;
  };
  const seen = new Set<string>();
  const positions = new Map<string, number[]>();
  kernel.onEntry(({ event, mechanism, node, handle, detail }) => {
    if (event === "checkpoint" && mechanism === "transfer" && handle !== undefined)
      positions.set(handle, [...(positions.get(handle) ?? []), Number(detail?.["position"])]);
    if (event === "establish" && node?.startsWith("demo-") === true) seen.add(mechanism ?? "");
  });
  const child = spawn(process.execPath, [MAIN, "demo", "--data", data, "--people", "5"], { cwd: data });
  t.after(() => child.kill("SIGKILL"));
  let [out, errors] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (out += String(chunk)));
  child.stderr.on("data", (chunk: Buffer) => (errors += String(chunk)));
  const exited = once(child, "exit");
  const wanted = ["dialog", "netbios", "socks", "tls", "transfer", "web"];
  // Uploads are there, and they move: what is acknowledged only grows.
  const moving = (): boolean => [...positions.values()].some((one) => one.length >= 3);
  const alive = (): boolean => wanted.every((one) => seen.has(one)) && moving();
  for (let attempt = 0; attempt < 1_200 && !alive(); attempt++) {
    if (child.exitCode !== null) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.deepEqual([...seen].sort(), wanted, out + errors);
  assert.ok(moving(), out + errors);
  for (const one of positions.values())
    assert.deepEqual(
      one,
      [...one].sort((a, b) => a - b),
    );
  const command = [MAIN, "sessions", "--mechanism", "transfer", "--data", data];
  let listed = "";
  for (let attempt = 0; attempt < 60 && !LISTED.test(listed); attempt++)
    listed = String((await promisify(execFile)(process.execPath, command)).stdout);
  assert.match(listed, LISTED);
  child.kill("SIGTERM");
  assert.deepEqual(await exited, [0, null], errors);
  assert.deepEqual(await living(), []);
  assert.match(out, /demo-[0-9a-f]{6}: 5 invented people come and go\. Look at http:\/\/127\.0\.0\.1:\d+/);
  assert.match(out, /all ended\. There were \d+ web, /);
  assert.equal(errors, "");
});

test("holdfast demo says why it cannot begin", async () => {
  const outcome = async (...args: string[]): Promise<string> => {
    const child = spawn(process.execPath, [MAIN, "demo", ...args], { cwd: tmpdir() });
    let errors = "";
    child.stderr.on("data", (chunk: Buffer) => (errors += String(chunk)));
    const [code] = (await once(child, "close")) as [number];
    return `${code} ${errors}`;
  };
  assert.match(await outcome("--people", "0"), /^2 --people takes a number from 1 to 200/);
  assert.match(await outcome("--for", "long"), /^2 --for takes a span/);
  assert.match(await outcome("--data", join(tmpdir(), "no-gateway-here")), /^4 There is no gateway/);
});

test("holdfast password reads a line and prints a hash that a listener takes", async () => {
  const child = spawn(process.execPath, [MAIN, "password"]);
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => (out += String(chunk)));
  child.stdin.end("correct horse\nnot this\n");
  assert.deepEqual(await once(child, "close"), [0, null]);
  const users = new Users([{ name: "ada", hash: out.trim() }]);
  assert.equal(await users.verify("ada", "correct horse"), true);
  assert.equal(await users.verify("ada", "not this"), false);
  const empty = spawn(process.execPath, [MAIN, "password"], { stdio: ["pipe", "ignore", "ignore"] });
  empty.stdin.end();
  assert.deepEqual(await once(empty, "close"), [2, null]);
});
