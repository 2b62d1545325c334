import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { createSessions } from "../../../src/mechanisms/web/index.ts";
import { memory } from "../../../src/store/memory/index.ts";

test("sign in, be recognised, sign out, and be refused with the old cookie", async () => {
  const sessions = createSessions<{ visits: number }>({ store: memory(), initial: { visits: 0 } });
  const server = createServer(async (request, response) => {
    const session = await sessions.node(request, response);
    if (session === undefined) return;
    if (request.url === "/login") {
      await session.establish({ principal: "alice", amr: ["pwd"] });
      response.end("in");
    } else if (request.url === "/logout") {
      await session.logout();
      response.end("out");
    } else if (session.principal === undefined) {
      response.statusCode = 401;
      response.end();
    } else {
      void session.update((data) => {
        data.visits++;
      });
      response.end(`${session.principal}`);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  assert.equal((await fetch(base)).status, 401);
  const login = await fetch(`${base}/login`, { method: "POST" });
  const line = login.headers.getSetCookie()[0] ?? "";
  assert.match(line, /^__Host-session=[\w-]{43}; Path=\/; Max-Age=43200; Secure; HttpOnly; SameSite=Lax$/);
  const cookie = line.slice(0, line.indexOf(";"));
  const me = await fetch(base, { headers: { cookie } });
  assert.equal(await me.text(), "alice");
  const [mine] = await sessions.list("alice");
  assert.deepEqual((await sessions.kernel.lookUp(mine!.handle))?.data, { visits: 1 });
  await fetch(`${base}/logout`, { method: "POST", headers: { cookie } });
  assert.equal((await fetch(base, { headers: { cookie } })).status, 401);
  server.close();
  server.closeAllConnections();
  await sessions.close();
});
