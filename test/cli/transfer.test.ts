import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { connect, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import type { Terminal } from "../../src/cli/command.ts";
import { commands } from "../../src/cli/commands/index.ts";
import { size, TransferProgress } from "../../src/cli/progress.ts";
import { run } from "../../src/cli/run.ts";
import type { Kernel } from "../../src/kernel/index.ts";
import { createKernel } from "../../src/kernel/index.ts";
import type { Transfers, TransferStorage } from "../../src/mechanisms/transfer/index.ts";
import { createTransfers, openDiskStorage, sha256OfFile } from "../../src/mechanisms/transfer/index.ts";
import { memory } from "../../src/store/memory/index.ts";

const MAIN = new URL("../../src/cli/main.js", import.meta.url).pathname;
const CHUNK = 64 * 1024;
const BYTES = 20 * CHUNK + 123;

let folder: string;
let kernel: Kernel;
let store: TransferStorage;
let transfers: Transfers;
let server: Server;
let origin: string;
let file: string;
const children = new Set<ChildProcess>();
/** Stands in front of the handler; true when it has taken the request. */
let inFront: (request: IncomingMessage, response: ServerResponse) => boolean = () => false;
/** What PATCH requests brought: where they began, and how many bytes came. */
let patches: { offset: number; bytes: number }[] = [];

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-cli-transfer-"));
  file = join(folder, "film.bin");
  writeFileSync(file, randomBytes(BYTES));
  kernel = createKernel({ store: memory() });
  store = await openDiskStorage(join(folder, "uploads"));
  transfers = createTransfers({
    store,
    kernel,
    authorize: ({ header }) =>
      header("authorization") === "Bearer wrong" ? { allow: false, status: 401, why: "no" } : { allow: true },
  });
  const download = transfers.download({ path: file, sha256: await sha256OfFile(file) });
  server = createServer({ requestTimeout: 0 }, (request, response) => {
    if (inFront(request, response)) return;
    if (request.method === "PATCH") {
      const patch = { offset: Number(request.headers["upload-offset"]), bytes: 0 };
      patches.push(patch);
      request.on("data", (chunk: Buffer) => (patch.bytes += chunk.length));
    }
    void (request.url === "/film.bin" ? download : transfers).node(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

beforeEach(() => {
  inFront = () => false;
  patches = [];
});

after(async () => {
  for (const child of children) child.kill("SIGKILL");
  await transfers.close();
  server.closeAllConnections();
  server.close();
  await store.close();
  await kernel.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Run {
  readonly child: ChildProcess;
  readonly ended: Promise<{ code: number | null; signal: string | null; out: string; error: string }>;
}

/** The real program in a process of its own. */
function start(...args: string[]): Run {
  const child = spawn(process.execPath, [MAIN, ...args], { cwd: folder });
  children.add(child);
  let [out, error] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (out += String(chunk)));
  child.stderr.on("data", (chunk: Buffer) => (error += String(chunk)));
  const ended = once(child, "close").then(([code, signal]) => {
    children.delete(child);
    return { code: code as number | null, signal: signal as string | null, out, error };
  });
  return { child, ended };
}

async function inProcess(
  args: readonly string[],
  more: Partial<Terminal> = {},
): Promise<{ code: number; out: string; error: string }> {
  let [out, error] = ["", ""];
  const terminal: Terminal = {
    isTerminal: false,
    columns: 80,
    env: {},
    signal: new AbortController().signal,
    out: (text) => void (out += text),
    error: (text) => void (error += text),
    ...more,
  };
  return { code: await run(commands, args, "1", terminal), out, error };
}

const digest = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");

/** Lets `count` PATCH requests through and holds the next; resolves when it has come. */
function holdAfter(count: number): Promise<void> {
  let seen = 0;
  return new Promise((resolve) => {
    inFront = (request) => {
      if (request.method !== "PATCH" || seen++ < count) return false;
      resolve();
      return true;
    };
  });
}

for (const [name, signal, exit] of [
  ["interrupted", "SIGINT", 7],
  ["killed", "SIGKILL", null],
] as const) {
  test(`an upload that is ${name} goes on where it was, and no acknowledged byte is sent again`, async () => {
    const held = holdAfter(7);
    const args = ["put", file, `${origin}/files`, "--chunk-bytes", String(CHUNK)];
    const first = start(...args);
    await held;
    first.child.kill(signal);
    const stopped = await first.ended;
    assert.equal(stopped.code, exit, stopped.error);
    if (exit !== null)
      assert.match(
        stopped.error,
        /film\.bin: paused at 34 % \(448 KiB of 1\.25 MiB\); the same command goes on/,
      );
    assert.ok(existsSync(`${file}.holdfast-put`));
    assert.equal(statSync(`${file}.holdfast-put`).mode & 0o077, 0);
    inFront = () => false;
    const before = patches.length;
    const second = await start(...args).ended;
    assert.equal(second.code, 0, second.error);
    assert.match(second.error, /film\.bin: going on at 34 % \(448 KiB of 1\.25 MiB\)\n/);
    assert.match(
      second.out,
      new RegExp(`^${origin}/files/\\S+\\n1\\.25 MiB, sha-256 ${digest(file)}, which the server has too\\n$`),
    );
    assert.equal(patches[before]?.offset, 7 * CHUNK);
    assert.equal(
      patches.reduce((sum, one) => sum + one.bytes, 0),
      BYTES,
    );
    assert.ok(!existsSync(`${file}.holdfast-put`));
    const stored = await fetch(second.out.split("\n", 1)[0] ?? "");
    assert.deepEqual(Buffer.from(await stored.arrayBuffer()), readFileSync(file));
  });
}

test("an upload whose file has changed meanwhile starts over, and says so", async () => {
  const changing = join(folder, "changing.bin");
  writeFileSync(changing, randomBytes(BYTES));
  const held = holdAfter(3);
  const args = ["put", changing, `${origin}/files`, "--chunk-bytes", String(CHUNK)];
  const first = start(...args);
  await held;
  first.child.kill("SIGKILL");
  await first.ended;
  inFront = () => false;
  writeFileSync(changing, randomBytes(BYTES));
  const second = await start(...args, "--json").ended;
  assert.equal(second.code, 0, second.error);
  assert.match(second.error, /cannot be used; starting over/);
  const told = JSON.parse(second.out) as Record<string, unknown>;
  assert.equal(told["sha256"], digest(changing));
  assert.equal(told["verified"], true);
});

/** Passes connections on to the server, and after so many bytes of its answers nothing more. */
async function stallingProxy(
  bytes: number,
): Promise<{ origin: string; stalled: Promise<void>; close(): void }> {
  const sockets = new Set<Socket>();
  let left = bytes;
  let tell = (): void => {};
  const stalled = new Promise<void>((resolve) => (tell = resolve));
  const proxy = createTcpServer((near) => {
    const far = connect(Number(new URL(origin).port), "127.0.0.1");
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
    }
    near.pipe(far);
    far.on("data", (chunk: Buffer) => {
      near.write(chunk.subarray(0, left));
      left -= Math.min(left, chunk.length);
      if (left > 0) return;
      far.pause();
      tell();
    });
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  return {
    origin: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    stalled,
    close: () => {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    },
  };
}

for (const [name, signal, exit] of [
  ["interrupted", "SIGINT", 7],
  ["killed", "SIGKILL", null],
] as const) {
  test(`a download that is ${name} goes on where it was, digest checked`, async () => {
    const target = join(folder, `${name}.bin`);
    const part = `${target}.holdfast-part`;
    const proxy = await stallingProxy(600_000);
    // The address is part of what a partial download belongs to, so both runs go through the same one.
    const args = ["get", `${proxy.origin}/film.bin`, target];
    const first = start(...args);
    await proxy.stalled;
    const deadline = Date.now() + 60_000;
    while ((!existsSync(part) || statSync(part).size < 500_000) && Date.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 20));
    first.child.kill(signal);
    const stopped = await first.ended;
    assert.equal(stopped.code, exit, stopped.error);
    const kept = statSync(part).size;
    assert.ok(kept >= 500_000 && kept < BYTES && !existsSync(target));
    const port = Number(new URL(proxy.origin).port);
    proxy.close();
    const ranges: (string | undefined)[] = [];
    inFront = (request) => {
      ranges.push(request.headers.range);
      return false;
    };
    const again = createServer((request, response) => server.emit("request", request, response));
    again.listen(port, "127.0.0.1");
    await once(again, "listening");
    const second = await start(...args, "--json").ended;
    assert.equal(second.code, 0, second.error);
    assert.deepEqual(ranges, [`bytes=${kept}-`]);
    assert.match(second.error, /going on at/);
    assert.deepEqual(JSON.parse(second.out), {
      file: target,
      bytes: BYTES,
      receivedBytes: BYTES - kept,
      sha256: digest(file),
      verified: true,
    });
    assert.deepEqual(readFileSync(target), readFileSync(file));
    assert.ok(!existsSync(part));
    const over = await inProcess(args);
    assert.deepEqual([over.code, /is there already; --force/.test(over.error)], [1, true]);
    assert.equal((await inProcess([...args, "--force", "--quiet"])).code, 0);
    again.closeAllConnections();
    again.close();
  });
}

test("every way a transfer can end has its exit code", async () => {
  const codes = async (...args: string[]): Promise<[number, string]> => {
    const { code, error } = await inProcess([...args, "--attempts", "1"]);
    return [code, error];
  };
  const wrong = async (expected: number, sentence: RegExp, ...args: string[]): Promise<void> => {
    const [code, error] = await codes(...args);
    assert.equal(code, expected, error);
    assert.match(error, sentence);
  };
  await wrong(2, /Name one file/, "put", file);
  await wrong(2, /is no http or https address/, "put", file, "ftp://x/");
  await wrong(2, /--chunk-bytes takes/, "put", file, `${origin}/files`, "--chunk-bytes", "0");
  await wrong(2, /"Name: value"/, "put", file, `${origin}/files`, "--header", "nonsense");
  await wrong(2, /\$HOLDFAST_PASSWORD/, "put", file, `${origin}/files`, "--user", "ada");
  await wrong(2, /ends in no name/, "get", `${origin}/`);
  await wrong(3, /cannot be read/, "put", join(folder, "none"), `${origin}/files`);
  await wrong(3, /is not a file/, "put", folder, `${origin}/files`);
  await wrong(3, /404/, "get", `${origin}/files/none`, join(folder, "x"));
  await wrong(4, /401/, "put", file, `${origin}/files`, "--token", "wrong");
  await wrong(4, /could not be reached/, "put", file, "http://127.0.0.1:1/files");
  await wrong(4, /could not be reached/, "get", "http://127.0.0.1:1/x", join(folder, "x"));
  await wrong(1, /415|400|404|405/, "put", file, `${origin}/film.bin`);
  assert.equal((await inProcess(["put", file, `${origin}/files`, "--attempts", "x"])).code, 2);
  // A server that says it has other bytes than were sent.
  inFront = (request, response) => {
    if (request.method !== "GET") return false;
    response.writeHead(200, {
      etag: '"x"',
      "content-length": "3",
      "repr-digest": `sha-256=:${Buffer.alloc(32).toString("base64")}:`,
    });
    response.end("abc");
    return true;
  };
  const { code, error } = await inProcess([
    "get",
    `${origin}/film.bin`,
    join(folder, "bad"),
    "--attempts",
    "2",
  ]);
  assert.equal(code, 8, error);
  assert.ok(!existsSync(join(folder, "bad")) && !existsSync(join(folder, "bad.holdfast-part")));
});

test("a name and password come from the address, an option or the environment, and never stay in the state", async () => {
  const seen: (string | undefined)[] = [];
  inFront = (request, response) => {
    seen.push(request.headers.authorization);
    response.writeHead(403).end();
    return true;
  };
  const endpoint = `${origin}/files`;
  const env = { HOLDFAST_PASSWORD: "pass word" };
  await inProcess(["put", file, endpoint.replace("//", "//ada:s%40t@")]);
  await inProcess(["put", file, endpoint, "--user", "ada"], { env });
  await inProcess(["put", file, endpoint], { env: { HOLDFAST_TRANSFER_TOKEN: "tok" } });
  await inProcess(["put", file, endpoint, "-H", "Authorization: Custom 1"]);
  assert.deepEqual(seen, [
    `Basic ${Buffer.from("ada:s@t").toString("base64")}`,
    `Basic ${Buffer.from("ada:pass word").toString("base64")}`,
    "Bearer tok",
    "Custom 1",
  ]);
});

test("progress is one line that redraws itself on a terminal, and tenths elsewhere", () => {
  const shown = (isTerminal: boolean, quiet = false): string => {
    let text = "";
    let now = 0;
    const terminal: Terminal = {
      isTerminal,
      columns: 100,
      env: {},
      signal: new AbortController().signal,
      out: () => {},
      error: (more) => (text += more),
    };
    const progress = new TransferProgress(terminal, "a\u001b[31mb", { quiet, now: () => now });
    for (let done = 0; done <= 200; done += 1) {
      now += 50;
      progress.show(done * 1024, 200 * 1024, false);
      if (done === 100) progress.waiting("The server could not be reached.", 2_000);
    }
    progress.end();
    return text;
  };
  const lines = shown(false).split("\n");
  assert.equal(lines.filter((line) => /\d0 %/.test(line)).length, 10);
  assert.ok(
    lines.some((line) => /^ab: 50 % \(100 KiB of 200 KiB\) {2}20\.\d KiB\/s, 5s left$/.test(line)),
    lines.join("\n"),
  );
  assert.ok(lines.includes("ab: The server could not be reached. Trying again in 2s, and so on."));
  const drawn = shown(true);
  assert.ok(
    drawn.split("\r").length > 50 && drawn.endsWith("\n") && drawn.indexOf("\n") === drawn.length - 1,
  );
  assert.match(drawn, /\[████████████············\] 50 %/);
  assert.match(drawn, /could not be reached/);
  assert.equal(shown(true, true), "");
  assert.equal(shown(false, true), "");
  assert.deepEqual(
    [size(0), size(1023), size(1024), size(10 * 1024 ** 3), size(5e15)],
    ["0 B", "1023 B", "1.00 KiB", "10.0 GiB", "4547 TiB"],
  );
});
