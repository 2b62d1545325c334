import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { execFile } from "node:child_process";

/** Below test/, which is beside build/. */
const NODES = fileURLToPath(new URL("../../../../test/nodes/node_modules", import.meta.url));
const FILES = ["resumption", "refusal", "client-certificates", "hooks"].map((name) =>
  fileURLToPath(new URL(`./${name}.test.js`, import.meta.url)),
);
const HAS_PACKAGES = process.platform === "linux" && process.arch === "x64";

for (const version of ["22", "24", "26"]) {
  const binary = `${NODES}/node${version}/bin/node`;
  const missing = existsSync(binary) ? undefined : `Node ${version} is not there (script/nodes installs it)`;
  if (missing !== undefined && HAS_PACKAGES && process.env["CI"] === "true") {
    test(`Node ${version}`, () => assert.fail(missing));
    continue;
  }

  test(
    `on Node ${version} sessions resume, and are refused, as they are on this one`,
    { skip: missing ?? false },
    async () => {
      const { stdout: said } = await finished(binary, ["-p", "process.version"]);
      assert.match(said, new RegExp(`^v${version}\\.`));
      // The variable tells a runner that it is inside another one, where it runs nothing.
      const args = [
        "-u",
        "NODE_TEST_CONTEXT",
        binary,
        "--test",
        "--test-reporter=tap",
        "--test-concurrency=1",
      ];
      args.push("--test-skip-pattern=/1,000 replays|any one byte/", ...FILES);
      const { code, stdout, stderr } = await finished("env", args);
      const failed = stdout.split("\n").filter((line) => /^\s*not ok/.test(line));
      assert.equal(code, 0, `${failed.join("\n")}\n${stderr}\n${stdout.slice(-2_000)}`);
      const passed = Number(/^# pass (\d+)$/m.exec(stdout)?.[1] ?? 0);
      assert.ok(passed > 60, `${passed} tests were run`);
    },
  );
}

/** With time enough for a machine that has other things to do. */
function finished(
  command: string,
  args: readonly string[],
): Promise<{ code: number | string | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const limits = { timeout: 200_000, killSignal: "SIGKILL", maxBuffer: 2 ** 26 } as const;
    const child = execFile(command, args, limits, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : (error.code ?? child.signalCode), stdout, stderr }),
    );
  });
}
