import { strict as assert } from "node:assert";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import { serve } from "../mechanisms/transfer/served.ts";
import { patchFor } from "./slow-patch.ts";

/** Node's own limit is 300 s, looked at every 30 s; here everything is two hundred times as fast. */
const LIMIT_MS = 1_500;
const SCALED = { requestTimeout: LIMIT_MS, headersTimeout: LIMIT_MS, connectionsCheckingInterval: 150 };
const HELD_MS = 4_000;

const servers: Server[] = [];
after(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

async function listen(server: Server): Promise<string> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/files`;
}

test("a PATCH held for longer than node:http gives a request goes to its end where the limit is off", async () => {
  const served = await serve();
  const endpoint = await listen(
    createServer(
      { ...SCALED, requestTimeout: 0 },
      (request, response) => void served.transfers.node(request, response),
    ),
  );
  assert.deepEqual(await patchFor(endpoint, HELD_MS, 100), { status: 204, offset: HELD_MS / 100 });
  await served.stop();
});

test("where the limit is on it is cut, after a warning, and all that had arrived is kept and gone on from", async () => {
  const warnings: string[] = [];
  const served = await serve({ onWarning: (warning) => warnings.push(warning) });
  const endpoint = await listen(
    createServer(SCALED, (request, response) => void served.transfers.node(request, response)),
  );
  const { status, offset } = await patchFor(endpoint, HELD_MS, 100);
  assert.ok(status === undefined || status === 408, `it was answered ${status}`);
  assert.ok(offset > 0 && offset < HELD_MS / 100, `it was at ${offset}`);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? "", /requestTimeout .* 1500 ms/);
  await served.stop();
});

test("the server that Holdfast makes has no such limit", async () => {
  const served = await serve();
  assert.equal(served.server.requestTimeout, 0);
  await served.stop();
});
