import type { IntervalHistogram } from "node:perf_hooks";
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import { getHeapStatistics } from "node:v8";

import type { ListenerView, Summary } from "../console/index.ts";
import type { Revocations } from "../governance/index.ts";
import type { Kernel } from "../kernel/index.ts";
import type { Counter, Histogram, Labels } from "./exposition.ts";
import { Registry } from "./exposition.ts";

export interface MetricsParts {
  readonly kernel: Kernel;
  readonly revocations: Revocations;
  readonly listeners: () => readonly ListenerView[];
  readonly version: string;
}

/** What `/metrics` tells: names of OpenTelemetry's semantic conventions where there is one, `holdfast_…` for the rest. */
export class Metrics {
  readonly #parts: MetricsParts;
  readonly #registry = new Registry();
  readonly #requests: Histogram;
  readonly #delay: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  readonly #stops: (() => void)[] = [];
  #utilization = performance.eventLoopUtilization();
  #stats: Readonly<Record<string, number>> = {};
  #sessions: Summary["sessions"] = [];

  constructor(parts: MetricsParts) {
    this.#parts = parts;
    this.#delay.enable();
    this.#about();
    this.#requests = this.#registry.histogram(
      "http_server_request_duration_seconds",
      "Duration of HTTP requests that this process answered.",
      [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    );
    this.#journal();
    this.#state();
    this.#process();
  }

  /** A request that was answered; `listener` is its name, `admin` the admin server's. */
  answered(listener: string, method: string, status: number, seconds: number): void {
    this.#requests.observe(
      {
        http_request_method: METHODS.has(method) ? method : "_OTHER",
        http_response_status_code: String(status),
        holdfast_listener: listener,
      },
      seconds,
    );
  }

  /** `sessions`: live ones by mechanism and state, of all nodes. */
  async render(sessions: Summary["sessions"]): Promise<string> {
    this.#sessions = sessions;
    this.#stats = await this.#parts.kernel.store.stats();
    return this.#registry.render();
  }

  close(): void {
    this.#delay.disable();
    for (const stop of this.#stops) stop();
  }

  #about(): void {
    const { kernel, version } = this.#parts;
    const labels = {
      service_name: "holdfast",
      service_version: version,
      service_instance_id: kernel.node,
      holdfast_store: kernel.store.kind,
    };
    this.#registry.collected("gauge", "target_info", "What this process is.", () => [[labels, 1]]);
  }

  #journal(): void {
    const { kernel, revocations } = this.#parts;
    const events: Counter = this.#registry.counter(
      "holdfast_session_events_total",
      "Journal entries this node has heard, of all nodes.",
    );
    const ended: Counter = this.#registry.counter(
      "holdfast_sessions_ended_total",
      "Sessions that ended, by reason.",
    );
    const closing: Histogram = this.#registry.histogram(
      "holdfast_revocation_duration_seconds",
      "From asking for a session's end to its last connection closed, of revocations this node heard of.",
      [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    );
    const receipts: Counter = this.#registry.counter(
      "holdfast_revocation_receipts_total",
      "Receipts of revocations that are final.",
    );
    this.#stops.push(
      kernel.onEntry(({ event, mechanism = "", detail }) => {
        events.add({ event, mechanism });
        const reason = detail?.["reason"];
        if (event === "end" && typeof reason === "string") ended.add({ mechanism, reason });
      }),
      revocations.onReceipt((_record, { mechanism, state, requestedAt, closedAt }) => {
        if (state !== "closed" && state !== "failed") return;
        receipts.add({ mechanism, state });
        if (closedAt !== undefined)
          closing.observe({ mechanism }, Math.max(0, closedAt - requestedAt) / 1000);
      }),
    );
  }

  #state(): void {
    const { kernel, listeners } = this.#parts;
    const gauge = (name: string, help: string, collect: () => Iterable<readonly [Labels, number]>): void =>
      this.#registry.collected("gauge", name, help, collect);
    gauge("holdfast_sessions", "Live sessions of all nodes.", () =>
      this.#sessions.map(({ mechanism, state, count }) => [{ mechanism, state }, count] as const),
    );
    gauge("holdfast_connections", "Sessions with a live connection in this process.", () => [
      [{}, kernel.liveCount],
    ]);
    gauge("holdfast_listener_connections", "Connections, or requests under way, of a listener.", () =>
      listeners().map(({ name, mechanism, open }) => [{ listener: name, mechanism }, open] as const),
    );
    gauge(
      "holdfast_feed_live",
      "1 while this node hears of every change, 0 when caches are bypassed.",
      () => [[{}, kernel.feedLive ? 1 : 0]],
    );
    this.#registry.collected(
      "counter",
      "holdfast_refusals_total",
      "Sessions and secrets that were refused, by reason.",
      () => Object.entries(kernel.refusals).map(([reason, count]) => [{ reason }, count] as const),
    );
    gauge("holdfast_store", "What the store says of itself, by its own names.", () =>
      Object.entries(this.#stats).map(([stat, value]) => [{ stat }, value] as const),
    );
  }

  #process(): void {
    const gauge = (name: string, help: string, value: () => number): void =>
      this.#registry.collected("gauge", name, help, () => [[{}, value()]]);
    this.#registry.collected("counter", "process_cpu_time_seconds_total", "Processor time used.", () => {
      const { user, system } = process.cpuUsage();
      return [
        [{ cpu_mode: "user" }, user / 1e6],
        [{ cpu_mode: "system" }, system / 1e6],
      ];
    });
    gauge("process_memory_usage_bytes", "Resident memory.", () => process.memoryUsage.rss());
    gauge("process_uptime_seconds", "Since the process started.", () => process.uptime());
    gauge("v8js_memory_heap_used_bytes", "JavaScript heap in use.", () => getHeapStatistics().used_heap_size);
    for (const percentile of [50, 90, 99])
      gauge(
        `nodejs_eventloop_delay_p${percentile}_seconds`,
        `Event loop delay, percentile ${percentile}, since the start.`,
        () => lateSeconds(this.#delay.percentile(percentile)),
      );
    gauge("nodejs_eventloop_delay_max_seconds", "Longest event loop delay since the start.", () =>
      lateSeconds(this.#delay.max),
    );
    gauge(
      "nodejs_eventloop_utilization_ratio",
      "Share of time the event loop was busy since it was last asked.",
      () => {
        const before = this.#utilization;
        this.#utilization = performance.eventLoopUtilization();
        return performance.eventLoopUtilization(this.#utilization, before).utilization;
      },
    );
  }
}

/** Node measures from one tick of its timer to the next: what is late is what exceeds the timer's own span. */
function lateSeconds(ns: number): number {
  return Math.max(0, ns / 1e9 - RESOLUTION_MS / 1000);
}

const RESOLUTION_MS = 20;
const METHODS: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "DELETE",
  "PATCH",
  "OPTIONS",
  "CONNECT",
  "TRACE",
]);
