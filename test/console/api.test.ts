import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { parse } from "yaml";
import type {
  Console,
  ConsoleTokens,
  SessionDetail,
  SessionPage,
  SessionRow,
  Summary,
} from "../../src/console/index.ts";
import { routes } from "../../src/console/routes.ts";
import type { Revocations } from "../../src/governance/index.ts";
import type { Kernel, SessionRecord } from "../../src/kernel/index.ts";
import type { Admin } from "./admin.ts";
import { startAdmin } from "./admin.ts";

interface Operation {
  readonly "x-role": string;
  readonly responses: Record<string, { content?: Record<string, { schema: object }> }>;
}
const document = parse(readFileSync("docs/openapi.yaml", "utf8")) as {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object> };
};
const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false });
ajv.addSchema({ $id: "api", ...document });

let kernel: Kernel;
let admin: Console & ConsoleTokens;
let place: Admin;
let base: string;
let operator: string;
let viewer: string;
let revocations: Revocations;

before(async () => {
  place = await startAdmin();
  ({ kernel, base, operator, viewer, revocations } = place);
  admin = place.console;
});

after(() => place.close());

/** Calls the API, and holds every answer against the document. */
async function call<Body>(
  method: string,
  path: string,
  body?: object,
  token = operator,
): Promise<{ status: number; body: Body }> {
  const response = await fetch(base + path, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body !== undefined && { "content-type": "application/json" }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const answer: unknown = await response.json();
  const template = Object.keys(document.paths).find((one) =>
    new RegExp(`^${one.replaceAll(/\{\w+\}/g, "[^/]+")}$`).test(new URL(path, base).pathname),
  );
  const operation = document.paths[template ?? ""]?.[method.toLowerCase()];
  const content = operation?.responses[String(response.status)]?.content;
  const schema = response.ok
    ? {
        $ref: `api#/paths/${(template ?? "").replaceAll("~", "~0").replaceAll("/", "~1")}/${method.toLowerCase()}/responses/${response.status}/content/application~1json/schema`,
      }
    : { $ref: "api#/components/schemas/Problem" };
  if (response.ok)
    assert.ok(content, `${method} ${path} answered ${response.status}, which is not documented`);
  const valid = ajv.compile(schema);
  assert.ok(
    valid(answer),
    `${method} ${path}: ${ajv.errorsText(valid.errors)}\n${JSON.stringify(answer).slice(0, 500)}`,
  );
  return { status: response.status, body: answer as Body };
}

async function make(principal: string, more: object = {}): Promise<SessionRecord> {
  return (await kernel.establish({ mechanism: "web", mode: "request-response", principal, ...more })).record;
}

test("the OpenAPI document names exactly the routes there are, with their roles", () => {
  const parts = { kernel, revocations } as Parameters<typeof routes>[0];
  const served = routes(parts).map((route) => `${route.method} ${route.path} ${route.role}`);
  const documented = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations)
      .filter(([method]) => method !== "parameters")
      .map(([method, operation]) => `${method.toUpperCase()} ${path} ${operation["x-role"]}`),
  );
  assert.deepEqual(new Set(documented), new Set([...served, "GET /api/feed viewer"]));
});

test("nobody gets in without a sign-in, and a viewer may only look", async () => {
  assert.equal((await fetch(`${base}/api/sessions`)).status, 401);
  const app = await kernel.establish({
    mechanism: "web",
    mode: "request-response",
    principal: "mallory",
    roles: ["operator"],
  });
  const forged = await call("GET", "/api/me", undefined, app.secret?.reveal() ?? "");
  assert.equal(forged.status, 401, "a session of some application is no sign-in here, whatever its roles");
  const me = await call<{ session: string }>("GET", "/api/me", undefined, viewer);
  assert.deepEqual(me.body, {
    name: "look",
    role: "viewer",
    session: me.body.session,
    node: "here",
    version: "0.0.0",
  });
  assert.equal(
    (await call<SessionDetail>("GET", `/api/sessions/${me.body.session}`)).body.session.principal,
    "console:look",
  );
  const selector = { principal: "nobody" };
  assert.equal((await call("POST", "/api/revocations", { selector, reason: "x" }, viewer)).status, 403);
  assert.equal((await call("POST", "/api/locks", { selector, reason: "x" }, viewer)).status, 403);
  assert.equal((await call("POST", "/api/preview", selector, viewer)).status, 200);
});

