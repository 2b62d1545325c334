import { mkdtemp, open, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { openDiskStorage } from "../../src/mechanisms/transfer/storage/disk.ts";
import { storageCases } from "../../src/mechanisms/transfer/storage/conformance.ts";

describe("transfer storage on disk", () => {
  for (const one of storageCases) {
    it(one.name, async () => {
      const root = await mkdtemp(join(tmpdir(), "holdfast-storage-"));
      try {
        await one.run({
          open: () => openDiskStorage(root),
          flipBit: async (id, offset) => {
            const name = (await readdir(root)).find((file) => file.startsWith(id) && file.endsWith(".data"));
            if (name === undefined) throw new Error("no data file");
            if ((await stat(join(root, name))).size <= offset)
              throw new Error("the file is shorter than that");
            const file = await open(join(root, name), "r+");
            const byte = Buffer.alloc(1);
            await file.read(byte, 0, 1, offset);
            byte[0] = (byte[0] ?? 0) ^ 0x10;
            await file.write(byte, 0, 1, offset);
            await file.close();
          },
        });
      } finally {
        await rm(root, { recursive: true });
      }
    });
  }
});
