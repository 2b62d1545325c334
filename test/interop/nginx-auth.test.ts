import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { test } from "node:test";
import { up } from "../../src/gateway/index.ts";
import type { Log } from "../../src/gateway/index.ts";
import { folder, installed } from "../peers/process.ts";
import { listening, nginx } from "./tls-peers.ts";

const quiet: Log = { info() {}, warn() {}, error() {}, debug() {}, child: () => quiet };
const root = new URL("../../../", import.meta.url);

test("nginx with the lines of the manual asks the gateway who is there", async (t) => {
  if (!installed(t, "nginx")) return;
  const gateway = await up(
    {
      data: folder(t),
      store: { kind: "memory" },
      admin: { port: 0 },
      listeners: [{ mechanism: "web", port: 0 }],
    },
    { version: "1.2.3", log: quiet },
  );
  t.after(() => gateway.close());
  const [listener] = gateway.listeners;
  assert.ok(listener);
  const reached: string[] = [];
  const application = await listening(
    t,
    createServer((incoming, response) => {
      const who = String(incoming.headers["x-holdfast-principal"] ?? "nobody");
      reached.push(`${incoming.method} ${who}`);
      response.end(who);
    }),
  );
  const manual = readFileSync(new URL("docs/gateway.md", root), "utf8");
  const lines = /```nginx\n(location[\s\S]*?)```/.exec(manual)?.[1] ?? "";
  assert.match(lines, /auth_request/);
  const locations = lines
    .replace("http://127.0.0.1:7080", listener.address)
    .replace("127.0.0.1:3000", `127.0.0.1:${application}`);
  const port = await nginx(t, folder(t), (at) => `server {\nlisten 127.0.0.1:${at};\n${locations}}`);

  const { secret } = await gateway.kernel.establish({
    mechanism: "web",
    mode: "request-response",
    principal: "ada",
  });
  const cookie = `__Host-session=${secret?.reveal() ?? ""}`;
  const ask = (method: string, headers: Record<string, string>): Promise<[status: number, body: string]> =>
    new Promise((resolve, reject) => {
      const asking = request({ host: "127.0.0.1", port, method, path: "/page", headers }, (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (text: string) => (body += text));
        response.on("end", () => resolve([response.statusCode ?? 0, body]));
      });
      asking.on("error", reject).end(method === "POST" ? "a body" : undefined);
    });

  assert.deepEqual(await ask("GET", { cookie }), [200, "ada"]);
  assert.deepEqual(await ask("GET", { cookie, "x-holdfast-principal": "root" }), [200, "ada"]);
  assert.equal((await ask("GET", { "x-holdfast-principal": "root" }))[0], 401);
  const host = `127.0.0.1:${port}`;
  assert.deepEqual(await ask("POST", { cookie, host, origin: `http://${host}` }), [200, "ada"]);
  const elsewhere = { cookie, origin: "https://evil.example", "sec-fetch-site": "cross-site" };
  assert.equal((await ask("POST", elsewhere))[0], 403);
  assert.equal(
    (await ask("POST", { ...elsewhere, "x-forwarded-method": "GET" }))[0],
    403,
    "a name of its own",
  );
  assert.deepEqual(await ask("GET", elsewhere), [200, "ada"], "a link from there");
  assert.deepEqual(reached, ["GET ada", "GET ada", "POST ada", "GET ada"]);
  await gateway.kernel.revoke({ principal: "ada" }, { reason: "test" });
  assert.equal((await ask("GET", { cookie }))[0], 401);
});