test("a sign-in link works once, sets a strict cookie, and signing out ends it", async () => {
  const link = await admin.signInLink();
  const first = await fetch(link, { redirect: "manual" });
  assert.equal(first.status, 303);
  assert.equal(first.headers.get("location"), "/");
  const line = first.headers.getSetCookie()[0] ?? "";
  assert.match(line, /^__Host-holdfast-console=.*Secure; HttpOnly; SameSite=Strict$/);
  const cookie = line.split(";", 1)[0] ?? "";
  assert.equal(
    ((await (await fetch(`${base}/api/me`, { headers: { cookie } })).json()) as { role: string }).role,
    "operator",
  );
  const second = await fetch(link, { redirect: "manual" });
  assert.equal(second.headers.get("location"), "/sign-in?failed=1");
  await fetch(`${base}/sign-out`, { method: "POST", headers: { cookie } });
  assert.equal((await fetch(`${base}/api/me`, { headers: { cookie } })).status, 401);
});

test("lists with filters, in pages that hold while sessions come and go", async () => {
  const made = [];
  for (let i = 0; i < 25; i++)
    made.push(await make("pia", { label: `label ${i}`, peer: { address: `10.0.0.${i}` } }));
  await make("quinn", { mechanism: "dialog", mode: "full-duplex", tenant: "acme" });
  const seen: string[] = [];
  let next: string | undefined;
  do {
    const after = next === undefined ? "" : `&after=${next}`;
    const { body } = await call<SessionPage>("GET", `/api/sessions?principal=pia&limit=10${after}`);
    seen.push(...body.sessions.map((row) => row.handle));
    next = body.next;
    await kernel.end(made[0] as SessionRecord, { reason: "logout" });
  } while (next !== undefined);
  assert.ok(seen.length >= 24 && new Set(seen).size === seen.length);
  const find = async (query: string): Promise<readonly SessionRow[]> =>
    (await call<SessionPage>("GET", `/api/sessions?${query}`)).body.sessions;
  assert.equal((await find("tenant=acme&mechanism=dialog&state=established")).length, 1);
  assert.equal((await find("q=10.0.0.7")).length, 1);
  assert.equal((await find("q=LABEL%2024")).length, 1);
  assert.equal((await find("principal=pia&olderThan=3600000")).length, 0);
  for (const query of ["limit=0", "limit=x", "state=odd", "colour=red", "after=here", "parent=x"]) {
    assert.equal((await call("GET", `/api/sessions?${query}`)).status, 400, query);
  }
});

test("shows one session with children and timeline, also after its end, and no credential anywhere", async () => {
  const parent = await make("rosa", { data: { cart: ["x"] }, startedAt: Date.now() });
  const child = await make("rosa", { mechanism: "dialog", parent: parent.handle });
  const detail = await call<{ children: SessionRow[]; data: unknown }>(
    "GET",
    `/api/sessions/${parent.handle}`,
  );
  assert.deepEqual(detail.body.data, { cart: ["x"] });
  assert.deepEqual(
    detail.body.children.map((row) => row.handle),
    [child.handle],
  );
  assert.ok(!JSON.stringify(detail.body).includes(parent.credentials.current ?? "?"));
  await kernel.end(parent, { reason: "logout" });
  const ended = await call<{ session: SessionRow }>("GET", `/api/sessions/${parent.handle}`);
  assert.equal(ended.body.session.ended?.graceful, true);
  const { body } = await call<{ timeline: { event: string }[] }>(
    "GET",
    `/api/sessions/${parent.handle}/timeline`,
  );
  assert.deepEqual(
    body.timeline.map((entry) => entry.event),
    ["begin", "establish", "issue", "end"],
  );
  assert.equal((await call("GET", "/api/sessions/00000000000000000000")).status, 404);
  assert.equal((await call("GET", "/api/sessions/nonsense")).status, 400);
});

