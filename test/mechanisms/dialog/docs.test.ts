import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "node:test";
import { explain } from "../../../src/mechanisms/dialog/machine/index.ts";

const guide = readFileSync("docs/dialog.md", "utf8");

test("the blocks of docs/dialog.md, one after the other, are a program that does what it says", async () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-guide-"));
  try {
    const [http, tcp] = await Promise.all([freePort(), freePort()]);
    const blocks = [...guide.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code);
    assert.ok(blocks.length >= 7);
    mkdirSync("build/guide", { recursive: true });
    const path = join("build/guide", `dialog-${process.pid}.mjs`);
    const source = `${blocks.join("\n")}\nprocess.exit(0);\n`
      .replaceAll(/"holdfast\/([^"]+)"/g, (_, name: string) => JSON.stringify(built(name)))
      .replaceAll("8080", String(http))
      .replaceAll("7710", String(tcp))
      .replaceAll("/var/lib/app", folder);
    writeFileSync(path, source);
    const { code, output } = await run(path);
    rmSync(path);
    assert.equal(code, 0, output);
    assert.deepEqual(output.trim().split("\n"), ["0 you said hello", "false", "it begins here", "finished"]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("every reason that docs/dialog.md names has its words", () => {
  const table = guide.slice(guide.indexOf("| `detail.reason`"));
  const reasons = [...table.matchAll(/`([a-z-]+)(?::[…n])?`/g)].map(([, reason = ""]) => reason);
  assert.ok(reasons.length > 20);
  for (const reason of reasons) assert.notEqual(explain(`${reason}:1:2`), `${reason}:1:2`, reason);
});

/** Where the package's exports lead in what the tests are compiled to. */
function built(name: string): string {
  const { exports } = JSON.parse(readFileSync("package.json", "utf8")) as {
    exports: Record<string, { default: string }>;
  };
  const target = exports[`./${name}`]?.default;
  assert.ok(target !== undefined, `${name} is not exported`);
  return pathToFileURL(target.replace("./dist/", "build/src/")).href;
}

function run(path: string): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [path], { stdio: ["ignore", "pipe", "pipe"] });
    const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (output += String(chunk)));
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, output });
    });
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
