import { mkdirSync } from "node:fs";
import { hostname } from "node:os";

import type { ListenerView } from "../console/index.ts";
import { writeAdminFile } from "../console/index.ts";
import { Revocations } from "../governance/index.ts";
import type { Kernel, KernelPolicy, MechanismPolicy, SessionStore } from "../kernel/index.ts";
import { createKernel } from "../kernel/index.ts";
import { AdminServer } from "./admin.ts";
import { Certificates } from "./certificates.ts";
import type { Config, ListenerConfig, MechanismConfig, PolicyConfig, TlsConfig } from "./config/index.ts";
import { LOOPBACK, spanMs } from "./config/index.ts";
import { disposeOfOwn } from "./departure.ts";
import { FaultLog } from "./fault-log.ts";
import type { Listener } from "./listeners/index.ts";
import { listenerKinds } from "./listeners/index.ts";
import type { OpenLog } from "./log.ts";
import { openLog } from "./log.ts";
import { Metrics } from "./metrics.ts";
import { openStore } from "./stores.ts";
import { version } from "./version.ts";

/**
 * Starts everything a configuration names; resolves when it is ready. What was started is stopped again when one part
 * of it cannot.
 * @throws HoldfastError `store-unavailable`; Error in plain words when something cannot listen.
 */
export async function up(config: Config = {}): Promise<Gateway> {
  const gateway = new Gateway(config);
  try {
    await gateway.start();
  } catch (error) {
    await gateway.close();
    throw error;
  }
  return gateway;
}

/** One process: a kernel over a store, listeners in front of it, and the admin server beside them. */
export class Gateway {
  readonly kernel: Kernel;
  readonly version: string = version();
  readonly #config: Config;
  readonly #data: string;
  readonly #log: OpenLog;
  readonly #store: SessionStore;
  readonly #revocations: Revocations;
  readonly #metrics: Metrics;
  readonly #listeners: Listener[] = [];
  readonly #certificates = new Set<Certificates>();
  #admin: AdminServer | undefined;
  #started = false;
  #draining = false;
  #closing: Promise<void> | undefined;

