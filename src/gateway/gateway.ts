import { mkdirSync } from "node:fs";
import { createConsole, writeAdminFile } from "../console/index.ts";
import type { Console, ConsoleCounts, ConsoleTokens } from "../console/index.ts";
import { Revocations } from "../governance/index.ts";
import type { Kernel, MechanismPolicy, PrincipalLimit } from "../kernel/index.ts";
import { createKernel, defaultPolicy } from "../kernel/index.ts";
import { AdminServer } from "./admin.ts";
import type { Config, LimitConfig } from "./config.ts";
import { disposeOfOwn } from "./departure.ts";
import { FaultLog } from "./fault-log.ts";
import type { Listener } from "./listener.ts";
import { kinds } from "./listeners/index.ts";
import type { Log } from "./log.ts";
import { createLog } from "./log.ts";
import { Metrics } from "./metrics.ts";
import { configSpan } from "./span.ts";
import { openStore, openStreams } from "./stores.ts";
import { TlsRoom } from "./tls.ts";
import { Topics } from "./topics.ts";

export interface Gateway {
  readonly kernel: Kernel;
  /** Where the console and its API are. */
  readonly adminOrigin: string;
  readonly listeners: readonly Listener[];
  /** An address that signs one browser in to the console, once. */
  signInLink(): Promise<string>;
  /** Reads certificates again. */
  reload(): void;
  /** Drains within the configured time and stops. */
  close(): Promise<void>;
}

export interface GatewayOptions {
  readonly version?: string;
  readonly log?: Log;
}

/**
 * Starts everything the configuration names. Without any: LMDB in ./data, the console on 127.0.0.1:7070.
 * @throws HoldfastError `invalid-argument`, `store-unavailable`, or the system's own error for a port that is taken.
 */
export async function up(config: Config = {}, options: GatewayOptions = {}): Promise<Gateway> {
  const running = new RunningGateway(config, options);
  try {
    await running.start();
  } catch (error) {
    await running.close();
    throw error;
  }
  return running;
}

class RunningGateway implements Gateway {
  readonly kernel: Kernel;
  readonly listeners: Listener[] = [];
  readonly #config: Config;
  readonly #log: Log;
  readonly #version: string;
  readonly #data: string;
  readonly #tls: TlsRoom;
  readonly #metrics: Metrics;
  readonly #revocations: Revocations;
  readonly #admin: AdminServer;
  readonly #topics: Topics;
  #console: (Console & ConsoleTokens & ConsoleCounts) | undefined;
  #state: "starting" | "ready" | "draining" = "starting";
  #closing: Promise<void> | undefined;

  constructor(config: Config, options: GatewayOptions) {
    this.#config = config;
    this.#version = options.version ?? "0";
    this.#log = options.log ?? createLog(config.log?.level ?? "info");
    this.#data = config.data ?? "data";
    mkdirSync(this.#data, { recursive: true });
    const { policy = {}, admin = {}, limits = [] } = config;
    const faults = new FaultLog(this.#log);
    this.kernel = createKernel({
      store: openStore(config.store ?? { kind: "lmdb" }, this.#data),
      ...(config.node !== undefined && { node: config.node }),
      about: { pid: process.pid, version: this.#version },
      policy: {
        leaseMs: configSpan(policy.lease, defaultPolicy.leaseMs),
        retainEndedMs: configSpan(policy["retain-ended"], defaultPolicy.retainEndedMs),
        receiptMs: configSpan(policy.receipt, defaultPolicy.receiptMs),
        mechanisms: Object.fromEntries(limits.map((limit) => [limit.mechanism, policyOf(limit)])),
      },
      onFault: (error) => faults.report(error),
    });
    this.#topics = new Topics(() => openStreams(config.store ?? { kind: "lmdb" }, this.#data));
    this.#tls = new TlsRoom({
      kernel: this.kernel,
      config: config["tls-sessions"] ?? {},
      data: this.#data,
      log: this.#log,
    });
    this.#metrics = new Metrics(this.kernel, () => this.listeners, this.#tls);
    this.#revocations = new Revocations(this.kernel);
    this.#admin = new AdminServer({
      config: admin,
      tls: this.#tls,
      ready: () => this.#unready(),
      metrics: async () => this.#metrics.text((await this.#console?.sessionCounts()) ?? []),
    });
  }

  get adminOrigin(): string {
    return this.#admin.origin;
  }

