import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import type { ClientRequest } from "node:http";
import { request as secureRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Gateway } from "../../src/gateway/index.ts";
import { ConfigError, parseConfig, up } from "../../src/gateway/index.ts";
import type { SessionRecord } from "../../src/kernel/index.ts";
import { hashPassword } from "../../src/mechanisms/socks/index.ts";
import { getFile, putFile } from "../../src/mechanisms/transfer/client/files.ts";
import { TransferError } from "../../src/mechanisms/transfer/client/index.ts";
import { createSessions } from "../../src/mechanisms/web/index.ts";
import { selfSigned } from "../peers/certificate.ts";

const TOKEN = "correct-horse-battery";
const BYTES = 300_000;
let folder: string;
let hash: string;
let file: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-transfer-listener-"));
  hash = await hashPassword("secret");
  file = join(folder, "film.bin");
  writeFileSync(file, randomBytes(BYTES));
});

after(() => rmSync(folder, { recursive: true, force: true }));

/** A gateway with one transfer listener, and where uploads are made. */
async function gatewayOf(
  listener: string,
  more = "store: { kind: memory }",
): Promise<{ gateway: Gateway; endpoint: string }> {
  const data = mkdtempSync(join(folder, "data-"));
  const text = `admin: { port: 0 }\nlog: { level: silent }\ndata: ${data}\n${more}\nlisteners:\n  - mechanism: transfer\n    port: 0\n${listener}`;
  const gateway = await up(parseConfig(text, "holdfast.yaml", { TOKEN }));
  return { gateway, endpoint: gateway.listeners[0]?.address ?? "" };
}

const basic = (name: string, password: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}`,
});
const creation = { "tus-resumable": "1.0.0", "upload-length": "5" };

/** Uploads; a download that has just been read to its end may still be there for a moment. */
async function live(gateway: Gateway): Promise<SessionRecord[]> {
  const found: SessionRecord[] = [];
  for await (const record of gateway.kernel.sessions({ mechanism: "transfer" }))
    if (!JSON.stringify(record.data).includes('"download"')) found.push(record);
  return found;
}

/** Polls until there is something. */
async function eventually<T>(what: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (let attempt = 0; attempt < 3_000; attempt += 1) {
    const found = await what();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error("it did not come about");
}

test("users and programs upload and fetch what is theirs; strangers are told how to say who they are", async () => {
  const { gateway, endpoint } = await gatewayOf(`
    users: [{ name: ada, hash: "${hash}" }, { name: bob, hash: "${hash}" }]
    tokens: [{ name: ci, token: "\${TOKEN}" }]
