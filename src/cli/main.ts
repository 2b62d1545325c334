#!/usr/bin/env node
import { commands } from "./commands/index.ts";
import { run } from "./run.ts";
import { version } from "./version.ts";

const interrupt = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => interrupt.abort());
// A reader that has seen enough (`holdfast watch | head`) closes the pipe.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

process.exitCode = await run(commands, process.argv.slice(2), version(), {
  isTerminal: process.stdout.isTTY,
  columns: process.stdout.columns ?? 80,
  env: process.env,
  signal: interrupt.signal,
  out: (text) => void process.stdout.write(text),
  error: (text) => void process.stderr.write(text),
});
