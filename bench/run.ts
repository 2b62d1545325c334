import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

/** What every file `bench/NAME.ts` exports as its default. */
export type Benchmark = (options: { rounds?: number }) => Promise<Record<string, unknown>>;

const here = dirname(fileURLToPath(import.meta.url));
const NOT_BENCHMARKS = new Set(["run", "harness"]);
const names = readdirSync(here)
  .filter((file) => file.endsWith(".js"))
  .map((file) => file.slice(0, -".js".length))
  .filter((name) => !NOT_BENCHMARKS.has(name));

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string" }, help: { type: "boolean", short: "h", default: false } },
});
const name = positionals[0];
if (values.help || name === undefined || !names.includes(name)) {
  const wrong = name === undefined || values.help ? "" : `There is no benchmark ${name}.\n\n`;
  process.stderr.write(
    `${wrong}Usage: npm run bench -- NAME [--rounds N]\n\n${names.map((one) => `  ${one}\n`).join("")}`,
  );
  process.exit(values.help ? 0 : 2);
}
const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0)) {
  process.stderr.write(`--rounds takes a whole number above 0; it is "${values.rounds}".\n`);
  process.exit(2);
}

const module = (await import(pathToFileURL(join(here, `${name}.js`)).href)) as { default: Benchmark };
const figures = await module.default(rounds === undefined ? {} : { rounds });
process.stdout.write(`${JSON.stringify({ bench: name, ...figures })}\n`);
process.exit(0);
