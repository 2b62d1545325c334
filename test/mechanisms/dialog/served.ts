import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createKernel } from "../../../src/kernel/index.ts";
import type { KernelPolicy, Kernel, SessionLog, SessionStore } from "../../../src/kernel/index.ts";
import type { Dialog, Dialogs, DialogsOptions } from "../../../src/mechanisms/dialog/index.ts";
import { createDialogs } from "../../../src/mechanisms/dialog/index.ts";
import { memory } from "../../../src/store/memory/index.ts";

/** A node that serves dialogs over HTTP, at /dialog. */
export interface Served {
  readonly kernel: Kernel;
  readonly dialogs: Dialogs;
  readonly http: Server;
  readonly port: number;
  readonly url: string;
  readonly faults: unknown[];
  stop(): Promise<void>;
}

export async function served(
  options: Partial<DialogsOptions> & {
    store?: SessionStore;
    log?: SessionLog;
    policy?: Partial<KernelPolicy>;
  } = {},
): Promise<Served> {
  const { store = memory(), policy = {}, ...rest } = options;
  const faults: unknown[] = [];
  const kernel = createKernel({ store, policy, onFault: (error) => faults.push(error) });
  await kernel.start();
  const dialogs = createDialogs({
    kernel,
    authenticate: ({ authorization }) => (authorization === "" ? undefined : { principal: authorization }),
    onFault: (error) => faults.push(error),
    ...rest,
  });
  const http = createServer((_request, response) => response.end("something else"));
  dialogs.attach(http, "/dialog");
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address() as AddressInfo;
  return {
    kernel,
    dialogs,
    http,
    port,
    url: `http://127.0.0.1:${port}/dialog`,
    faults,
    async stop() {
      await dialogs.close();
      http.closeAllConnections();
      http.close();
      await kernel.close();
    },
  };
}

export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const giveUp = Date.now() + 60_000;
  while (!(await holds())) {
    assert.ok(Date.now() < giveUp, `waited a minute for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Reads and commits everything, and notes it. */
export function reading(dialog: Dialog): string[] {
  const got: string[] = [];
  void (async () => {
    for await (const message of dialog) {
      got.push(message.text);
      await message.commit().catch(() => undefined);
    }
  })();
  return got;
}

export function numbered(count: number, what = "message"): string[] {
  return [...Array(count).keys()].map((index) => `${what} ${index}`);
}

export async function sendAll(dialog: Dialog, messages: readonly string[]): Promise<void> {
  for (const message of messages) await dialog.send(message);
}