  /** @internal Use `up`. */
  constructor(config: Config) {
    this.#config = config;
    this.#data = config.data ?? "data";
    const node =
      config.node ??
      `${
        hostname()
          .replace(/[^A-Za-z0-9._-]/g, "-")
          .slice(0, 48) || "node"
      }-${process.pid}`;
    this.#log = openLog(config.log ?? {}, { node, version: this.version });
    const faults = new FaultLog(this.#log.log);
    this.#store = openStore(config.store ?? { kind: "lmdb" }, this.#data);
    this.kernel = createKernel({
      store: this.#store,
      node,
      about: { version: this.version, pid: process.pid, host: hostname() },
      policy: policyOf(config.policy ?? {}),
      onFault: (error) => faults.report(error),
    });
    this.#revocations = new Revocations(this.kernel);
    this.#metrics = new Metrics({
      kernel: this.kernel,
      revocations: this.#revocations,
      listeners: () => this.listeners,
      version: this.version,
    });
  }

  /** @internal Use `up`. */
  async start(): Promise<void> {
    const startedAt = performance.now();
    const { log } = this.#log;
    mkdirSync(this.#data, { recursive: true, mode: 0o700 });
    await this.kernel.start();
    const { admin = {}, listeners = [{ mechanism: "web" }] } = this.#config;
    this.#admin = await explained("the admin server", () =>
      AdminServer.listen(admin, {
        kernel: this.kernel,
        revocations: this.#revocations,
        listeners: () => this.listeners,
        version: this.version,
        refusals: () => this.kernel.refusals,
        log,
        metrics: this.#metrics,
        certificates: admin.tls === undefined ? undefined : this.#certificate(admin.tls),
        notReady: () => this.#notReady(),
      }),
    );
    for (const config of listeners) this.#listeners.push(await this.#listen(config));
    writeAdminFile(this.#data, { url: this.#admin.address, token: await this.#admin.token("command line") });
    this.#started = true;
    const tookMs = Math.round(performance.now() - startedAt);
    log.info(
      { store: this.#store.kind, admin: this.#admin.address, listeners: this.listeners, tookMs },
      "ready",
    );
  }

  /** Where the console and the admin API are. */
  get adminAddress(): string {
    return this.#admin?.address ?? "";
  }

  get listeners(): readonly ListenerView[] {
    return this.#listeners.map((listener) => ({
      name: listener.name,
      mechanism: listener.mechanism,
      address: listener.address,
      open: listener.open(),
      draining: this.#draining,
    }));
  }

  /** Signs one browser in to the console, once, as an operator. */
  signInLink(): Promise<string> {
    if (this.#admin === undefined) throw new Error("this gateway is not up");
    return this.#admin.signInLink();
  }

  /**
   * Reads certificates again, opens the log file again, and takes a new log level from `config`. Everything else of a
   * configuration takes a new start. Returns the members that differ and were not taken.
   */
  reload(config: Config = this.#config): readonly string[] {
    this.#log.reopen();
    for (const certificates of this.#certificates) certificates.reload();
    this.#log.log.level = config.log?.level ?? "info";
    const waiting = differing({ ...config, log: undefined }, { ...this.#config, log: undefined });
    if (waiting.length > 0) this.#log.log.warn({ waiting }, "these changes need a new start");
    else this.#log.log.info("reloaded");
    return waiting;
  }

  /**
   * Leaves in good order: not ready any more, nothing new taken, what is under way finished or suspended for its peer
   * to resume elsewhere, the rest ended; all of it within `ms` (the configuration's `drain` unless given).
   */
  drain(ms: number = spanMs(this.#config.drain ?? "30s")): Promise<void> {
    this.#closing ??= this.#leave(ms);
    return this.#closing;
  }

  /** Ends everything now. Also while it drains: then at once. */
  async close(): Promise<void> {
    this.#closing ??= this.#leave(0);
    await Promise.all(this.#listeners.map((listener) => listener.close()));
    await this.#closing;
  }

  async #listen(config: ListenerConfig): Promise<Listener> {
    const kind = listenerKinds.get(config.mechanism);
    if (kind === undefined) throw new Error(`There is no listener for the mechanism ${config.mechanism}.`);
    const name = config.name ?? config.mechanism;
    return explained(`listener "${name}"`, () =>
      kind.open(config, {
        kernel: this.kernel,
        name,
        host: config.host ?? LOOPBACK,
        port: config.port,
        log: this.#log.log.child({ listener: name }),
        certificates: (tls) => this.#certificate(tls),
        answered: (method, status, seconds) => this.#metrics.answered(name, method, status, seconds),
      }),
    );
  }

  #certificate(config: TlsConfig): Certificates {
    const certificates = new Certificates(config, this.#log.log);
    this.#certificates.add(certificates);
    return certificates;
  }

  #notReady(): string | undefined {
    if (this.#draining) return "draining";
    if (!this.#started) return "starting";
    return this.kernel.feedLive ? undefined : "the store's feed is lost";
  }

  async #leave(ms: number): Promise<void> {
    const { log } = this.#log;
    const startedAt = performance.now();
    const deadlineAt = this.kernel.clock.now() + ms;
    this.#draining = true;
    if (this.#started)
      log.info({ ms, open: this.listeners.map(({ name, open }) => ({ name, open })) }, "draining");
    const drained = this.#listeners.map((listener) =>
      ms > 0 ? listener.drain(deadlineAt) : listener.close(),
    );
    for (const result of await Promise.allSettled(drained))
      if (result.status === "rejected")
        log.error({ err: result.reason as unknown }, "a listener did not stop well");
    if (this.#started) {
      // A store that is down must not keep the process: its sessions are then inherited by others.
      await disposeOfOwn(this.kernel).then(
        ({ suspended, ended }) => log.info({ suspended, ended }, "sessions left in good order"),
        (error: unknown) => log.error({ err: error }, "sessions were left behind"),
      );
    }
    await this.#admin?.close();
    for (const certificates of this.#certificates) certificates.close();
    this.#metrics.close();
    this.#revocations.close();
    await this.kernel.close();
    await this.#store.close();
    if (this.#started) log.info({ tookMs: Math.round(performance.now() - startedAt) }, "stopped");
    this.#log.close();
  }
}

function policyOf(config: PolicyConfig): Partial<KernelPolicy> {
  const { lease, receipt, retainEnded, dataBytes, mechanisms = {} } = config;
  return {
    ...(lease !== undefined && { leaseMs: spanMs(lease) }),
    ...(receipt !== undefined && { receiptMs: spanMs(receipt) }),
    ...(retainEnded !== undefined && { retainEndedMs: spanMs(retainEnded) }),
    ...(dataBytes !== undefined && { dataBytes }),
    mechanisms: Object.fromEntries(
      Object.entries(mechanisms).map(([name, mechanism]) => [name, mechanismPolicy(mechanism)]),
    ),
  };
}

function mechanismPolicy({ idle, absolute, resumable, ...limits }: MechanismConfig): MechanismPolicy {
  return {
    ...limits,
    ...(idle !== undefined && { idleMs: spanMs(idle) }),
    ...(absolute !== undefined && { absoluteMs: spanMs(absolute) }),
    ...(resumable !== undefined && { resumableMs: spanMs(resumable) }),
  };
}

/** Members at the top of two configurations that are not the same. */
function differing(one: object, other: object): string[] {
  const texts = (config: object): Map<string, string | undefined> =>
    new Map(Object.entries(config).map(([name, value]) => [name, JSON.stringify(value)]));
  const [left, right] = [texts(one), texts(other)];
  return [...new Set([...left.keys(), ...right.keys()])].filter((name) => left.get(name) !== right.get(name));
}

/** What the system says of a port is of little help without whose it is. */
async function explained<T>(what: string, open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    const { code, address, port, message } = error as NodeJS.ErrnoException & {
      address?: string;
      port?: number;
    };
    const at = port === undefined ? "" : ` on ${address ?? ""}:${port}`;
    const why =
      code === "EADDRINUSE"
        ? "another program listens there already"
        : code === "EACCES" && port !== undefined
          ? "the system does not allow it; ports below 1024 need the right to bind them"
          : message;
    throw new Error(`Cannot start ${what}${at}: ${why}.`, { cause: error });
  }
}
