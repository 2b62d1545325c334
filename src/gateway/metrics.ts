import { collectDefaultMetrics, Counter, Gauge, Registry } from "prom-client";
import type { Kernel } from "../kernel/index.ts";
import type { Listener } from "./listener.ts";

/** Prometheus metrics of one gateway. Names follow OpenTelemetry's conventions where it has one for the thing. */
export class Metrics {
  readonly registry: Registry = new Registry();
  readonly #stop: () => void;

  constructor(kernel: Kernel, listeners: () => readonly Listener[]) {
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
  }

  text(): Promise<string> {
    return this.registry.metrics();
  }

  close(): void {
    this.#stop();
    this.registry.clear();
  }

  /** Read when they are asked for. */
  #gauges(kernel: Kernel, listeners: () => readonly Listener[]): void {
    const registers = [this.registry];
    const make = (
      name: string,
      help: string,
      labelNames: string[],
      collect: (gauge: Gauge) => void | Promise<void>,
    ): void => {
      new Gauge({
        name,
        help,
        labelNames,
        registers,
        async collect() {
          this.reset();
          await collect(this);
        },
      });
    };
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
}
