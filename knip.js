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
const awaited = ["send", "axe-core"];

export default {
  entry: [
    ...doors,
    "src/cli/main.ts!",
    "src/mechanisms/dialog/client-browser.ts!",
    "test/**/*.ts",
    "test/interop/uppy-page.js",
    "bench/*.ts",
    "examples/**/*.ts",
    "src/testing/*/worker.ts",
    "script/docs/main.ts",
    "script/*.mjs",
  ],
  vite: { config: ["console-ui/vite.config.ts"] },
  project: [
    "src/**/*.ts!",
    "console-ui/**/*.{ts,tsx}",
    "test/**/*.{ts,js}",
    "bench/**/*.ts",
    "examples/**/*.ts",
    "script/**/*.{ts,mjs}",
  ],
  // The first two are run by script/test, which is bash; the font is named in a style sheet.
  ignoreDependencies: ["publint", "@arethetypeswrong/cli", "@fontsource-variable/inter", ...awaited],
  // Real peers, which script/peers.txt installs.
  ignoreBinaries: ["smbclient", "logger", "redis-server", "unshare", "losetup", "openssl"],
  ignoreExportsUsedInFile: { interface: true, type: true },
};