`);
  try {
    const put = await putFile(file, endpoint, { headers: basic("ada", "secret") });
    assert.equal(put.verified, true);
    const copy = join(folder, "copy.bin");
    const got = await getFile(put.url, copy, { headers: basic("ada", "secret") });
    assert.equal(got.verified, true);
    assert.deepEqual(readFileSync(copy), readFileSync(file));
    // What is somebody else's looks as if it were not there.
    const other = await fetch(put.url, { headers: basic("bob", "secret") });
    assert.equal(other.status, 404);
    const program = await fetch(endpoint, {
      method: "POST",
      headers: { ...creation, authorization: `Bearer ${TOKEN}` },
    });
    assert.equal(program.status, 201);
    assert.deepEqual(
      (await live(gateway)).map((record) => record.principal),
      ["ci"],
    );
    for (const headers of [{}, basic("ada", "wrong"), { authorization: "Bearer no-such-token-here" }]) {
      const refused = await fetch(endpoint, { method: "POST", headers: { ...creation, ...headers } });
      assert.equal(refused.status, 401);
      assert.equal(
        refused.headers.get("www-authenticate"),
        'Basic realm="uploads", charset="UTF-8", Bearer realm="uploads"',
      );
    }
    const page = await fetch(endpoint, {
      method: "POST",
      headers: { ...creation, "sec-fetch-site": "same-origin" },
    });
    assert.equal(page.headers.get("www-authenticate"), null);
    await assert.rejects(
      putFile(file, endpoint, { statePath: join(folder, "none") }),
      (error) => error instanceof TransferError && error.code === "refused" && error.status === 401,
    );
  } finally {
    await gateway.close();
  }
});

test("a web session's upload belongs under it, and its end closes the upload", async () => {
  const { gateway, endpoint } = await gatewayOf(
    "    web: { bearer: true }\n    origins: [https://app.example]\n",
  );
  try {
    const sessions = createSessions({ kernel: gateway.kernel, bearer: true });
    const opened = await sessions.open(new Request("https://app.example/"));
    const { token } = await opened.visitor.establish({ principal: "ada", transport: "token" });
    await opened.commit(new Response(null));
    assert.ok(token !== undefined);
    const headers = { ...creation, authorization: `Bearer ${token.reveal()}` };
    const made = await fetch(endpoint, { method: "POST", headers });
    assert.equal(made.status, 201);
    // A cookie says the same, but not for the page of a site that is not trusted; what is said outright comes first.
    const byCookie = async (more: Record<string, string>): Promise<number> => {
      const cookie = `__Host-session=${token.reveal()}`;
      const sent = await fetch(endpoint, { method: "POST", headers: { ...creation, cookie, ...more } });
      return sent.status;
    };
    assert.equal(await byCookie({}), 201);
    assert.equal(await byCookie({ origin: "https://app.example", "sec-fetch-site": "cross-site" }), 201);
    assert.equal(await byCookie({ origin: new URL(endpoint).origin }), 201);
    assert.equal(await byCookie({ origin: "https://evil.example" }), 403);
    assert.equal(await byCookie({ origin: "null", "sec-fetch-site": "cross-site" }), 403);
    assert.equal(await byCookie({ authorization: "Bearer no-such-token-here" }), 401);
    const [upload] = await live(gateway);
    assert.equal(upload?.principal, "ada");
    const parent = upload?.parent;
    assert.ok(parent !== undefined);
    await gateway.kernel.end(parent, { reason: "logout" });
    const url = new URL(made.headers.get("location") ?? "", endpoint);
    assert.deepEqual(await live(gateway), []);
    // Who is signed in again finds it gone.
    const again = await sessions.open(new Request("https://app.example/"));
    const next = await again.visitor.establish({ principal: "ada", transport: "token" });
    await again.commit(new Response(null));
    const gone = await eventually(async () => {
      const looked = await fetch(url, {
        method: "HEAD",
        headers: { "tus-resumable": "1.0.0", authorization: `Bearer ${next.token?.reveal()}` },
      });
      return looked.status === 410 ? looked : undefined;
    });
    assert.equal(gone.status, 410);
    const nobody = await fetch(endpoint, { method: "POST", headers: creation });
    assert.equal(nobody.status, 401);
    // The page of a site that is not trusted is refused before its content is read.
    const foreign = await fetch(endpoint, {
      method: "POST",
      headers: { ...creation, origin: "https://evil.example", "sec-fetch-site": "cross-site", cookie: "x=y" },
      body: "hello",
    });
    assert.equal(foreign.status, 403);
  } finally {
    await gateway.close();
  }
});

test("finished files are delivered under their own names, read-only, and twice changes nothing", async () => {
  const incoming = join(folder, "incoming");
  const { gateway, endpoint } = await gatewayOf(`    deliver: ${incoming}\n    path: /in/box\n`);
  try {
    assert.match(endpoint, /\/in\/box$/);
    await putFile(file, endpoint);
    writeFileSync(join(folder, "other"), "other bytes");
    await putFile(join(folder, "other"), endpoint, { metadata: { filename: "film.bin" } });
    await putFile(join(folder, "other"), endpoint, { metadata: { filename: "../../.profile" } });
    const names = readdirSync(incoming).sort();
    assert.equal(names.length, 3);
    assert.ok(names.includes("film.bin") && names.includes("_profile"), names.join(", "));
    assert.match(names.join(" "), /film-[\w-]{10}\.bin/);
    assert.deepEqual(readFileSync(join(incoming, "film.bin")), readFileSync(file));
    assert.equal(statSync(join(incoming, "film.bin")).mode & 0o222, 0);
  } finally {
    await gateway.close();
  }
});

test("without users only this machine may, by its own name and not from another site's page", async () => {
  const { gateway, endpoint } = await gatewayOf("");
  try {
    const ask = async (headers: Record<string, string>): Promise<number> => {
      const outgoing = request(endpoint, { method: "POST", headers: { ...creation, ...headers } });
      outgoing.end();
      return (await eventually(() => answerOf(outgoing))) ?? 0;
    };
    assert.equal(await ask({}), 201);
    assert.equal(await ask({ host: "localhost:7090" }), 201);
    assert.equal(await ask({ host: "rebound.example" }), 403);
    assert.equal(await ask({ "sec-fetch-site": "cross-site", origin: "https://evil.example" }), 403);
  } finally {
    await gateway.close();
  }
  await assert.rejects(gatewayOf("    host: 0.0.0.0\n"), /anonymous: true/);
  const opened = await gatewayOf("    host: 0.0.0.0\n    anonymous: true\n");
  await opened.gateway.close();
  const closed = await gatewayOf("    anonymous: false\n");
  try {
    assert.equal((await fetch(closed.endpoint, { method: "POST", headers: creation })).status, 401);
  } finally {
    await closed.gateway.close();
  }
});

function answerOf(outgoing: ClientRequest): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    outgoing.on("error", reject);
    outgoing.on("response", (response) => {
      response.resume();
      resolve(response.statusCode);
    });
  });
}

test("a gateway that stops in mid-upload keeps what came, and the next one goes on there", async () => {
  const shared = `    folder: ${join(folder, "shared")}\n    limits: { commit-bytes: 65536 }\n`;
  const store = `store: { kind: lmdb, path: ${join(folder, "store")} }\ndrain: 50ms`;
  const first = await gatewayOf(shared, store);
  const made = await fetch(first.endpoint, {
    method: "POST",
    headers: { ...creation, "upload-length": String(BYTES) },
  });
  const path = new URL(made.headers.get("location") ?? "", first.endpoint).pathname;
  const outgoing = request(new URL(path, first.endpoint), {
    method: "PATCH",
    headers: {
      "tus-resumable": "1.0.0",
      "upload-offset": "0",
      "content-type": "application/offset+octet-stream",
      "transfer-encoding": "chunked",
    },
  });
  const broken = new Promise((resolve) => outgoing.on("error", resolve));
  const content = readFileSync(file);
  outgoing.write(content.subarray(0, 200_000));
  await eventually(async () =>
    (await live(first.gateway))[0]?.checkpoint?.position === 200_000 ? true : undefined,
  );
  assert.equal(first.gateway.listeners[0]?.open(), 1);
  await first.gateway.close();
  await broken;

  const second = await gatewayOf(shared, store);
  try {
    const [waiting] = await live(second.gateway);
    assert.equal(waiting?.state, "suspended");
    const url = new URL(path, second.endpoint);
    const looked = await fetch(url, { method: "HEAD", headers: { "tus-resumable": "1.0.0" } });
    assert.equal(looked.headers.get("upload-offset"), "200000");
    const rest = await fetch(url, {
      method: "PATCH",
      headers: {
        "tus-resumable": "1.0.0",
        "upload-offset": "200000",
        "content-type": "application/offset+octet-stream",
      },
      body: content.subarray(200_000),
    });
    assert.equal(rest.status, 204);
    const got = Buffer.from(await (await fetch(url)).arrayBuffer());
    assert.equal(
      createHash("sha256").update(got).digest("hex"),
      createHash("sha256").update(content).digest("hex"),
    );
  } finally {
    await second.gateway.close();
  }
});

test("it speaks TLS where it is given a certificate", async () => {
  const { key, cert } = selfSigned(folder);
  const { gateway, endpoint } = await gatewayOf(`    tls: { cert: ${cert}, key: ${key} }\n`);
  try {
    assert.match(endpoint, /^https:/);
    const outgoing = secureRequest(endpoint, {
      method: "POST",
      headers: creation,
      ca: readFileSync(cert),
      servername: "localhost",
    });
    outgoing.end();
    assert.equal(await answerOf(outgoing), 201);
  } finally {
    await gateway.close();
  }
});

test("mistakes in the listener are told with their place", () => {
  const mistakes = (lines: string): string => {
    try {
      parseConfig(`listeners:\n  - mechanism: transfer\n    ${lines}\n`, "f.yaml");
    } catch (error) {
      if (error instanceof ConfigError) return error.mistakes.join("|");
      throw error;
    }
    return "";
  };
  assert.match(mistakes("limits: { max-byts: 5 }"), /^f\.yaml:3:15: .*did you mean "max-bytes"/);
  assert.match(mistakes("tokens: [{ name: a, token: short }]"), /token/);
  assert.match(mistakes("users: [{ name: a, hash: secret }]"), /hash/);
  assert.match(mistakes("limits: { expires: 5 }"), /span of time/);
  assert.match(mistakes("path: files"), /path/);
});
