import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { inspect } from "node:util";
import { isHoldfastError } from "../../../src/kernel/index.ts";
import type { Handle, Selector } from "../../../src/kernel/index.ts";
import type { Login, SessionsOptions, StepUp, WebSession } from "../../../src/mechanisms/web/index.ts";
import { createSessions } from "../../../src/mechanisms/web/index.ts";
import { memory } from "../../../src/store/memory/index.ts";
import { createSessions as withDefaults } from "../../../src/web.ts";

/** What a program without types, or a tired programmer, may pass: nothing of it is taken for something else. */

const sessions = createSessions({ store: memory(), initial: {} });
after(() => sessions.close());

const visitor = async (cookie?: string): Promise<{ session: WebSession; cookie: () => Promise<string> }> => {
  const opened = await sessions.open(
    new Request("http://app.example/", cookie ? { headers: { cookie } } : {}),
  );
  return {
    session: opened.visitor,
    cookie: async () => {
      const [line = ""] = (await opened.commit(new Response())).headers.getSetCookie();
      return line.split(";", 1)[0] ?? "";
    },
  };
};

async function signedIn(principal: string): Promise<WebSession> {
  const { session } = await visitor();
  await session.establish({ principal, amr: ["pwd"] });
  return session;
}

const invalid =
  (named: RegExp) =>
  (error: unknown): boolean =>
    isHoldfastError(error, "invalid-argument") && named.test(error.message);

// Each is [what the message names, the options as a program without types has them].
const wrongOptions: readonly (readonly [RegExp, object])[] = [
  [/no option idel; there are .*idle/, { idel: "5m" }],
  [/no option secret/, { secret: "keyboard cat", resave: false }],
  [/preset/, { preset: "aal4" }],
  [/preset/, { preset: "constructor" }],
  [/idle/, { idle: null }],
  [/idle/, { idle: "30 min" }],
  [/absolute/, { absolute: false }],
  [/absolute/, { absolute: Infinity }],
  [/limits must be/, { limits: 5 }],
  [/limits.perPrincipal/, { limits: { perPrincipal: 0.5, onLimit: "refuse" } }],
  [/limits.onLimit/, { limits: { perPrincipal: 2 } }],
  [/limits.onLimit/, { limits: { perPrincipal: 2, onLimit: "kick" } }],
  [/cookie must be/, { cookie: "sid" }],
  [/no option cookie.httpOnly/, { cookie: { httpOnly: false } }],
  [/cookie.sameSite/, { cookie: { sameSite: "lax; Domain=evil.example" } }],
  [/cookie.weaken.why/, { cookie: { weaken: { insecure: true } } }],
  [/cookie.weaken.why/, { cookie: { weaken: { why: " ", insecure: true } } }],
  [/cookie.weaken.insecure/, { cookie: { weaken: { why: "tests", insecure: "yes" } } }],
  [/cookie.name.*__Host-/, { cookie: { name: "__host-x", weaken: { why: "tests", insecure: true } } }],
  [/cookie.name.*__Secure-/, { cookie: { name: "__Secure-x", weaken: { why: "tests", insecure: true } } }],
  [/cookie.partitioned/, { cookie: { partitioned: true, weaken: { why: "tests", insecure: true } } }],
  [/cookie.weaken.path/, { cookie: { weaken: { why: "tests", path: "app" } } }],
  [/cookie.weaken.domain/, { cookie: { weaken: { why: "tests", domain: "https://example.org" } } }],
  [/csrf must be/, { csrf: false }],
  [/csrf.off must be/, { csrf: { off: true } }],
  [/csrf.off.why/, { csrf: { off: { why: "" } } }],
  [/csrf.trustedOrigins/, { csrf: { trustedOrigins: "https://app.example" } }],
  [/csrf.trustedOrigins/, { csrf: { trustedOrigins: ["https://app.example/"] } }],
  [/bearer/, { bearer: "yes" }],
  [/remember/, { remember: true }],
  [/rotateEvery/, { rotateEvery: 0 }],
  [/maxCookieHeaderBytes/, { maxCookieHeaderBytes: "8k" }],
  [/trustedProxies/, { trustedProxies: true }],
  [/trustedProxies/, { trustedProxies: -1 }],
  [/store/, { store: "redis://localhost" }],
  [/store/, { store: null }],
  [/store.*beside a kernel/, { kernel: sessions.kernel }],
  [/initial/, { initial: () => ({}) }],
  [/onFault/, { onFault: "log" }],
];

test("a misspelt, misplaced or impossible option is refused by its name", () => {
  for (const [named, options] of wrongOptions) {
    const given = { store: memory(), ...options } as SessionsOptions;
    assert.throws(() => createSessions(given), invalid(named), JSON.stringify(options));
  }
});

test("a mistake in the options leaves no store behind", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-mistakes-"));
  const before = process.cwd();
  t.after(() => {
    process.chdir(before);
    rmSync(folder, { recursive: true, force: true });
  });
  process.chdir(folder);
  assert.throws(() => withDefaults({ idel: "5m" } as SessionsOptions), invalid(/idel/));
  assert.throws(
    () => withDefaults({ store: "redis://localhost" } as unknown as SessionsOptions),
    invalid(/store/),
  );
  assert.deepEqual(readdirSync(folder), []);
});