test("previews, revokes with receipts under the operator's name, and refuses a selector with a typo", async () => {
  await make("sam");
  const live = (
    await kernel.establish({ mechanism: "socks", mode: "full-duplex", principal: "sam", own: true })
  ).record;
  let closed = false;
  await kernel.attach(live, { close: () => void (closed = true) });
  const preview = await call<{ count: number; byMechanism: object }>("POST", "/api/preview", {
    principal: "sam",
  });
  assert.deepEqual(preview.body, { ...preview.body, count: 2, byMechanism: { web: 1, socks: 1 } });
  for (const selector of [{ principle: "sam" }, {}, { all: false }, { handle: "x" }, { principal: "" }, []]) {
    assert.equal(
      (await call("POST", "/api/revocations", { selector, reason: "typo" })).status,
      400,
      JSON.stringify(selector),
    );
  }
  assert.equal(
    (await call("POST", "/api/revocations", { selector: { principal: "sam" } })).status,
    400,
    "a reason is asked for",
  );
  const made = await call<{ id: string }>("POST", "/api/revocations", {
    selector: { principal: "sam" },
    reason: "left",
  });
  assert.equal(made.status, 201);
  assert.ok(closed);
  interface Receipts {
    settled: boolean;
    by: string;
    receipts: { state: string }[];
  }
  let answer = await call<Receipts>("GET", `/api/revocations/${made.body.id}`);
  for (let i = 0; i < 100 && !answer.body.settled; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    answer = await call<Receipts>("GET", `/api/revocations/${made.body.id}`);
  }
  assert.ok(answer.body.settled && answer.body.by === "op");
  assert.deepEqual(
    answer.body.receipts.map((receipt) => receipt.state),
    ["closed", "closed"],
  );
  assert.equal((await call("GET", "/api/revocations")).status, 200);
  assert.equal((await call("GET", "/api/revocations/none")).status, 404);
});

test("locks and unlocks", async () => {
  await make("tom");
  const made = await call<{ lock: { id: string } }>("POST", "/api/locks", {
    selector: { principal: "tom" },
    reason: "audit",
    until: Date.now() + 60_000,
  });
  assert.equal(made.status, 201);
  await assert.rejects(make("tom"));
  assert.equal((await call<{ locks: unknown[] }>("GET", "/api/locks")).body.locks.length, 1);
  assert.equal((await call("DELETE", `/api/locks/${made.body.lock.id}`)).status, 200);
  assert.equal((await call("DELETE", `/api/locks/${made.body.lock.id}`)).status, 404);
  assert.equal(
    (await call("POST", "/api/locks", { selector: { principal: "tom" }, reason: "late", until: 1 })).status,
    400,
  );
  assert.ok(await make("tom"));
});

test("nodes, the summary and sign-in links answer as documented", async () => {
  assert.equal((await call("GET", "/api/nodes")).status, 200);
  const summary = await call<Summary>("GET", "/api/summary");
  assert.equal(summary.status, 200);
  assert.deepEqual(summary.body.tls, { handshakes: 6, offered: 4, resumed: 3, refusals: { expired: 1 } });
  const made = await call<{ link: string }>("POST", "/api/sign-in-links", { role: "viewer" });
  const response = await fetch(made.body.link, { redirect: "manual" });
  const cookie = response.headers.getSetCookie()[0]?.split(";", 1)[0] ?? "";
  assert.equal(
    ((await (await fetch(`${base}/api/me`, { headers: { cookie } })).json()) as { role: string }).role,
    "viewer",
  );
  assert.equal((await call("POST", "/api/sign-in-links", { role: "root" })).status, 400);
});

