import assert from "node:assert/strict";
import { createHash, randomBytes, randomInt } from "node:crypto";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { createKernel } from "../../src/kernel/index.ts";
import { createNetbios } from "../../src/mechanisms/netbios/index.ts";
import { encodeSessionPacket } from "../../src/mechanisms/netbios/codec/session.ts";
import { memory } from "../../src/store/memory/index.ts";
import { missing, run, startSamba } from "./samba.ts";

const absent = missing("smbd", "smbclient");
const skip = absent !== undefined && `${absent} is not installed`;

test(
  "100 MB through the gateway with a keepalive every 50 ms are the same bytes",
  { skip },
  async (context) => {
    const samba = await startSamba();
    const kernel = createKernel({ store: memory() });
    const gateway = createNetbios({
      kernel,
      backends: { nas: { host: "127.0.0.1", port: samba.port } },
      routes: [{ called: "FILESRV", backend: "nas" }],
      keepalive: { everyMs: 50, during: "always" },
    });
    const host = `127.${randomInt(100, 200)}.${randomInt(256)}.${randomInt(1, 255)}`;
    await gateway.listen({ host });
    const directory = mkdtempSync(join(tmpdir(), "holdfast-netbios-"));
    try {
      const content = randomBytes(100_000_000);
      const wanted = createHash("sha256").update(content).digest("hex");
      writeFileSync(join(directory, "up.bin"), content);
      for (const protocol of ["SMB3", "SMB2", "NT1"]) {
        for (let round = 0; round < 5; round++) {
          const args = [
            "-s",
            "/dev/null",
            "--option=client min protocol=NT1",
            "-N",
            "-I",
            host,
            "-p",
            "139",
            "-m",
            protocol,
          ];
          const ran = await run(
            "smbclient",
            [...args, "//FILESRV/share", "-c", "put up.bin x; get x down.bin"],
            {
              cwd: directory,
              timeoutMs: 300_000,
            },
          );
          assert.equal(ran.status, 0, ran.output);
          const got = createHash("sha256")
            .update(readFileSync(join(directory, "down.bin")))
            .digest("hex");
          assert.equal(got, wanted, `${protocol}, round ${round}`);
        }
      }
      const { keepalivesSent } = gateway.stats();
      context.diagnostic(`${keepalivesSent} keepalives`);
      assert.ok(keepalivesSent > 20);
    } finally {
      await gateway.close();
      await kernel.close();
      await samba.stop();
      rmSync(directory, { recursive: true, force: true });
    }
  },
);

test("10,000 idle sessions and 5,000 half-spoken requests stay within their bound of memory", async (context) => {
  const crowd = spawn(process.execPath, [new URL("./netbios-crowd.js", import.meta.url).pathname], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: crowd.stdout })[Symbol.asyncIterator]();
  const said = async (): Promise<string> => String((await lines.next()).value);
  const backendPort = Number(await said());
  const kernel = createKernel({ store: memory() });
  const gateway = createNetbios({
    kernel,
    backends: { nas: { host: "127.0.0.1", port: backendPort } },
    routes: [{ called: "FILESRV", backend: "nas" }],
    limits: { perPeer: Infinity, perPrincipal: Infinity, handshakesPerPeer: Infinity, handshakeMs: 600_000 },
    principal: "none",
  });
  const { port } = await gateway.listen({ port: 0 });
  const request = encodeSessionPacket({
    type: "session-request",
    called: { name: "FILESRV", suffix: 0x20, scope: "" },
    calling: { name: "IDLE", suffix: 0, scope: "" },
  });
  /** KiB of this process that each of `count` connections takes. */
  const grow = async (count: number, bytes: Buffer, there: () => number): Promise<number> => {
    collect();
    const before = process.memoryUsage.rss();
    crowd.stdin.write(`open ${count} ${port} ${bytes.toString("hex")}\n`);
    await said();
    await come(() => there() === count);
    collect();
    return (process.memoryUsage.rss() - before) / count / 1024;
  };
  const { connections } = gateway.stats();
  assert.equal(connections, 0);
  // The first ones pay for what is made once.
  await grow(500, request, () => gateway.stats().sessions);
  crowd.stdin.write("close\n");
  await said();
  await come(() => gateway.stats().connections === 0);
  const half = await grow(5_000, request.subarray(0, 40), () => gateway.stats().connections);
  crowd.stdin.write("close\n");
  await said();
  await come(() => gateway.stats().connections === 0);
  // Two descriptors a session; where fewer are allowed it is as many as there may be.
  const count = Math.min(10_000, Math.floor((descriptors() - 400) / 2));
  const idle = await grow(count, request, () => gateway.stats().sessions);
  context.diagnostic(
    `${count} sessions, ${idle.toFixed(1)} KiB each; a half-spoken request ${half.toFixed(1)} KiB`,
  );
  assert.ok(count > 1_000);
  assert.ok(idle < 40, `${idle} KiB an idle session`);
  assert.ok(half < 20, `${half} KiB a half-spoken request`);
  crowd.stdin.end();
  await once(crowd, "exit");
  await gateway.close();
  await kernel.close();
});

async function come(there: () => boolean): Promise<void> {
  for (let waited = 0; !there(); waited++) {
    assert.ok(waited < 2_400, "they did not all come");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function descriptors(): number {
  return Number(/Max open files +(\d+)/u.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? 1024);
}

function collect(): void {
  globalThis.gc?.();
}
