import assert from "node:assert/strict";
import { testOnOtherNodes } from "../peers/node-versions.ts";

// What a client keeps of a session is Node's to decide, and it has changed: newer ones put a name in front of it.
testOnOtherNodes("the inspector sees what it sees on this one", {
  files: [new URL("./tls-inspect.test.js", import.meta.url)],
  which: "--test-name-pattern=/openssl s_server|names that share a key|asks for a client's/",
  passed: (count) => assert.equal(count, 3),
});
