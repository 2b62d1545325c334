import { collectDefaultMetrics, Counter, Gauge, Registry } from "prom-client";
import type { Summary } from "../console/index.ts";
import type { Kernel } from "../kernel/index.ts";
import type { Listener } from "./listener.ts";
import type { TlsRoom } from "./tls.ts";

/** Prometheus metrics of one gateway. Names follow OpenTelemetry's conventions where it has one for the thing. */
export class Metrics {
  readonly registry: Registry = new Registry();
  readonly #stop: () => void;
  #sessions: Summary["sessions"] = [];

  constructor(kernel: Kernel, listeners: () => readonly Listener[], tls: TlsRoom) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    const events = new Counter({
      name: "holdfast_session_events_total",
      help: "Journal entries that this node has seen, of every node",
      labelNames: ["mechanism", "event"],
      registers,
    });
    const ended = new Counter({
      name: "holdfast_sessions_ended_total",
      help: "Sessions whose end this node has seen, of every node",
      labelNames: ["mechanism", "reason"],
      registers,
    });
    this.#stop = kernel.onEntry((entry) => {
      const mechanism = entry.mechanism ?? "none";
      events.inc({ mechanism, event: entry.event });
      const reason = entry.detail?.["reason"];
      if (entry.event === "end" && typeof reason === "string") ended.inc({ mechanism, reason });
    });
    this.#gauges(kernel, listeners);
    this.#tlsGauges(tls);
  }

  /** `sessions`: live ones of all nodes. */
  text(sessions: Summary["sessions"]): Promise<string> {
    this.#sessions = sessions;
    return this.registry.metrics();
  }

  close(): void {
    this.#stop();
    this.registry.clear();
  }

  #gauges(kernel: Kernel, listeners: () => readonly Listener[]): void {
    const make = this.#make.bind(this);
    make("holdfast_sessions", "Live sessions of all nodes", ["mechanism", "state"], (gauge) => {
      for (const { mechanism, state, count } of this.#sessions) gauge.set({ mechanism, state }, count);
    });
    make("holdfast_feed_live", "1 while this node hears of changes by others", [], (gauge) =>
      gauge.set(kernel.feedLive ? 1 : 0),
    );
    make("holdfast_sessions_carried", "Sessions with a live transport in this process", [], (gauge) =>
      gauge.set(kernel.liveCount),
    );
    make(
      "holdfast_refusals",
      "Sessions and secrets this node has refused since its start",
      ["reason"],
      (gauge) => {
        for (const [reason, count] of Object.entries(kernel.refusals)) gauge.set({ reason }, count);
      },
    );
    make("holdfast_listener_open", "Open connections or requests", ["listener", "mechanism"], (gauge) => {
      for (const one of listeners()) gauge.set({ listener: one.name, mechanism: one.mechanism }, one.open());
    });
    make("holdfast_store", "What the store says of itself", ["kind", "figure"], async (gauge) => {
      const stats = await kernel.store.stats();
      for (const [figure, value] of Object.entries(stats))
        gauge.set({ kind: kernel.store.kind, figure }, value);
    });
  }

  #tlsGauges(tls: TlsRoom): void {
    this.#make(
      "holdfast_tls_handshakes",
      "TLS handshakes on this node's ports since its start",
      ["port", "version", "outcome"],
      (gauge) => {
        for (const [port, { full, resumed }] of tls.metrics()) {
          for (const [version, count] of Object.entries(full))
            gauge.set({ port, version, outcome: "full" }, count);
          for (const [version, count] of Object.entries(resumed))
            gauge.set({ port, version, outcome: "resumed" }, count);
        }
      },
    );
    this.#make(
      "holdfast_tls_full",
      "TLS handshakes that were full, by reason; not-offered: the client had nothing to resume",
      ["port", "reason"],
      (gauge) => {
        for (const [port, { fullBecause }] of tls.metrics())
          for (const [reason, count] of Object.entries(fullBecause)) gauge.set({ port, reason }, count);
      },
    );
    this.#make("holdfast_tls_tickets", "TLS tickets issued since the start", ["port", "kind"], (gauge) => {
      for (const [port, { tickets }] of tls.metrics())
        for (const [kind, count] of Object.entries(tickets)) gauge.set({ port, kind }, count);
    });
    this.#make(
      "holdfast_tls_epochs",
      "TLS tickets taken, by the epoch of their key; ahead: this node's clock is behind others'",
      ["port", "epoch"],
      (gauge) => {
        for (const [port, { epochs }] of tls.metrics())
          for (const [epoch, count] of Object.entries(epochs)) gauge.set({ port, epoch }, count);
      },
    );
    this.#make(
      "holdfast_tls_cache",
      "TLS sessions kept in the store by this node",
      ["port", "figure"],
      (gauge) => {
        for (const [port, { cache }] of tls.metrics())
          for (const [figure, count] of Object.entries(cache)) gauge.set({ port, figure }, count);
      },
    );
  }

  /** A gauge that is read when it is asked for. */
  #make(
    name: string,
    help: string,
    labelNames: string[],
    collect: (gauge: Gauge) => void | Promise<void>,
  ): void {
    new Gauge({
      name,
      help,
      labelNames,
      registers: [this.registry],
      async collect() {
        this.reset();
        await collect(this);
      },
    });
  }
}
