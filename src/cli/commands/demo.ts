import { randomBytes } from "node:crypto";
import { readAdminFile } from "../../console/index.ts";
import { createKernel } from "../../kernel/index.ts";
import { spanMs } from "../../mechanisms/web/index.ts";
import type { Command, Values } from "../command.ts";
import { CommandError, EXIT, textOf } from "../command.ts";
import { version } from "../version.ts";
import { configOf, gatewayRoom } from "./up.ts";

export const demo: Command = {
  name: "demo",
  summary: "fill a running gateway with living example sessions, until it is stopped",
  usage: "[--config FILE] [--data DIR] [--people N] [--for SPAN]",
  options: {
    config: { type: "string", short: "c" },
    data: { type: "string" },
    people: { type: "string" },
    for: { type: "string" },
  },
  help: `
  -c, --config FILE  the gateway's configuration, as for "holdfast up"
      --data DIR     its data folder, in place of the configuration's
      --people N     how many invented people come and go, 1 to 200 (default: 12)
      --for SPAN     stop after so long, such as 10m (default: when it is interrupted)
  The sessions are real and go through real clients and servers, all on this machine: web logins, a SOCKS proxy,
  NetBIOS calls, devices that resume TLS sessions, dialogs on a line that breaks, uploads over slow lines. Try revoke
  and lock on them. Every one is ended when the demo stops.`,
  async run(values, _words, terminal) {
    const people = peopleOf(values);
    const forMs = forOf(values);
    const config = await configOf(values);
    const { openStore, configSpan } = await gatewayRoom();
    const { kind } = config.store ?? { kind: "lmdb" };
    if (kind === "memory") {
      throw new CommandError(
        "A store in memory belongs to its gateway alone, so no demo can join it; take lmdb, redis or postgres.",
      );
    }
    const data = config.data ?? "data";
    const admin = readAdminFile(data);
    if (admin === undefined) {
      throw new CommandError(
        `There is no gateway's admin.json in ${data}. Start one with "holdfast up", or name its data folder with --data.`,
        EXIT.unreachable,
      );
    }
    const onFault = (error: unknown): void => terminal.error(`${String(error)}\n`);
    const { lease, "retain-ended": retain } = config.policy ?? {};
    const store = openStore(config.store ?? { kind: "lmdb" }, data);
    const kernel = createKernel({
      store,
      node: `demo-${randomBytes(3).toString("hex")}`,
      about: { pid: process.pid, version: version() },
      // What nodes that share a store must agree on.
      policy: {
        ...(lease !== undefined && { leaseMs: configSpan(lease, 0) }),
        ...(retain !== undefined && { retainEndedMs: configSpan(retain, 0) }),
      },
      onFault,
    });
    try {
      await kernel.start();
      terminal.out(
        `${kernel.node}: ${people} invented people come and go. Look at ${admin.url}, or at "holdfast watch". Ctrl-C ends it.\n`,
      );
      const { runDemo } = await import("../demo/index.ts");
      const signals = forMs === undefined ? [] : [AbortSignal.timeout(forMs)];
      const signal = AbortSignal.any([terminal.signal, ...signals]);
      const { began, left } = await runDemo({ kernel, people, everyMs: EVERY_MS, signal, onFault });
      const made = Object.entries(began).map(([mechanism, count]) => `${count} ${mechanism}`);
      terminal.out(
        `${kernel.node}: all ended. There were ${made.length === 0 ? "none" : made.join(", ")} sessions.\n`,
      );
      if (left > 0) terminal.error(`${left} of them had to be ended at the last.\n`);
    } finally {
      await kernel.close();
      await store.close();
    }
    return EXIT.done;
  },
};

function peopleOf(values: Values): number {
  const text = textOf(values, "people") ?? "12";
  const people = Number(text);
  if (/^\d+$/.test(text) && people >= 1 && people <= 200) return people;
  throw new CommandError(`--people takes a number from 1 to 200; it is "${text}".`);
}

function forOf(values: Values): number | undefined {
  const text = textOf(values, "for");
  if (text === undefined) return undefined;
  const span = spanMs(text);
  // A timer of Node's holds no more.
  if (span !== undefined && span < 2 ** 31) return span;
  throw new CommandError(`--for takes a span of at most 24d, such as 30s or 10m; it is "${text}".`);
}

const EVERY_MS = 300;
