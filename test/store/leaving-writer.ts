// A process that begins to write into the LMDB folder it is given and exits before its transaction can go on.
import { lmdb } from "../../src/store/lmdb/index.ts";
import { sampleRecord } from "../../src/testing/store/index.ts";

const store = lmdb({ path: String(process.argv[2]) });
const standing = await store.standing(undefined);
store.create(sampleRecord({}), [], standing).then(
  () => process.stdout.write("written\n"),
  () => process.stdout.write("refused\n"),
);
// By then the thread that writes has been sent off; while this one stands still, it comes to wait for it.
setImmediate(() =>
  setImmediate(() => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    process.exit(7);
  }),
);