test("a login without its principal makes no session, and a list that is a text is no list of letters", async () => {
  const wrong: readonly (readonly [RegExp, object])[] = [
    [/principal/, {}],
    [/principal/, { principal: undefined }],
    [/principal.*String\(user.id\)/, { principal: 42 }],
    [/principal/, { principal: "" }],
    [/principal.*bytes long/, { principal: "x".repeat(1025) }],
    [/user/, { principal: "ada", user: "ada" }],
    [/amr/, { principal: "ada", amr: "pwd" }],
    [/roles/, { principal: "ada", roles: "administrator" }],
    [/aal/, { principal: "ada", aal: 4 }],
    [/authenticatedAt/, { principal: "ada", authenticatedAt: new Date("x").getTime() }],
    [/authenticatedAt/, { principal: "ada", authenticatedAt: "yesterday" }],
    [/tenant/, { principal: "ada", tenant: 1 }],
    [/transport/, { principal: "ada", transport: "bearer" }],
  ];
  for (const [named, login] of wrong) {
    const { session } = await visitor();
    await assert.rejects(session.establish(login as Login<never>), invalid(named), JSON.stringify(login));
    assert.equal(session.exists, false);
  }
  const session = await signedIn("grace");
  for (const proof of [{}, { amr: "otp" }, { amr: ["otp"], level: 3 }])
    await assert.rejects(session.stepUp(proof as StepUp), invalid(/stepUp/));
  assert.deepEqual(session.amr, ["pwd"]);
});

test("what is no JSON is refused with its place, and what was there stays", async () => {
  const session = await signedIn("mary");
  await session.update(() => ({ cart: ["book"] }));
  const wrong: readonly (readonly [RegExp, (data: never) => unknown])[] = [
    [/must not be async/, async () => ({})],
    [/data.at is a Date/, () => ({ at: new Date(0) })],
    [/data.seen is a Map/, () => ({ seen: new Map() })],
    [/data.list\[1\] is function/, () => ({ list: [1, () => 2] })],
    [/data.n is NaN/, () => ({ n: Number.NaN })],
    [/BigInt/i, () => ({ n: 1n })],
    [
      /circular/i,
      () => {
        const ring: { self?: object } = {};
        ring.self = ring;
        return ring;
      },
    ],
  ];
  for (const [named, change] of wrong)
    await assert.rejects(session.update(change as (data: unknown) => never), invalid(named));
  await assert.rejects(
    session.update(() => ({ cart: ["x".repeat(300_000)] })),
    (error) => isHoldfastError(error, "limit-reached"),
  );
  assert.deepEqual(session.data, { cart: ["book"] });
  await session.update((data) => ({ ...(data as object), theme: undefined as never }));
  assert.deepEqual(
    JSON.parse(JSON.stringify(session.data)),
    { cart: ["book"] },
    "undefined is a member left out",
  );
});

test("nobody in particular is not everybody: a list or a revocation without its principal is refused", async () => {
  await signedIn("joan");
  const nobody = undefined as unknown as string;
  await assert.rejects(sessions.list(nobody), invalid(/principal/));
  await assert.rejects(sessions.list(""), invalid(/principal/));
  assert.deepEqual(await sessions.list("never seen"), []);
  const wrong: readonly object[] = [
    {},
    { principal: nobody },
    { principal: nobody, mechanism: "web" },
    { principle: "joan", mechanism: "web" },
    { all: false, mechanism: "web" },
    { principal: ["joan"] },
    { reason: "oops" },
  ];
  for (const selector of wrong) {
    const meant = selector as Selector;
    await assert.rejects(sessions.kernel.revoke(meant, { reason: "test" }), invalid(/selector/i));
    await assert.rejects(sessions.kernel.preview(meant), invalid(/selector/i));
    await assert.rejects(sessions.kernel.lock({ selector: meant, reason: "test" }), invalid(/selector/i));
    await assert.rejects(
      async () => {
        for await (const one of sessions.kernel.sessions(meant)) assert.fail(`${one.handle} was listed`);
      },
      invalid(/selector/i),
    );
  }
  assert.equal((await sessions.list("joan")).length, 1);
});

test("a user ends what is theirs by its handle, and nothing of anybody else's", async () => {
  const mine = await signedIn("ada");
  const theirs = await signedIn("bob");
  assert.ok(mine.handle && theirs.handle);
  assert.equal(await sessions.end(theirs.handle, { principal: "ada" }), false);
  await assert.rejects(
    sessions.end(theirs.handle, { principal: undefined as unknown as string }),
    invalid(/principal/),
  );
  assert.equal((await sessions.list("bob")).length, 1);
  assert.equal(await sessions.end(mine.handle, { principal: "ada", by: "ada" }), true);
  assert.equal(await sessions.end(mine.handle, { principal: "ada" }), false, "it has ended already");
  for (const handle of ["garbage", "__proto__", ""])
    assert.equal(await sessions.end(handle as Handle), false);
});

test("a session in a log says whose it is, and gives away neither its data nor its secret", async () => {
  const session = await signedIn("vera");
  await session.update(() => ({ pin: "1234" }));
  assert.equal(inspect(session), `WebSession { vera, handle ${session.handle} }`);
  assert.equal(inspect((await visitor()).session), "WebSession { nobody }");
  assert.equal(JSON.stringify(session), "{}");
});

test("a request that no adapter has seen is told so", () => {
  assert.throws(() => sessions.of({}), invalid(/middleware/));
  assert.throws(() => sessions.of(undefined as unknown as object), invalid(/middleware/));
});
