import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { run } from "../peers/process.ts";

// What a client keeps of a session is Node's to decide, and it has changed: newer ones put a name in front of it.
const NODES = fileURLToPath(new URL("../../../test/nodes/node_modules", import.meta.url));
const FILE = fileURLToPath(new URL("./tls-inspect.test.js", import.meta.url));
const HAS_PACKAGES = process.platform === "linux" && process.arch === "x64";

for (const version of ["22", "24", "26"]) {
  const binary = `${NODES}/node${version}/bin/node`;
  const missing = existsSync(binary) ? undefined : `Node ${version} is not there (script/nodes installs it)`;
  if (missing !== undefined && HAS_PACKAGES && process.env["CI"] === "true") {
    test(`Node ${version}`, () => assert.fail(missing));
    continue;
  }

  test(
    `on Node ${version} the inspector sees what it sees on this one`,
    { skip: missing ?? false },
    async () => {
      // The variable tells a runner that it is inside another one, where it runs nothing.
      const args = ["-u", "NODE_TEST_CONTEXT", binary, "--test", "--test-reporter=tap"];
      args.push("--test-name-pattern=/openssl s_server|names that share a key|asks for a client's/", FILE);
      const { code, stdout, stderr } = await run("env", args);
      assert.equal(code, 0, `${stderr}\n${stdout.slice(-2_000)}`);
      assert.match(stdout, /^# pass 3$/m);
    },
  );
}
