import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, rmSync } from "node:fs";
import https from "node:https";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { chromiumMissing, launchChromium } from "../console/chromium.ts";
import { asFile, certificate } from "../mechanisms/tls/certificates.ts";
import { folder, freePort, installed, run, serverProcess } from "../peers/process.ts";

const pairs = { ec: certificate(["localhost"]), rsa: certificate(["localhost"], { kind: "rsa" }) };
const ca = certificate(["ca.test"]);
const ann = certificate(["ann"], { by: ca });
const REQUEST = "GET /who HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/** Three processes behind HAProxy, which hands connections out in turn and does not look into them. */
async function cluster(
  t: TestContext,
  mode: "ticket" | "cache",
  kind: keyof typeof pairs,
): Promise<{ open: number; closed: number; restart(i: number): Promise<void> } | undefined> {
  if (!installed(t, "openssl") || !installed(t, "haproxy")) return undefined;
  const place = folder(t);
  const files = [pairs[kind].key, pairs[kind].cert, ca.cert].map(asFile);
  const children: ChildProcess[] = [];
  t.after(() => children.forEach((child) => child.kill("SIGKILL")));
  const program = fileURLToPath(new URL("./tls-process.js", import.meta.url));
  const start = async (i: number, at: readonly number[]): Promise<[number, number]> => {
    const child = fork(program, [mode, join(place, "store"), ...files, ...at.map(String)]);
    children[i] = child;
    const [pair] = (await once(child, "message")) as [[number, number]];
    return pair;
  };
  const ports = await Promise.all([0, 1, 2].map((i) => start(i, [])));
  const restart = async (i: number): Promise<void> => {
    const child = children[i] ?? assert.fail();
    child.kill("SIGKILL");
    await once(child, "exit");
    await start(i, ports[i] ?? assert.fail());
  };
  const [open, closed] = [await freePort(), await freePort()];
  const listen = (name: string, port: number, index: 0 | 1): string =>
    [
      `listen ${name}`,
      `  bind 127.0.0.1:${port}`,
      "  balance roundrobin",
      ...ports.map((pair, i) => `  server s${i} 127.0.0.1:${pair[index]}`),
    ].join("\n");
  const config = [
    "defaults",
    "  mode tcp",
    "  timeout connect 30s",
    "  timeout client 60s",
    "  timeout server 60s",
    listen("open", open, 0),
    listen("closed", closed, 1),
    "",
  ].join("\n");
  await serverProcess(t, "haproxy", ["-db", "-f", asFile(config)], open);
  return { open, closed, restart };
}

interface Told {
  readonly pid: number;
  readonly reused: boolean;
  readonly protocol: string;
  readonly authorized: boolean;
}

for (const mode of ["ticket", "cache"] as const) {
  for (const kind of mode === "ticket" ? (["ec", "rsa"] as const) : (["ec"] as const)) {
    test(`${mode}, ${kind}: real clients resume over three processes behind HAProxy`, async (t) => {
      const ports = await cluster(t, mode, kind);
      if (ports === undefined) return;
      for (const version of ["1.2", "1.3"] as const) {
        await t.test(`openssl s_client, TLS ${version}`, () => opensslChain(ports.open, version, []));
        const certified = ["-cert", asFile(ann.cert), "-key", asFile(ann.key)];
        await t.test(`openssl s_client with a certificate, TLS ${version}`, () =>
          opensslChain(ports.closed, version, certified),
        );
        if (kind === "rsa") continue;
        await t.test(`Node, TLS ${version}: at least 99 of 100`, () => nodeAgent(ports.open, version));
        await t.test(`curl, TLS ${version}`, (inner) => curl(inner, ports.open, version));
      }
      await t.test("each process killed and started again in turn: no full handshake", () =>
        rollingRestart(ports),
      );
      if (kind !== "rsa") await t.test("Chromium, TLS 1.3: 15 of 15", (inner) => chromium(inner, ports.open));
    });
  }
}

/** Each connection saves its session for the next; `-reconnect` would not do, it is always New in TLS 1.3. */
async function opensslChain(port: number, version: "1.2" | "1.3", more: readonly string[]): Promise<void> {
  const saved = asFile("");
  rmSync(saved);
  const pids = new Set<number>();
  for (let i = 0; i < 7; i++) {
    const resume = existsSync(saved) ? ["-sess_in", saved] : [];
    const args = ["s_client", "-connect", `127.0.0.1:${port}`, "-servername", "localhost", "-ign_eof"];
    args.push(version === "1.2" ? "-tls1_2" : "-tls1_3", "-sess_out", saved, ...resume, ...more);
    const { stdout, stderr } = await run("openssl", args, { input: REQUEST });
    const told = toldIn(stdout, stderr);
    pids.add(told.pid);
    assert.equal(told.protocol, `TLSv${version}`);
    assert.match(stdout, i === 0 ? /^New, TLSv1/m : /^Reused, TLSv1/m, `connection ${i}`);
    assert.equal(told.reused, i > 0, `connection ${i}`);
    assert.equal(told.authorized, more.length > 0);
  }
  assert.equal(pids.size, 3, "the balancer has used all three");
}

