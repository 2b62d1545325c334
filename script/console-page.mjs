// Builds the console's page from console-ui/ into dist/console/ui, unless what is there is as new as its sources.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const built = "dist/console/ui/index.html";
const sources = [
  "package-lock.json",
  "tsconfig.json",
  "script/console-page.mjs",
  // The shapes of the admin API, which the page is checked against.
  "src/console/contract.ts",
  ...readdirSync("console-ui", { recursive: true }).map((name) => join("console-ui", String(name))),
];
const builtAt = existsSync(built) ? statSync(built).mtimeMs : 0;
if (sources.every((path) => statSync(path).mtimeMs < builtAt)) process.exit(0);

run("node_modules/.bin/tsc", "-p", "console-ui/tsconfig.json");
run("node_modules/.bin/vite", "build", "--config", "console-ui/vite.config.ts", "--logLevel", "warn");
// The font's licence travels with it.
copyFileSync("node_modules/@fontsource-variable/inter/LICENSE", "dist/console/ui/assets/inter-LICENSE.txt");

function run(command, ...args) {
  const { status, error } = spawnSync(command, args, { stdio: "inherit" });
  if (error !== undefined) console.error(`${command}: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}
