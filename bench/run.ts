// npm run bench -- NAME [--rounds N]: runs bench/NAME.ts; its last line is one JSON object. Without a name: which there are.
import { readdirSync } from "node:fs";

import type { BenchOptions, Figures } from "./harness.ts";

const HERE = new URL(".", import.meta.url);
const NOT_BENCHES = new Set(["run", "harness"]);

const names = readdirSync(HERE)
  .filter((file) => /\.[jt]s$/.test(file) && !file.endsWith(".d.ts"))
  .map((file) => file.slice(0, -3))
  .filter((name) => !NOT_BENCHES.has(name))
  .sort();

const { name, rounds } = readArguments(process.argv.slice(2));
if (name === undefined || !names.includes(name)) {
  if (name !== undefined) console.error(`There is no benchmark ${name}.`);
  console.log(`npm run bench -- NAME [--rounds N]\n\n${names.map((one) => `  ${one}`).join("\n")}`);
  process.exit(name === undefined ? 0 : 2);
}
const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
const bench = (await import(new URL(`./${name}.${extension}`, HERE).href)) as {
  default: (options: BenchOptions) => Promise<Figures>;
};
const figures = await bench.default(rounds === undefined ? {} : { rounds });
console.log(JSON.stringify({ bench: name, ...figures }));

function readArguments(words: readonly string[]): { name?: string; rounds?: number } {
  const read: { name?: string; rounds?: number } = {};
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? "";
    const value = word === "--rounds" ? words[++i] : /^--rounds=(.*)$/.exec(word)?.[1];
    if (value === undefined) {
      if (word.startsWith("--")) fail(`${word} is not an option that is known here.`);
      read.name = word;
      continue;
    }
    read.rounds = Number(value);
    if (!Number.isInteger(read.rounds) || read.rounds < 1)
      fail(`--rounds takes a whole number, not ${value}.`);
  }
  return read;
}

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}
