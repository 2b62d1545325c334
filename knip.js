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
  "ajv",
  "ioredis",
  "lmdb",
  "pg",
  "pino",
  "ws",
  "yaml",
  "@fastify/cookie",
  "@fastify/session",
  "@hono/node-server",
  "@tus/file-store",
  "@tus/server",
  "@types/express",
  "@types/express-session",
  "@types/koa",
  "@types/pg",
  "@types/ws",
  "aedes",
  "axe-core",
  "connect-redis",
  "esbuild",
  "express",
  "express-session",
  "fastify",
  "fetch-socks",
  "hono",
  "iron-session",
  "koa",
  "mqtt",
  "playwright-core",
  "redis",
  "send",
  "socket.io",
  "socket.io-client",
  "socks",
  "socks-proxy-agent",
  "tus-js-client",
];

export default {
  entry: [
    ...doors,
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
  ignoreExportsUsedInFile: { interface: true, type: true },
};
