import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { connect } from "node:tls";

import { readAdminFile } from "../../src/console/index.ts";
import type { Config, Gateway, Log } from "../../src/gateway/index.ts";
import { up } from "../../src/gateway/index.ts";
import type { Established } from "../../src/kernel/index.ts";
import { createKernel } from "../../src/kernel/index.ts";
import { createSessions } from "../../src/mechanisms/web/index.ts";
import { lmdb } from "../../src/store/lmdb/index.ts";
import { selfSigned } from "../peers/certificate.ts";

const folders: string[] = [];
const running = new Set<Gateway>();
after(async () => {
  for (const gateway of running) await gateway.close();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

const quiet: Log = { info() {}, warn() {}, error() {}, debug() {}, child: () => quiet };

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "holdfast-gateway-"));
  folders.push(made);
  return made;
}

async function start(config: Config = {}): Promise<Gateway> {
  const gateway = await up(
    { data: folder(), store: { kind: "memory" }, ...config, admin: { port: 0, ...config.admin } },
    { version: "1.2.3", log: quiet },
  );
  running.add(gateway);
  return gateway;
}

const text = async (url: string): Promise<{ status: number; body: string }> => {
  const response = await fetch(url);
  return { status: response.status, body: await response.text() };
};

test("is alive, ready and tells its metrics; its page and API are beside them", async () => {
  const gateway = await start({ listeners: [{ mechanism: "web", name: "verify", port: 0 }] });
  const admin = gateway.adminOrigin;
  assert.deepEqual(await text(`${admin}/healthz`), { status: 200, body: "alive\n" });
  assert.deepEqual(await text(`${admin}/readyz`), { status: 200, body: "ready\n" });
  await gateway.kernel.establish({ mechanism: "web", mode: "request-response", principal: "ada" });
  const gone = await gateway.kernel.establish({
    mechanism: "web",
    mode: "request-response",
    principal: "bob",
  });
  await gateway.kernel.end(gone.record, { reason: "logout" });
  assert.equal(await gateway.kernel.verify("nonsense"), undefined);
  const { status, body } = await text(`${admin}/metrics`);
  assert.equal(status, 200);
  // One for ada, one is the command line's token.
  assert.match(body, /^holdfast_sessions\{mechanism="web",state="established"\} 2$/m);
  assert.match(body, /^holdfast_sessions_ended_total\{mechanism="web",reason="logout"\} 1$/m);
  assert.match(body, /^holdfast_feed_live 1$/m);
  assert.match(body, /^holdfast_refusals\{reason="unknown"\} 1$/m);
  assert.match(body, /^holdfast_listener_open\{listener="verify",mechanism="web"\} 0$/m);
  assert.match(body, /^process_cpu_seconds_total/m);
  assert.equal((await fetch(`${admin}/api/me`)).status, 401);
});

test("the link signs one browser in, once, as an operator", async () => {
  const gateway = await start();
  const link = await gateway.signInLink();
  const first = await fetch(link, { redirect: "manual" });
  assert.equal(first.headers.get("location"), "/");
  const cookie = (first.headers.getSetCookie()[0] ?? "").split(";")[0] ?? "";
  const me = await fetch(`${gateway.adminOrigin}/api/me`, { headers: { cookie } });
  assert.equal(((await me.json()) as { role: string }).role, "operator");
  const second = await fetch(link, { redirect: "manual" });
  assert.equal(second.headers.get("location"), "/sign-in?failed=1");
});

test("tells a proxy who is behind a request, until the session is revoked", async () => {
  const data = folder();
  const gateway = await start({
    data,
    store: { kind: "lmdb" },
    listeners: [{ mechanism: "web", port: 0 }],
  });
  const [listener] = gateway.listeners;
  assert.ok(listener);
  // The application that signs people in is another process of this machine; here it shares the folder.
  const store = lmdb({ path: data });
  const kernel = createKernel({ store, node: "application" });
  const sessions = createSessions({ kernel });
  const { visitor, commit } = await sessions.open(new Request("http://app.example/login"));
  await visitor.establish({ principal: "zoë", roles: ["admin", "dev"], amr: ["pwd"] });
  const signedIn = await commit(new Response());
  const cookie = (signedIn.headers.getSetCookie()[0] ?? "").split(";")[0] ?? "";
  const ask = (headers: Record<string, string>): Promise<Response> =>
    fetch(`${listener.address}/verify`, { headers });

  const good = await ask({ cookie });
  assert.equal(good.status, 200);
  assert.equal(good.headers.get("x-holdfast-principal"), "zo%C3%AB");
  assert.equal(good.headers.get("x-holdfast-roles"), "admin,dev");
  assert.equal(good.headers.get("x-holdfast-session"), visitor.handle);
  assert.equal((await ask({})).status, 401);
  assert.equal((await ask({ cookie: "__Host-session=forged" })).status, 401);
  // What another site's page sends in zoë's name is refused before the application sees it.
  const elsewhere = { cookie, "sec-fetch-site": "cross-site", origin: "https://evil.example" };
  assert.equal((await ask({ ...elsewhere, "x-forwarded-method": "POST" })).status, 403);
  assert.equal((await ask({ ...elsewhere, "x-forwarded-method": "GET" })).status, 200, "a link from there");
  const own = { cookie, origin: "https://app.example", "x-forwarded-host": "app.example" };
  assert.equal((await ask({ ...own, "x-forwarded-method": "DELETE" })).status, 200);
  const other = { ...own, "x-forwarded-host": "other.example", "x-forwarded-method": "DELETE" };
  assert.equal((await ask(other)).status, 403);
  await gateway.kernel.revoke({ principal: "zoë" }, { reason: "test", by: "ops" });
  assert.equal((await ask({ cookie })).status, 401);
  await kernel.close();
  await store.close();
});

