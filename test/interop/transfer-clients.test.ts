import { strict as assert } from "node:assert";
import { spawn, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, before, describe, it } from "node:test";
import { Upload as Upload4 } from "tus-js-client";
import type { UploadOptions as Options4 } from "tus-js-client";
import { Upload as Upload5 } from "tus-js-client-5";
import type { UploadOptions as Options5 } from "tus-js-client-5";
import type { FinishedFile } from "../../src/mechanisms/transfer/index.ts";
import { serve } from "../mechanisms/transfer/served.ts";
import type { Served } from "../mechanisms/transfer/served.ts";

/** As the newer release declares them; the older one takes the same, and its types lack some. */
type Options = Partial<Options5>;

interface Client {
  readonly url: string | null;
  start(): void;
  abort(): Promise<void>;
}

const CLIENTS: readonly {
  readonly name: string;
  readonly make: (source: Buffer | Readable, options: Options) => Client;
  readonly terminate: (url: string) => Promise<void>;
}[] = [
  {
    name: "tus-js-client 4",
    make: (source, options) => new Upload4(source as Buffer, options as unknown as Options4),
    terminate: (url) => Upload4.terminate(url, { retryDelays: [] }),
  },
  {
    name: "tus-js-client 5",
    make: (source, options) => new Upload5(source as Buffer, options),
    terminate: (url) => Upload5.terminate(url, { retryDelays: [] } as unknown as Options5),
  },
];

for (const { name, make, terminate } of CLIENTS)
  describe(name, () => {
    let served: Served;
    const files: FinishedFile[] = [];
    const content = randomBytes(1_000_000);
    before(async () => {
      served = await serve({ onFinish: (file) => void files.push(file) });
    });
    after(async () => {
      assert.deepEqual(served.faults, []);
      await served.stop();
    });

    const MODES: readonly {
      readonly name: string;
      readonly options: Partial<Options>;
      readonly streamed?: boolean;
    }[] = [
      { name: "in one request", options: {} },
      { name: "in chunks", options: { chunkSize: 300_000 } },
      { name: "with data during creation", options: { uploadDataDuringCreation: true } },
      {
        name: "with data during creation, in chunks",
        options: { uploadDataDuringCreation: true, chunkSize: 300_000 },
      },
      {
        name: "with a deferred length",
        options: { uploadLengthDeferred: true, chunkSize: 300_000 },
        streamed: true,
      },
      {
        name: "with a deferred length and data during creation",
        options: { uploadLengthDeferred: true, uploadDataDuringCreation: true, chunkSize: 300_000 },
        streamed: true,
      },
      { name: "in parallel parts", options: { parallelUploads: 3 } },
      {
        name: "in parallel parts with data during creation",
        options: { parallelUploads: 2, uploadDataDuringCreation: true },
      },
      { name: "with the method overridden", options: { overridePatchMethod: true } },
      {
        name: "with the method overridden, in chunks",
        options: { overridePatchMethod: true, chunkSize: 250_000 },
      },
      {
        name: "from a stream of known length",
        options: { chunkSize: 300_000, uploadSize: 1_000_000 },
        streamed: true,
      },
      { name: "over draft 03 of the IETF's protocol", options: { protocol: "ietf-draft-03" } },
      { name: "over draft 03 in chunks", options: { protocol: "ietf-draft-03", chunkSize: 300_000 } },
      { name: "over draft 05 of the IETF's protocol", options: { protocol: "ietf-draft-05" } },
      { name: "over draft 05 in chunks", options: { protocol: "ietf-draft-05", chunkSize: 300_000 } },
      {
        name: "with a request id and headers",
        options: { addRequestId: true, headers: { "X-Custom": "1" } },
      },
    ];
    for (const mode of MODES) {
      it(mode.name, async () => {
        const before = files.length;
        const upload = await run(
          mode.streamed === true ? Readable.from(inPieces(content, 90_000)) : content,
          mode.options,
        );
        assert.equal(files.length, before + 1);
        const file = files.at(-1);
        assert.deepEqual(Buffer.from(file?.sha256 ?? []), createHash("sha256").update(content).digest());
        // The drafts know no Upload-Metadata; a name there is a Content-Disposition.
        assert.equal(file?.name, mode.options.protocol === undefined ? "data.bin" : undefined);
        assert.ok(upload.url?.startsWith(served.url));
      });
    }

    it("aborts, and another instance resumes from its URL", async () => {
      const url = await new Promise<string>((resolve, reject) => {
        const upload: Client = make(content, {
          ...common(),
          chunkSize: 200_000,
          onChunkComplete: (_size, accepted) => {
            if (accepted < 400_000) return;
            void upload.abort().then(() => resolve(upload.url ?? ""));
          },
          onError: reject,
        });
        upload.start();
      });
      let first: number | undefined;
      await run(content, { uploadUrl: url, onProgress: (sent) => (first ??= sent) });
      assert.ok((first ?? 0) >= 400_000, "nothing acknowledged is sent again");
      assert.deepEqual(
        Buffer.from(files.at(-1)?.sha256 ?? []),
        createHash("sha256").update(content).digest(),
      );
    });

    it("terminates", async () => {
      const upload = await run(content, {});
      await terminate(upload.url ?? "");
      assert.equal((await fetch(upload.url ?? "")).status, 410);
    });

    const common = (): Options => ({
      endpoint: served.url,
      retryDelays: [],
      metadata: { filename: "data.bin" },
    });

    function run(source: Buffer | Readable, options: Partial<Options>): Promise<Client> {
      return new Promise((resolve, reject) => {
        const upload: Client = make(source, {
          ...common(),
          ...options,
          onSuccess: () => resolve(upload),
          onError: reject,
        });
        upload.start();
      });
    }
  });