test("bad requests get a clear problem: too long, not JSON, wrong method, nothing there", async () => {
  const post = (body: string, type = "application/json"): Promise<Response> =>
    fetch(`${base}/api/preview`, {
      method: "POST",
      headers: { authorization: `Bearer ${operator}`, "content-type": type },
      body,
    });
  assert.equal((await post("x".repeat(1_100_000))).status, 413);
  assert.equal((await post("{")).status, 400);
  assert.equal((await post("[]")).status, 400);
  assert.equal((await post("{}", "text/plain")).status, 415);
  assert.equal((await call("DELETE", "/api/me")).status, 405);
  assert.equal((await call("GET", "/api/nothing")).status, 404);
});

interface SseEvent {
  readonly id?: string;
  readonly event?: string;
  readonly data: string;
}

async function* follow(lastEventId?: string, say: "header" | "query" = "header"): AsyncGenerator<SseEvent> {
  const stop = new AbortController();
  const headers = {
    authorization: `Bearer ${operator}`,
    ...(lastEventId !== undefined && say === "header" && { "last-event-id": lastEventId }),
  };
  const query =
    lastEventId !== undefined && say === "query" ? `?after=${encodeURIComponent(lastEventId)}` : "";
  const response = await fetch(`${base}/api/feed${query}`, { headers, signal: stop.signal });
  assert.match(response.headers.get("content-type") ?? "", /^text\/event-stream/);
  let text = "";
  try {
    for await (const chunk of response.body as ReadableStream<Uint8Array>) {
      text += new TextDecoder().decode(chunk);
      for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n")) {
        const block = text.slice(0, end);
        text = text.slice(end + 2);
        const fields = Object.fromEntries(
          block
            .split("\n")
            .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]),
        );
        if (fields["data"] !== undefined) yield fields as unknown as SseEvent;
      }
    }
  } finally {
    stop.abort();
  }
}

async function until(
  events: AsyncGenerator<SseEvent>,
  wanted: (event: SseEvent) => boolean,
): Promise<SseEvent> {
  for (;;) {
    const { value, done } = await events.next();
    assert.ok(done !== true, "the feed ended");
    if (wanted(value)) return value;
  }
}

test("the feed tells of changed rows and entries, and goes on behind its last id with nothing missed", async () => {
  const first = follow();
  await until(first, (event) => event.event === "feed");
  const one = await make("uma");
  const seen = await until(first, (event) => event.event === "rows" && event.data.includes(one.handle));
  assert.ok(seen.id);
  await first.return(undefined);
  const two = await make("uma");
  await kernel.end(one, { reason: "logout" });
  for (const say of ["header", "query"] as const) {
    const again = follow(seen.id, say);
    const rows = await until(again, (event) => event.event === "rows" && event.data.includes(two.handle));
    const { changed, ended } = JSON.parse(rows.data) as { changed: SessionRow[]; ended: SessionRow[] };
    assert.ok(
      changed.some((row) => row.handle === two.handle) && ended.some((row) => row.handle === one.handle),
      say,
    );
    await again.return(undefined);
  }
  const lost = follow("a cursor of somebody else's");
  await until(lost, (event) => event.event === "gap");
  await lost.return(undefined);
});

test("the feed tells of receipts while they fill in", async () => {
  const { record } = await kernel.establish({
    mechanism: "socks",
    mode: "full-duplex",
    principal: "vera",
    own: true,
  });
  await kernel.attach(record, { close: () => {} });
  const events = follow();
  await until(events, (event) => event.event === "feed");
  await call("POST", "/api/revocations", { selector: { principal: "vera" }, reason: "test" });
  await until(
    events,
    (event) =>
      event.event === "receipt" && event.data.includes('"closed"') && event.data.includes(record.handle),
  );
  await events.return(undefined);
});
