/**
 * Two-way radio in browsers: whoever holds the turn speaks, the others hear it, and a link that is cut changes nothing
 * but the time. `node build/examples/walkie-talkie/server.js [--port=8080]`, then open the address it prints.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { parseArgs } from "node:util";
import type { Dialog } from "../../src/mechanisms/dialog/index.ts";
import { createDialogs } from "../../src/mechanisms/dialog/index.ts";
import { createKernel } from "../../src/kernel/index.ts";
import { memory } from "../../src/store/memory/index.ts";
import { radioPage, tablePage } from "./page.ts";

const { values } = parseArgs({ options: { port: { type: "string", default: "8080" } } });
const CUT_MS = 4000;

const kernel = createKernel({ store: memory() });
await kernel.start();
const dialogs = createDialogs({
  kernel,
  holdMs: 30_000,
  pingMs: 5000,
  // A name is all it takes here; where it matters, check a cookie or a token.
  authenticate: ({ authorization }) =>
    /^\w{1,20}$/.test(authorization) ? { principal: authorization } : undefined,
});

// ── the channel ─────────────────────────────────────────────────────────────────────────────────────────────────

interface Member {
  readonly name: string;
  readonly dialog: Dialog;
}

const members = new Map<string, Member>();
const waiting: Member[] = [];
let speaker: Member | undefined;

dialogs.on("open", async (dialog, { principal = "" }) => {
  members.get(principal)?.dialog.abort("you have come in by another window");
  const member = { name: principal, dialog };
  members.set(principal, member);
  // The turn is the server's until somebody asks; then it goes to one of them, and comes back.
  dialog.on("wanted", () => {
    waiting.push(member);
    passOn();
  });
  dialog.on("turn", () => giveUp(member));
  dialog.on("end", () => {
    if (members.get(principal) === member) members.delete(principal);
    giveUp(member);
  });
  announce();
  for await (const message of dialog) {
    for (const other of members.values())
      if (other !== member) await say(other, { from: principal, text: message.text });
    await message.commit();
  }
});

function passOn(): void {
  if (speaker !== undefined) return;
  speaker = waiting.shift();
  speaker?.dialog.giveTurn().catch(() => undefined);
  announce();
}

function giveUp(member: Member): void {
  const at = waiting.indexOf(member);
  if (at >= 0) waiting.splice(at, 1);
  if (speaker === member) speaker = undefined;
  passOn();
}

/** Content, for which one needs the turn: it is the server's towards everybody who does not speak. */
async function say(to: Member, what: { from: string; text: string }): Promise<void> {
  await to.dialog.send(JSON.stringify(what)).catch(() => undefined);
}

/** Who speaks is said in typed data, which needs no turn. */
function announce(): void {
  const status = { speaker: speaker?.name ?? "", members: [...members.keys()] };
  const bytes = new TextEncoder().encode(JSON.stringify(status));
  for (const { dialog } of members.values()) dialog.sendTyped(bytes).catch(() => undefined);
}

// ── the web ─────────────────────────────────────────────────────────────────────────────────────────────────────

const folder = mkdtempSync(join(tmpdir(), "walkie-talkie-"));
// From a published package it is simply served: node_modules/holdfast/dist/mechanisms/dialog/browser.
execFileSync(process.execPath, ["script/dialog-client.mjs", folder]);

/** Hands upgrades to the dialogs, but for those of a radio whose antenna is off. */
const inner = new Server();
dialogs.attach(inner, "/dialog");
const links = new Map<string, Duplex>();
const off = new Map<string, number>();

const server = createServer(serve);
server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
  const name = new URL(request.url ?? "/", "http://localhost").searchParams.get("radio") ?? "";
  socket.on("error", () => socket.destroy());
  if ((off.get(name) ?? 0) > Date.now()) return void socket.destroy();
  links.set(name, socket);
  inner.emit("upgrade", request, socket, head);
});

function serve(request: IncomingMessage, response: ServerResponse): void {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://localhost");
  const script = /^\/([\w-]+\.js)$/.exec(pathname)?.[1];
  if (request.method === "POST" && pathname === "/cut") {
    const name = searchParams.get("radio") ?? "";
    off.set(name, Date.now() + CUT_MS);
    links.get(name)?.destroy();
    response.writeHead(204).end();
  } else if (script !== undefined && existsSync(join(folder, script))) {
    response.writeHead(200, { "content-type": "text/javascript" }).end(readFileSync(join(folder, script)));
  } else if (pathname === "/" || pathname === "/radio") {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
    response.end(pathname === "/" ? tablePage : radioPage);
  } else response.writeHead(404).end();
}

server.listen(Number(values.port), "127.0.0.1", () => {
  const address = server.address();
  if (typeof address === "object" && address !== null)
    process.stdout.write(`walkie-talkie at http://127.0.0.1:${address.port}/\n`);
});

process.once("SIGTERM", () => void stop());
process.once("SIGINT", () => void stop());

async function stop(): Promise<void> {
  await dialogs.close();
  server.closeAllConnections();
  server.close();
  await kernel.close();
  rmSync(folder, { recursive: true, force: true });
}
