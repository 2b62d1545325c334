import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";

/** The programs of a page, with the name of the page and their place in it. */
function programs(page: string): { readonly name: string; readonly text: string }[] {
  const blocks = readFileSync(page, "utf8").matchAll(/^```ts\n(.*?)^```$/gms);
  return [...blocks].map(([, text = ""], i) => ({ name: `${page.replace(/\W/g, "-")}-${i + 1}`, text }));
}

test("every program on the first page and on the page of web sessions is one that TypeScript takes, strictly", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-pages-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  symlinkSync(resolve("node_modules"), join(folder, "node_modules"));
  const exports = (
    JSON.parse(readFileSync("package.json", "utf8")) as { exports: Record<string, { types?: string }> }
  ).exports;
  const paths: Record<string, string[]> = {};
  for (const [name, { types }] of Object.entries(exports)) {
    const source = types?.replace("./dist/", "src/").replace(".d.ts", ".ts");
    if (source !== undefined) paths[name.replace("./", "holdfast/")] = [resolve(source)];
  }
  const compilerOptions = {
    ...{ module: "nodenext", target: "es2023", noEmit: true, allowImportingTsExtensions: true },
    ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
    ...{ skipLibCheck: true, moduleDetection: "force", types: ["node"], paths },
  };
  const all = [...programs("README.md"), ...programs("docs/web.md")];
  assert.ok(all.length >= 7, "they are found");
  // One compilation for each set that may stand together: the page's declarations are for a program of their own.
  const alone = all.filter(({ text }) => text.includes("declare global"));
  for (const [name, set] of Object.entries({ together: all.filter((one) => !alone.includes(one)), alone })) {
    const place = join(folder, name);
    mkdirSync(place);
    writeFileSync(join(place, "package.json"), '{"type":"module"}');
    writeFileSync(join(place, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["*.ts"] }));
    for (const one of set) writeFileSync(join(place, `${one.name}.ts`), one.text);
    if (name === "alone") writeFileSync(join(place, "use.ts"), USE);
    const tsc = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", place], {
      encoding: "utf8",
    });
    assert.equal(tsc.status, 0, tsc.stdout + tsc.stderr);
  }
});

/** What the declarations of the page are for: the session where each framework's users look for it, with its type. */
const USE = `
import express from "express";
import fastify from "fastify";
import { Hono } from "hono";
import Koa from "koa";
import { createSessions } from "holdfast/web";

const sessions = createSessions<{ cart: string[]; theme?: "dark" }>({ initial: { cart: [] } });
express().use(sessions.express()).get("/", async (request, response) => {
  await request.session.update((data) => void data.cart.push("book"));
  response.json(request.session.data?.cart.map((one) => one.toUpperCase()));
});
const app = fastify();
await app.register(sessions.fastify());
app.get("/", async (request) => request.session.data?.theme ?? "light");
new Hono().use(sessions.hono()).get("/", (context) => context.text(context.get("session").principal ?? "nobody"));
new Koa().use(sessions.koa()).use((context) => void (context.body = context.session.principal));
`;
