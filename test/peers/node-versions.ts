import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

interface OnOthers {
  /** Compiled test files. */
  readonly files: readonly URL[];
  /** Which of their tests: Node's option for it. */
  readonly which: string;
  /** How many tests have passed, and must have. */
  readonly passed: (count: number) => void;
}

/** Runs tests again on each version of Node that script/nodes installs. `claim` goes on from "on Node 22 …". */
export function testOnOtherNodes(claim: string, { files, which, passed }: OnOthers): void {
  for (const version of VERSIONS) {
    const binary = `${NODES}/node${version}/bin/node`;
    const missing = existsSync(binary)
      ? undefined
      : `Node ${version} is not there (script/nodes installs it)`;
    const mustBe = HAS_PACKAGES && process.env["CI"] === "true";
    test(`on Node ${version} ${claim}`, { skip: mustBe ? false : (missing ?? false) }, async () => {
      assert.equal(missing, undefined);
      const { stdout: said } = await finished(binary, ["-p", "process.version"]);
      assert.match(said, new RegExp(`^v${version}\\.`));
      // The variable tells a runner that it is inside another one, where it runs nothing.
      const args = ["-u", "NODE_TEST_CONTEXT", binary, "--test", "--test-reporter=tap"];
      args.push("--test-concurrency=1", which, ...files.map((file) => fileURLToPath(file)));
      const { code, stdout, stderr } = await finished("env", args);
      const failed = stdout.split("\n").filter((line) => /^\s*not ok/.test(line));
      assert.equal(code, 0, `${failed.join("\n")}\n${stderr}\n${stdout.slice(-2_000)}`);
      passed(Number(/^# pass (\d+)$/m.exec(stdout)?.[1] ?? 0));
    });
  }
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

const VERSIONS = ["22", "24", "26"];
/** Below test/, which is beside build/. */
const NODES = fileURLToPath(new URL("../../../test/nodes/node_modules", import.meta.url));
const HAS_PACKAGES = process.platform === "linux" && process.arch === "x64";