async function curl(t: TestContext, port: number, version: "1.2" | "1.3"): Promise<void> {
  if (!installed(t, "curl")) return;
  const urls = Array.from({ length: 7 }, () => `https://localhost:${port}/who`);
  const only = version === "1.2" ? ["--tls-max", "1.2"] : ["--tlsv1.3"];
  const resolved = ["--resolve", `localhost:${port}:127.0.0.1`];
  const { stdout, stderr } = await run("curl", ["-sS", "-k", ...resolved, ...only, ...urls]);
  const told = stdout
    .trim()
    .split("\n")
    .map((line) => toldIn(line, stderr));
  assert.equal(told.length, urls.length);
  assert.ok(told.every(({ protocol }) => protocol === `TLSv${version}`));
  // curl 7.88 offers no session of TLS 1.2, whatever server it speaks to; later ones do.
  if (version === "1.3")
    assert.deepEqual(
      told.map(({ reused }) => reused),
      [false, ...Array<boolean>(6).fill(true)],
    );
}

async function nodeAgent(port: number, version: "1.2" | "1.3"): Promise<void> {
  const agent = new https.Agent({ keepAlive: false });
  let resumed = 0;
  for (let i = 0; i < 101; i++) if ((await ask(agent, port, version)).reused) resumed++;
  agent.destroy();
  assert.ok(resumed >= 99, `${resumed} of 100`);
}

async function rollingRestart(ports: { open: number; restart(i: number): Promise<void> }): Promise<void> {
  for (const version of ["1.2", "1.3"] as const) {
    const agent = new https.Agent({ keepAlive: false });
    // Who resumes elsewhere has shown that its session is written; one that was not yet dies with its process.
    for (let visit = 0; visit < 4; visit++) await ask(agent, ports.open, version);
    const reused: boolean[] = [];
    for (let i = 0; i < 3; i++) {
      await ports.restart(i);
      for (let visit = 0; visit < 4; visit++) reused.push((await ask(agent, ports.open, version)).reused);
    }
    agent.destroy();
    assert.deepEqual(reused, Array<boolean>(12).fill(true));
  }
}

function ask(agent: https.Agent, port: number, version: "1.2" | "1.3"): Promise<Told> {
  return new Promise((resolve, reject) => {
    const where = { agent, host: "127.0.0.1", port, path: "/who", servername: "localhost" };
    const options = { ...where, rejectUnauthorized: false, maxVersion: `TLSv${version}` } as const;
    const request = https.get(options, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += String(chunk)));
      response.on("end", () => {
        const told = toldIn(text, "");
        assert.equal(told.protocol, `TLSv${version}`);
        resolve(told);
      });
    });
    request.on("error", reject);
  });
}

/** Chromium shows each TLS 1.3 ticket once, so all of them resume only when every resumption brings a new one. */
async function chromium(t: TestContext, port: number): Promise<void> {
  const missing = chromiumMissing();
  if (missing !== undefined) return t.skip(missing);
  const browser = await launchChromium(["--ignore-certificate-errors"]);
  try {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const page = await context.newPage();
    await page.goto(`https://localhost:${port}/`);
    const seen = (await page.evaluate(`(async () => {
      const seen = [];
      for (let i = 0; i < 15; i++) seen.push(await (await fetch("/who?" + i)).json());
      return seen;
    })()`)) as Told[];
    assert.deepEqual(
      seen.map(({ reused }) => reused),
      Array<boolean>(15).fill(true),
    );
    assert.ok(seen.every(({ protocol }) => protocol === "TLSv1.3"));
    assert.equal(new Set(seen.map(({ pid }) => pid)).size, 3);
  } finally {
    await browser.close();
  }
}

function toldIn(text: string, otherwise: string): Told {
  const found = /\{"pid".*\}/.exec(text)?.[0];
  if (found === undefined) assert.fail(`no answer: ${text.slice(-300)} ${otherwise.slice(-300)}`);
  return JSON.parse(found) as Told;
}
