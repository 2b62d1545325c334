// A process that takes the write lock of the LMDB folder it is given, says so, and never lets go.
import { open } from "lmdb";

const root = open({ path: String(process.argv[2]), noSubdir: false, maxDbs: 16 });
root.transactionSync(() => {
  process.stdout.write("locked\n");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
});