describe("download tools resume from us", () => {
  let directory = "";
  let served: Served;
  let server: Server;
  let url = "";
  const content = randomBytes(3_000_000);
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "holdfast-tools-"));
    const path = join(directory, "source.bin");
    await writeFile(path, content);
    await utimes(path, 1_700_000_000, 1_700_000_000);
    served = await serve();
    const download = served.transfers.download(path);
    server = createServer((request, response) => void download.node(request, response));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/source.bin`;
  });
  after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await served.stop();
    await rm(directory, { recursive: true });
  });

  const TOOLS: readonly {
    readonly name: string;
    args(target: string): readonly string[];
    prepare?(target: string): Promise<void>;
  }[] = [
    { name: "curl", args: (target) => ["-sS", "--fail", "-C", "-", "-o", target, url] },
    { name: "wget", args: (target) => ["-q", "-c", "-O", target, url] },
    {
      name: "aria2c",
      args: (target) => [
        "-q",
        "-c",
        "--file-allocation=none",
        "--split=4",
        "--min-split-size=1M",
        "-d",
        directory,
        "-o",
        target.slice(directory.length + 1),
        url,
      ],
    },
  ];
  for (const tool of TOOLS) {
    it(
      `${tool.args("").includes("-c") ? `${tool.name} -c` : `${tool.name} -C -`}`,
      { skip: missing(tool.name) },
      async () => {
        const target = join(directory, `${tool.name}.bin`);
        await writeFile(target, content.subarray(0, 1_234_567));
        await runTool(tool.name, tool.args(target));
        assert.deepEqual(await readFile(target), content);
        assert.equal((await stat(target)).size, content.length);
      },
    );
  }
});

function missing(tool: string): string | false {
  const found = spawnSync("sh", ["-c", `command -v ${tool}`]).status === 0;
  if (!found && process.env["CI"] === "true")
    throw new Error(`${tool} has to be installed where the tests decide`);
  return found ? false : `${tool} is not installed`;
}

/** Beside the event loop, which has to go on serving. */
async function runTool(name: string, args: readonly string[]): Promise<void> {
  const child = spawn(name, args, { stdio: ["ignore", "ignore", "pipe"] });
  let complaints = "";
  child.stderr.on("data", (chunk: Buffer) => (complaints += chunk.toString()));
  const code = await new Promise((resolve) => child.on("close", resolve));
  assert.equal(code, 0, complaints);
}

function* inPieces(content: Buffer, bytes: number): Generator<Buffer> {
  for (let at = 0; at < content.length; at += bytes) yield content.subarray(at, at + bytes);
}
