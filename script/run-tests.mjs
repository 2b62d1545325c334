// Runs the compiled tests with Node's own runner. Arguments narrow the files by substring; --soak takes the long ones.
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

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
const child = spawn(
  process.execPath,
  ["--enable-source-maps", "--test", "--test-concurrency=2", "--test-timeout=600000", ...passOn, ...files],
  { stdio: "inherit" },
);
child.on("exit", (code, signal) => process.exit(code ?? (signal ? 1 : 0)));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
