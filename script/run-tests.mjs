// Runs the compiled tests with Node's own runner. Arguments narrow the files by substring; --soak takes the long ones.
// With CI=true a file that failed is run once more, alone: what fails twice fails the run, what passes then is named as
// flaky. Nothing a test has started outlives the run.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const FILE_LIMIT_MS = 300_000;
const RUN_LIMIT_MS = 45 * 60_000;

const words = process.argv.slice(2);
const soak = words.includes("--soak");
const wanted = words.filter((word) => !word.startsWith("--"));
const passOn = words.filter((word) => word.startsWith("--") && word !== "--soak");
const ending = soak ? ".soak.js" : ".test.js";

const files = readdirSync("build/test", { recursive: true })
  .map((name) => join("build/test", String(name)))
  .filter(
    (name) => name.endsWith(ending) && (wanted.length === 0 || wanted.some((word) => name.includes(word))),
  )
  .sort();
if (files.length === 0) {
  console.error(`no ${ending} file matches ${wanted.join(" ") || "(everything)"}`);
  process.exit(2);
}
if (!passOn.some((option) => option.startsWith("--test-reporter"))) {
  const compact = fileURLToPath(new URL("./compact-reporter.mjs", import.meta.url));
  passOn.push(`--test-reporter=${process.stdout.isTTY ? "spec" : compact}`);
}

const notes = mkdtempSync(join(tmpdir(), "holdfast-tests-"));
process.on("exit", () => rmSync(notes, { recursive: true, force: true }));
// Whoever read our output has gone; so do we, and what we started.
process.stdout.on("error", () => process.kill(process.pid, "SIGTERM"));
process.exitCode = await runTwice();

async function runTwice() {
  const first = await run(files, 2);
  if (first.code === 0 || process.env.CI !== "true" || first.failed.length === 0) return first.code;
  process.stdout.write(`\nonce more, each alone: ${first.failed.join(", ")}\n`);
  const second = await run(first.failed, 1);
  if (second.code === 0) process.stdout.write(`flaky: ${first.failed.join(", ")}\n`);
  return second.code;
}

/** The exit code, and the files that failed as far as the reporter could say. */
async function run(some, concurrency) {
  const list = join(notes, "failed");
  rmSync(list, { force: true });
  let over = false;
  // Its own process group, so that whatever is left at the end can be found; what it writes comes through us, so that
  // nobody who is left can keep our output open.
  const stdio = process.stdout.isTTY ? "inherit" : ["ignore", "pipe", "pipe"];
  const limit = soak ? [] : [`--test-timeout=${FILE_LIMIT_MS}`];
  const child = spawn(
    process.execPath,
    ["--enable-source-maps", "--test", `--test-concurrency=${concurrency}`, ...limit, ...passOn, ...some],
    { stdio, detached: true, env: { ...process.env, HOLDFAST_FAILED_FILES: list } },
  );
  child.stdout?.on("data", (chunk) => process.stdout.write(chunk));
  child.stderr?.on("data", (chunk) => process.stderr.write(chunk));
  const kill = (signal) => {
    try {
      process.kill(-child.pid, signal);
    } catch (error) {
      if (error.code !== "ESRCH") throw error;
    }
  };
  const stop = (signal) => kill(signal);
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, stop);
  const tooLong = setTimeout(() => {
    console.error(`the tests did not end in ${RUN_LIMIT_MS / 60_000} minutes`);
    kill("SIGKILL");
  }, RUN_LIMIT_MS);
  if (soak) clearTimeout(tooLong);
  // The runner waits for everybody who holds the output of one of its files, even when it has told all there is.
  const watch = setInterval(() => {
    if (over) kill("SIGKILL");
    over = existsSync(list);
  }, 5_000);
  const code = await new Promise((resolve) => {
    child.on("exit", (status, signal) => {
      kill("SIGKILL");
      const told = readFailed(list);
      const code = status ?? (signal && told?.length !== 0 ? 1 : 0);
      child.on("close", () => resolve(code));
      setTimeout(() => resolve(code), 2_000).unref();
    });
  });
  clearTimeout(tooLong);
  clearInterval(watch);
  for (const signal of ["SIGINT", "SIGTERM"]) process.off(signal, stop);
  return { code, failed: readFailed(list) ?? [] };
}

/** Undefined when the reporter did not come to its end. */
function readFailed(list) {
  try {
    return readFileSync(list, "utf8").split("\n").filter(Boolean);
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}
