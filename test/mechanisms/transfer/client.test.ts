import { strict as assert } from "node:assert";
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { connect, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { getFile, putFile } from "../../../src/mechanisms/transfer/client/files.ts";
import { Sha256, TransferError, blobSource, upload } from "../../../src/mechanisms/transfer/client/index.ts";
import type { FinishedFile } from "../../../src/mechanisms/transfer/index.ts";
import { serve } from "./served.ts";
import type { Served } from "./served.ts";

const RETRY = { attempts: 50, firstDelayMs: 2, maxDelayMs: 20 };
const isCode = (code: string) => (error: unknown) => error instanceof TransferError && error.code === code;

describe("the client", () => {
  let directory = "";
  let served: Served;
  const files: FinishedFile[] = [];
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "holdfast-client-"));
    served = await serve({ onFinish: (file) => void files.push(file) });
  });
  after(async () => {
    await served.stop();
    await rm(directory, { recursive: true });
  });
  const fresh = async (bytes: number): Promise<{ path: string; content: Buffer }> => {
    const content = randomBytes(bytes);
    const path = join(directory, randomBytes(6).toString("hex"));
    await writeFile(path, content);
    return { path, content };
  };
  const last = (): Buffer => Buffer.from(files.at(-1)?.sha256 ?? []);
  const sha256 = (content: Uint8Array): Buffer => createHash("sha256").update(content).digest();

  it("its own SHA-256 is SHA-256, however the bytes are cut", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 }), (pieces) => {
        const hash = new Sha256();
        for (const piece of pieces) hash.update(piece);
        assert.deepEqual(Buffer.from(hash.digest()), sha256(Buffer.concat(pieces)));
      }),
    );
  });

  it("puts a file, in one piece, in chunks, in parallel parts, empty, and from a Blob", async () => {
    for (const options of [
      {},
      { chunkBytes: 70_000 },
      { parallel: 3 },
      { parallel: 4, chunkBytes: 10_000 },
    ]) {
      const { path, content } = await fresh(300_000);
      const told: number[] = [];
      const done = await putFile(path, served.url, {
        ...options,
        metadata: { note: "ä" },
        onProgress: (progress) => told.push(progress.acknowledged),
      });
      assert.ok(done.verified);
      assert.deepEqual(last(), sha256(content));
      assert.equal(done.sentBytes, 300_000);
      assert.equal(told.at(-1), 300_000);
      assert.equal(files.at(-1)?.metadata["note"], "ä");
      assert.equal(existsSync(`${path}.holdfast-put`), false);
    }
    const empty = await fresh(0);
    assert.equal((await putFile(empty.path, served.url)).bytes, 0);
    const blob = new Blob(["from a ", "page"], { type: "text/plain" });
    assert.ok((await upload(blobSource(blob), served.url)).verified);
    assert.equal(files.at(-1)?.type, "text/plain");
    assert.deepEqual(last(), sha256(Buffer.from("from a page")));
  });

  it("pauses, and a later run sends only the rest", async () => {
    const { path, content } = await fresh(500_000);
    const pause = new AbortController();
    const run = putFile(path, served.url, {
      chunkBytes: 50_000,
      signal: pause.signal,
      onProgress: (progress) => {
        if (progress.acknowledged === 200_000) pause.abort();
      },
    });
    await assert.rejects(run, isCode("paused"));
    const rest = await putFile(path, served.url, { chunkBytes: 50_000 });
    assert.equal(rest.sentBytes, 300_000);
    assert.ok(rest.verified);
    assert.deepEqual(last(), sha256(content));
  });

  it("a file that changed between two runs is uploaded anew, and never mixed", async () => {
    for (const disguised of [false, true]) {
      const { path } = await fresh(400_000);
      const pause = new AbortController();
      const signal = pause.signal;
      const stop = (progress: { acknowledged: number }): void => {
        if (progress.acknowledged === 200_000) pause.abort();
      };
      await assert.rejects(
        putFile(path, served.url, { chunkBytes: 50_000, signal, onProgress: stop }),
        isCode("paused"),
      );
      const other = randomBytes(400_000);
      await writeFile(path, other);
      if (disguised) {
        // Same size, and a note that claims it is the same file: only the digest can tell.
        const note = JSON.parse(await readFile(`${path}.holdfast-put`, "utf8"));
        const { fileSource } = await import("../../../src/mechanisms/transfer/client/files.ts");
        const source = await fileSource(path);
        await source.close();
        await writeFile(`${path}.holdfast-put`, JSON.stringify({ ...note, fingerprint: source.fingerprint }));
      }
      const done = await putFile(path, served.url, { chunkBytes: 50_000 });
      assert.equal(done.sentBytes, 400_000);
      assert.deepEqual(last(), sha256(other));
    }
  });

  it("a file that changes while it is sent is not finished", async () => {
    const { path } = await fresh(400_000);
    const before = files.length;
    const run = putFile(path, served.url, {
      chunkBytes: 50_000,
      onProgress: (progress) => {
        if (progress.acknowledged === 200_000) void writeFile(path, randomBytes(400_000));
      },
    });
    await assert.rejects(run, isCode("source-changed"));
    assert.equal(files.length, before);
  });

  it("what the server refuses for good is not tried again; what is not there is said to be unreachable", async () => {
    const { path } = await fresh(10);
    await assert.rejects(putFile(path, `${served.origin}/elsewhere`, { retry: RETRY }), isCode("refused"));
    await assert.rejects(
      putFile(path, "http://127.0.0.1:9/files", { retry: { ...RETRY, attempts: 2 } }),
      isCode("unreachable"),
    );
    await assert.rejects(
      getFile(`${served.url}/nothing`, join(directory, "nothing"), { retry: RETRY }),
      isCode("refused"),
    );
  });

  it("through a network that cuts every connection after some bytes: all arrives, both ways, unmixed", async () => {
    const cutter = await cuttingProxy(served.port, 150_000);
    const { path, content } = await fresh(1_000_000);
    const done = await putFile(path, `${cutter.origin}/files`, { chunkBytes: 200_000, retry: RETRY });
    assert.ok(done.verified);
    assert.deepEqual(last(), sha256(content));
    const target = join(directory, "back");
    const got = await getFile(done.url, target, { retry: RETRY });
    assert.ok(got.verified);
    assert.equal(got.receivedBytes, 1_000_000);
    assert.deepEqual(await readFile(target), content);
    await cutter.stop();
  });

  it("goes on when the server is killed and started again in the middle", async () => {
    const { path, content } = await fresh(800_000);
    const kept: FinishedFile[] = [];
    let first = await serve();
    const { directory: place, port } = first;
    let restarted = false;
    const proxy = await cuttingProxy(() => first.port, Infinity);
    const done = await putFile(path, `${proxy.origin}/files`, {
      chunkBytes: 100_000,
      retry: RETRY,
      onProgress: (progress) => {
        if (progress.acknowledged < 300_000 || restarted) return;
        restarted = true;
        void first.stop({ keep: true }).then(async () => {
          first = await serve({ directory: place, onFinish: (file) => void kept.push(file) });
        });
      },
    });
    assert.ok(done.verified && restarted && port > 0);
    assert.deepEqual(Buffer.from(kept[0]?.sha256 ?? []), sha256(content));
    await proxy.stop();
    await first.stop();
  });

  it("a source that changes in mid-download, or between runs, is fetched anew, never appended to", async () => {
    for (const withDigest of [false, true]) {
      const path = join(directory, `source-${withDigest}`);
      const versions = [randomBytes(600_000), randomBytes(600_000)];
      let version = 0;
      await writeFile(path, versions[0] ?? "");
      const server = createServer((request, response) => {
        const digest = withDigest ? { sha256: sha256(versions[version] ?? Buffer.alloc(0)) } : {};
        void served.transfers.download({ path, ...digest }).node(request, response);
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
      const target = join(directory, `target-${withDigest}`);
      const pause = new AbortController();
      const onProgress = ({ received }: { received: number }): void => {
        if (received >= 200_000) pause.abort();
      };
      await assert.rejects(getFile(url, target, { signal: pause.signal, onProgress }), isCode("paused"));
      version = 1;
      await writeFile(path, versions[1] ?? "");
      let restarted = false;
      await getFile(url, target, { onProgress: (progress) => (restarted ||= progress.restarted) });
      assert.ok(restarted);
      assert.deepEqual(await readFile(target), versions[1]);
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it("a download whose bytes do not match the digest told is never left under its name", async () => {
    const server = createServer((_request, response) => {
      response.writeHead(200, {
        ETag: '"a"',
        "Content-Length": "3",
        "Repr-Digest": `sha-256=:${sha256(Buffer.from("xyz")).toString("base64")}:`,
      });
      response.end("abc");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const target = join(directory, "wrong");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    await assert.rejects(getFile(url, target, { retry: RETRY }), isCode("digest-mismatch"));
    assert.equal(existsSync(target), false);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
});

/** Passes bytes on, and cuts each connection after `cutAfter` of them, in either direction. */
async function cuttingProxy(
  port: number | (() => number),
  cutAfter: number,
): Promise<{ origin: string; stop: () => Promise<void> }> {
  const open = new Set<Socket>();
  const server = createTcpServer((near) => {
    const far = connect(typeof port === "number" ? port : port(), "127.0.0.1");
    let passed = 0;
    const cut = (): void => {
      near.destroy();
      far.destroy();
      open.delete(near);
    };
    open.add(near);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on("data", (chunk: Buffer) => {
        passed += chunk.length;
        if (passed > cutAfter) cut();
        else to.write(chunk);
      });
      from.on("error", cut);
      from.on("close", cut);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: async () => {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
