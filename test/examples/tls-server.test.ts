import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { test } from "node:test";
import { connect } from "node:tls";
import { fileURLToPath } from "node:url";
import type { KeyFiles } from "../interop/tls-peers.ts";
import { keyFiles } from "../interop/tls-peers.ts";
import { installed } from "../peers/process.ts";

const PROGRAM = fileURLToPath(new URL("../../examples/tls-server.js", import.meta.url));

test("the example's sessions go from server to server and through a new certificate, until one is revoked", async (t) => {
  if (!installed(t, "openssl")) return;
  const files = keyFiles(t);
  const one = await start(t, files);
  const two = await start(t, files);
  const ca = readFileSync(files.cert);
  const began = await visit(one.port, ca);
  const [, handle = ""] = /^began ([0-9a-z]{20})$/.exec(began.said) ?? [];
  assert.notEqual(handle, "", began.said);
  // A server that has not heard of a session yet waits a moment for it; a slow disk may take longer.
  let again = await visit(two.port, ca, began.session);
  for (const until = Date.now() + 30_000; again.said !== `resumed ${handle}` && Date.now() < until;)
    again = await visit(two.port, ca, began.session);
  assert.equal(again.said, `resumed ${handle}`);
  const renewed = keyFiles(t);
  copyFileSync(renewed.cert, files.cert);
  copyFileSync(renewed.key, files.key);
  assert.equal(await one.ask("reload"), "reloaded");
  const both = Buffer.concat([ca, readFileSync(renewed.cert)]);
  const reloaded = await visit(one.port, both, again.session);
  assert.equal(reloaded.said, `resumed ${handle}`);
  assert.match(await one.ask(`revoke ${handle}`), new RegExp(`^${handle} (closed|ended)$`));
  for (const { port } of [one, two])
    assert.match((await visit(port, both, reloaded.session)).said, /^began /, "a revoked session resumed");
  const metrics = JSON.parse(await two.ask("metrics")) as { fullBecause: Record<string, number> };
  assert.equal(metrics.fullBecause["revoked"], 1);
  assert.equal(await two.ask("help"), "revoke HANDLE | reload | metrics");
  await Promise.all([one.stop(), two.stop()]);
});

interface Running {
  readonly port: number;
  ask(line: string): Promise<string>;
  stop(): Promise<void>;
}

async function start(t: TestContext, files: KeyFiles): Promise<Running> {
  const child = spawn(process.execPath, [PROGRAM, files.cert, files.key, join(files.folder, "sessions")], {
    env: { ...process.env, PORT: "0", TLS_SECRET: "known to both of the example's servers" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  const exited = once(child, "exit");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => String((await lines.next()).value);
  const port = Number(/^listening on https:\/\/localhost:(\d+)$/.exec(await next())?.[1]);
  return {
    port,
    ask(line) {
      child.stdin.write(`${line}\n`);
      return next();
    },
    async stop() {
      child.stdin.end();
      assert.deepEqual(await exited, [0, null]);
    },
  };
}

interface Visit {
  readonly said: string;
  readonly session: Buffer;
}

/** Asks for / and returns what was said, and the latest session that was given. */
function visit(port: number, ca: Buffer, session?: Buffer): Promise<Visit> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: "127.0.0.1",
      port,
      servername: "localhost",
      ca,
      ...(session !== undefined && { session }),
    });
    let text = "";
    let given = session;
    socket.on("session", (one: Buffer) => (given = one));
    socket.on("data", (chunk: Buffer) => (text += String(chunk)));
    socket.once("secureConnect", () => socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    socket.once("error", reject);
    socket.once("close", () => {
      const said = text.split("\n").find((line) => /^(began|resumed) /.test(line));
      if (said === undefined || given === undefined) reject(new Error(`it said: ${text}`));
      else resolve({ said, session: given });
    });
  });
}