  async start(): Promise<void> {
    await this.kernel.start();
    await explained("the admin port", this.#admin.listen());
    this.#console = createConsole({
      kernel: this.kernel,
      revocations: this.#revocations,
      listeners: () =>
        this.listeners.map((one) => ({
          name: one.name,
          mechanism: one.mechanism,
          address: one.address,
          open: one.open(),
          draining: this.#state === "draining",
        })),
      version: this.#version,
      origin: this.#admin.origin,
      secure: this.#config.admin?.tls !== undefined,
      refusals: () => this.kernel.refusals,
      tls: () => this.#tls.figures(),
      log: this.#log,
    });
    this.#admin.console = this.#console;
    for (const config of this.#config.listeners ?? []) {
      const kind = kinds[config.mechanism];
      if (kind === undefined) continue;
      const log = this.#log.child({ listener: config.name ?? config.mechanism });
      const limit = this.#limitOf(config.mechanism);
      const context = {
        kernel: this.kernel,
        log,
        data: this.#data,
        limit,
        tls: this.#tls,
        topics: this.#topics,
      };
      this.listeners.push(await explained(config.name ?? config.mechanism, kind.listen(config, context)));
    }
    writeAdminFile(this.#data, {
      url: this.#admin.origin,
      token: await this.#console.token("operator", "local"),
    });
    this.#state = "ready";
    this.#log.info({ node: this.kernel.node, admin: this.#admin.origin }, "ready");
  }

  async signInLink(): Promise<string> {
    if (this.#console === undefined) throw new Error("the gateway has not started");
    return this.#console.signInLink();
  }

  reload(): void {
    this.#tls.reload();
  }

  close(): Promise<void> {
    this.#closing ??= this.#stop();
    return this.#closing;
  }

  /** Why this gateway should get no traffic, for a balancer; undefined when it should. */
  #unready(): string | undefined {
    if (this.#state !== "ready") return this.#state;
    return this.kernel.feedLive ? undefined : "the store's feed is lost";
  }

  #limitOf(mechanism: string): PrincipalLimit | undefined {
    const found = this.#config.limits?.find((limit) => limit.mechanism === mechanism);
    return found?.["per-principal"] === undefined
      ? undefined
      : { perPrincipal: found["per-principal"], onLimit: found["on-limit"] ?? "refuse" };
  }

  /** Stop accepting, let peers go, and only then give the lease back: a session is never without a node that answers for it. */
  async #stop(): Promise<void> {
    const started = this.#state === "ready";
    this.#state = "draining";
    const deadlineAt = this.kernel.clock.now() + configSpan(this.#config.drain, 10_000);
    this.#log.info({ open: this.listeners.reduce((sum, one) => sum + one.open(), 0) }, "draining");
    await this.#each((listener) => listener.drain(deadlineAt));
    await this.#each((listener) => listener.close());
    // A store that is down must not keep the process: other nodes then inherit what it leaves.
    if (started)
      await disposeOfOwn(this.kernel).then(
        (left) => this.#log.info(left, "sessions left in good order"),
        (error: unknown) => this.#log.error({ err: error }, "sessions were left behind"),
      );
    await this.#topics.close();
    await this.#console?.close();
    await this.#admin.close();
    this.#tls.close();
    this.#revocations.close();
    await this.kernel.close();
    this.#metrics.close();
    await this.kernel.store.close();
    this.#log.info({}, "stopped");
  }

  /** One listener that fails to stop must not keep the others from it. */
  async #each(stop: (listener: Listener) => Promise<void>): Promise<void> {
    const results = await Promise.allSettled(this.listeners.map(stop));
    for (const result of results)
      if (result.status === "rejected")
        this.#log.error({ err: result.reason as unknown }, "a listener did not stop as it should");
  }
}

function policyOf(limit: LimitConfig): MechanismPolicy {
  const { idle, absolute, resumable, principals, "retain-ended": retain } = limit;
  return {
    ...(limit["per-principal"] !== undefined && { perPrincipal: limit["per-principal"] }),
    ...(limit["on-limit"] !== undefined && { onLimit: limit["on-limit"] }),
    ...(principals !== undefined && { principals }),
    ...(idle !== undefined && { idleMs: configSpan(idle, 0) }),
    ...(absolute !== undefined && { absoluteMs: configSpan(absolute, 0) }),
    ...(resumable !== undefined && { resumableMs: configSpan(resumable, 0) }),
    ...(retain !== undefined && { retainEndedMs: configSpan(retain, 0) }),
  };
}

/** What the system says of a port is of little help without whose it is. */
async function explained<T>(what: string, opening: Promise<T>): Promise<T> {
  try {
    return await opening;
  } catch (error) {
    const { code, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number };
    const why =
      code === "EADDRINUSE"
        ? "another program listens there already"
        : code === "EACCES"
          ? "the system does not allow it; ports below 1024 need the right to bind them"
          : undefined;
    if (why === undefined) throw error;
    throw new Error(`Cannot start ${what} on ${address}:${port}: ${why}.`, { cause: error });
  }
}