test("stopping refuses what is new, lets what is under way finish, and leaves no session without an owner", async () => {
  const gateway = await start({ listeners: [{ mechanism: "web", port: 0 }], drain: "20s" });
  const { kernel, adminOrigin } = gateway;
  const own = { mode: "full-duplex", principal: "ada", own: true } as const;
  const resumable = await kernel.establish({ ...own, mechanism: "dialog", resumableMs: 60_000 });
  const not = await kernel.establish({ ...own, mechanism: "socks" });
  const ends: Record<string, string> = {};
  kernel.onEntry(({ handle, event, detail }) => {
    const reason = detail?.["reason"];
    if (handle === undefined) return;
    if (event === "suspend") ends[handle] = event;
    if (event === "end" && typeof reason === "string") ends[handle] = reason;
  });
  const [listener] = gateway.listeners;
  assert.ok(listener);
  // A request whose answer waits for the store.
  const find = kernel.store.find.bind(kernel.store);
  let release: () => void = () => {};
  const reached = new Promise<void>((resolve) => {
    kernel.store.recall = () => undefined;
    kernel.store.find = async (key, options) => {
      resolve();
      await new Promise<void>((go) => (release = go));
      return find(key, options);
    };
  });
  const { secret } = await kernel.establish({ mechanism: "web", mode: "request-response", principal: "ada" });
  const cookie = `__Host-session=${secret?.reveal() ?? ""}`;
  const answer = fetch(`${listener.address}/verify`, { headers: { cookie } });
  await reached;
  const stopped = gateway.close();
  assert.equal((await text(`${adminOrigin}/readyz`)).body, "draining\n");
  await assert.rejects(fetch(`${listener.address}/verify`));
  release();
  assert.equal((await answer).status, 200);
  await stopped;
  assert.equal(ends[resumable.record.handle], "suspend");
  assert.equal(ends[not.record.handle], "bye");
  await assert.rejects(fetch(`${adminOrigin}/healthz`));
});

test("an operator's limits hold for whatever is established", async () => {
  const gateway = await start({
    limits: [
      {
        mechanism: "socks",
        "per-principal": 1,
        principals: { eve: 0 },
        absolute: "1h",
        "retain-ended": "10m",
      },
    ],
  });
  const socks = (principal: string): Promise<Established> =>
    gateway.kernel.establish({ mechanism: "socks", mode: "full-duplex", principal });
  const { record } = await socks("ada");
  assert.equal(record.absoluteAt, record.createdAt + 3_600_000);
  await assert.rejects(socks("ada"), /may have 1 socks sessions/);
  await assert.rejects(socks("eve"), /may have 0 socks sessions/);
  const ended = (await gateway.kernel.end(record, { reason: "finished" }))?.ended;
  assert.equal(ended?.purgeAt, (ended?.at ?? 0) + 600_000);
});

test("refuses to show the admin port to others without TLS, unless told to in so many words", async () => {
  await assert.rejects(
    start({ admin: { host: "0.0.0.0" } }),
    /admin\.tls a certificate, or say admin\.exposed/,
  );
  const exposed = await start({ admin: { host: "0.0.0.0", exposed: true } });
  assert.match(exposed.adminOrigin, /^http:\/\/127\.0\.0\.1:\d+$/);
});

test("a port that is taken is told with whose it would have been", async () => {
  const first = await start();
  const port = Number(new URL(first.adminOrigin).port);
  await assert.rejects(
    start({ admin: { port } }),
    new RegExp(
      `Cannot start the admin port on 127\\.0\\.0\\.1:${port}: another program listens there already`,
    ),
  );
});

test("a renewed certificate is served to new connections; one that does not fit its key is left aside", async () => {
  const place = folder();
  for (const name of ["one", "two"]) selfSigned(place, name);
  const cert = join(place, "cert.pem");
  const key = join(place, "key.pem");
  const install = (from: string, what: "both" | "certificate"): void => {
    copyFileSync(join(place, `${from}.crt`), cert);
    if (what === "both") copyFileSync(join(place, `${from}.key`), key);
  };
  install("one", "both");
  const gateway = await start({ admin: { tls: { cert, key } } });
  assert.match(gateway.adminOrigin, /^https:/);
  assert.equal(await servedName(gateway.adminOrigin), "one");
  install("two", "certificate");
  gateway.reload();
  assert.equal(await servedName(gateway.adminOrigin), "one");
  install("two", "both");
  const giveUp = Date.now() + 30_000;
  // By itself: the folder is watched.
  while ((await servedName(gateway.adminOrigin)) !== "two") {
    assert.ok(Date.now() < giveUp, "the new certificate was not taken");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
});

test("the command line finds it by a file that only its user can read", async () => {
  const data = folder();
  const gateway = await start({ data });
  const file = readAdminFile(data);
  assert.equal(file?.url, gateway.adminOrigin);
  const me = await fetch(`${file?.url}/api/me`, { headers: { authorization: `Bearer ${file?.token}` } });
  assert.equal(me.status, 200);
});

test("an oversized or broken request is answered and harms nobody", async () => {
  const gateway = await start({ listeners: [{ mechanism: "web", port: 0 }] });
  const [listener] = gateway.listeners;
  assert.ok(listener);
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const request = httpRequest(`${listener.address}/verify`, {
      headers: { cookie: `__Host-session=${"x".repeat(10_000)}` },
    });
    request.on("response", (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on("error", reject);
    request.end();
  });
  assert.equal(status, 431);
  assert.equal((await fetch(`${listener.address}/verify`)).status, 401);
});

function servedName(origin: string): Promise<string> {
  const { hostname, port } = new URL(origin);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on("error", reject);
  });
}
