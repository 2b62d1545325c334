import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { createKernel, isHoldfastError } from "../../../src/kernel/index.ts";
import type { Kernel } from "../../../src/kernel/index.ts";
import { connect } from "../../../src/mechanisms/dialog/client-node.ts";
import type { NodeConnectOptions } from "../../../src/mechanisms/dialog/client-node.ts";
import type { Dialog, Dialogs, LinkRequest } from "../../../src/mechanisms/dialog/index.ts";
import { createDialogs } from "../../../src/mechanisms/dialog/index.ts";
import { memory } from "../../../src/store/memory/index.ts";
import { CutLink } from "./cut-link.ts";
import { selfSigned } from "../../peers/certificate.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-dialog-tls-"));
const faults: unknown[] = [];
const requests: LinkRequest[] = [];
let kernel: Kernel;
let dialogs: Dialogs;
let server: { key: Buffer; cert: Buffer };
let device: { key: Buffer; cert: Buffer };
let stop: () => Promise<void> = () => Promise.resolve();

before(async () => {
  server = certificate("localhost");
  device = certificate("meter-7");
  kernel = createKernel({ store: memory(), onFault: (error) => faults.push(error) });
  await kernel.start();
  dialogs = createDialogs({
    kernel,
    authenticate: (request) => {
      requests.push(request);
      const principal = request.certificate ?? request.authorization;
      return principal === "" ? undefined : { principal };
    },
    onFault: (error) => faults.push(error),
  });
  dialogs.on("open", async (dialog) => {
    for await (const message of dialog) {
      await dialog.send(`you said ${message.text}`).catch(() => undefined);
      await message.commit().catch(() => undefined);
    }
  });
  stop = async () => {
    await dialogs.close();
    await kernel.close();
  };
});
after(async () => {
  await stop();
  rmSync(folder, { recursive: true, force: true });
  assert.deepEqual(faults, []);
});

function certificate(name: string): { key: Buffer; cert: Buffer } {
  const { key, cert } = selfSigned(folder, name);
  return { key: readFileSync(key), cert: readFileSync(cert) };
}

/** Echoes come back in order through links that are cut. */
async function converse(url: string, cut: CutLink, options: NodeConnectOptions): Promise<void> {
  const here: Dialog = await connect(url, { reconnect: { minMs: 5, maxMs: 50 }, ...options });
  const got: string[] = [];
  const reading = (async () => {
    for await (const message of here) {
      got.push(message.text);
      await message.commit();
      if (got.length === 300) return;
      if (got.length % 100 === 0) cut.reset();
      else if (got.length % 70 === 0) cut.halfOpen();
    }
  })();
  for (let index = 0; index < 300; index++)
    await here.send(`${index}`, { until: index % 30 === 0 ? "acked" : "stored" });
  await reading;
  assert.deepEqual(
    got,
    Array.from({ length: 300 }, (_, index) => `you said ${index}`),
  );
  assert.ok(cut.links > 2);
  await here.finish();
}

test("over TLS: a dialog goes on through links that are cut, under a name of the protocol's own", async () => {
  const { port } = await dialogs.listen({ tls: server });
  const cut = await new CutLink().start(port);
  await converse(`tls://localhost:${cut.port}`, cut, { authorization: "ann", tls: { ca: server.cert } });
  const alpn = await new Promise((resolve, reject) => {
    const socket = connectTls({
      port,
      ca: server.cert,
      servername: "localhost",
      ALPNProtocols: ["holdfast.v1"],
    });
    socket.on("error", reject);
    socket.on("secureConnect", () => {
      resolve(socket.alpnProtocol);
      socket.destroy();
    });
  });
  assert.equal(alpn, "holdfast.v1");
  assert.deepEqual([...new Set(requests.splice(0).map(({ binding }) => binding))], ["tls"]);
  await cut.stop();
});

test("over TLS: a device is known by its certificate, at every link anew", async () => {
  const { port } = await dialogs.listen({
    tls: { ...server, ca: device.cert, requestCert: true, rejectUnauthorized: false },
  });
  const cut = await new CutLink().start(port);
  const tls = { ca: server.cert, ...device };
  await converse(`tls://localhost:${cut.port}`, cut, { tls });
  const seen = requests.splice(0);
  assert.ok(seen.length > 2);
  assert.ok(seen.every((request) => request.certificate === "meter-7"));
  // A certificate that nobody vouches for says nothing.
  const stranger = { ca: server.cert, ...certificate("stranger") };
  await assert.rejects(connect(`tls://localhost:${port}`, { tls: stranger }), (error) =>
    isHoldfastError(error, "establish-refused"),
  );
  assert.equal(requests.splice(0)[0]?.certificate, undefined);
  await cut.stop();
});

test("over wss: the same, and a server that cannot be trusted is not spoken to", async () => {
  const https = createServer(server);
  dialogs.attach(https, "/dialog");
  await new Promise<void>((resolve) => https.listen(0, "127.0.0.1", resolve));
  const { port } = https.address() as AddressInfo;
  const cut = await new CutLink().start(port);
  const url = `wss://localhost:${cut.port}/dialog`;
  await converse(url, cut, { authorization: "ann", tls: { ca: server.cert } });
  requests.splice(0);
  const giveUp = new AbortController();
  const { links } = cut;
  const untrusted = connect(url, { authorization: "ann", reconnect: { minMs: 5 }, signal: giveUp.signal });
  untrusted.catch(() => undefined);
  while (cut.links < links + 2) await new Promise((resolve) => setTimeout(resolve, 5));
  giveUp.abort();
  await assert.rejects(untrusted, (error) => isHoldfastError(error, "establish-refused"));
  assert.deepEqual(requests, [], "nothing was said to it");
  await cut.stop();
  https.closeAllConnections();
  https.close();
});
