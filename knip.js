import { readFileSync } from "node:fs";

const { exports } = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8"));

/** What a user can import is used; so are programs started by name: tests, workers, benchmarks, examples, scripts. */
const doors = Object.values(exports)
  .filter((target) => typeof target === "object")
  .map((target) => target.default.replace(/^\.\/dist\//, "src/").replace(/\.js$/, ".ts!"));

/**
 * Installed ahead of the parts that will use them. Knip's hints name those that may be taken off the list; in the end it
 * is empty.
 */
const awaited = [
  "@tus/file-store",
  "@tus/server",
  "@types/ws",
  "aedes",
  "esbuild",
  "mqtt",
  "send",
  "socket.io",
  "socket.io-client",
  "tus-js-client",
  "ws",
  "axe-core",
  "playwright-core",
];

export default {
  entry: [
    ...doors,
    "src/cli/main.ts!",
    "test/**/*.ts",
    "bench/*.ts",
    "examples/**/*.ts",
    "src/testing/*/worker.ts",
    "script/docs/main.ts",
    "script/*.mjs",
  ],
  project: ["src/**/*.ts!", "test/**/*.ts", "bench/**/*.ts", "examples/**/*.ts", "script/**/*.{ts,mjs}"],
  // Run by script/test, which is bash.
  ignoreDependencies: ["publint", "@arethetypeswrong/cli", ...awaited],
  // Real peers, which script/peers.txt installs.
  ignoreBinaries: ["smbclient", "redis-server"],
  ignoreExportsUsedInFile: { interface: true, type: true },
};
