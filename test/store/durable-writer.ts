// A process that writes sessions to the LMDB folder it is given, each durably and after the other, and tells their handles.
import { lmdb } from "../../src/store/lmdb/index.ts";
import { entryOf, sampleRecord } from "../../src/testing/store/index.ts";

const store = lmdb({ path: String(process.argv[2]), timeoutMs: 60_000 });
for (;;) {
  const record = sampleRecord({ principal: "somebody" });
  await store.create(record, [entryOf(record, "establish")], store.standing("somebody"), "durable");
  process.stdout.write(`${record.handle}\n`);
}
