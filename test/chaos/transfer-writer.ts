// Runs as a process of its own: appends known bytes to an upload and says after every commit how far it is durable.
import { writeSync } from "node:fs";
import { openDiskStorage } from "../../src/mechanisms/transfer/storage/disk.ts";
import type { UploadId } from "../../src/mechanisms/transfer/storage/storage.ts";

/** The bytes of every upload in these tests: byte `at` depends on `at` alone. */
export function patternBytes(from: number, length: number): Buffer {
  const out = Buffer.alloc(length);
  for (let index = 0; index < length; index += 1) {
    const at = from + index;
    out[index] = (at * 31 + (at >> 8) * 17 + (at >> 16) * 7) & 0xff;
  }
  return out;
}

async function main(
  directory: string,
  id: UploadId,
  chunkBytes: number,
  chunksPerCommit: number,
  boot: string,
): Promise<void> {
  const storage = await openDiskStorage(
    directory,
    boot === "" ? {} : { bootId: Buffer.from(boot.padEnd(32, "0"), "hex") },
  );
  const claim = await storage.claim(id, 1);
  const writer =
    claim.state === "claimed"
      ? claim.writer
      : await storage.create(id, { info: { made: "here" }, fence: 1, at: Date.now() });
  if (writer === undefined) throw new Error(`cannot write: ${claim.state}`);
  writeSync(1, `${writer.checkpoint.offset}\n`);
  let pending: Promise<unknown> = Promise.resolve();
  for (let chunk = 1; ; chunk += 1) {
    await writer.append([patternBytes(writer.written, chunkBytes)]);
    if (chunk % chunksPerCommit !== 0) continue;
    await pending;
    pending = writer.commit({ at: Date.now() }).then((done) => writeSync(1, `${done.offset}\n`));
  }
}

const [, program, directory, id, chunkBytes, chunksPerCommit, boot] = process.argv;
if (program?.endsWith("transfer-writer.js") === true && directory !== undefined && id !== undefined) {
  await main(directory, id as UploadId, Number(chunkBytes), Number(chunksPerCommit), boot ?? "");
}
