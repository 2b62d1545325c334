import type { Socket } from "node:net";
import type { Clock } from "../../kernel/index.ts";
import type { ReadPort } from "../../transport/read-port.ts";
import type { RelayOutcome } from "../../transport/relay.ts";
import { Relay } from "../../transport/relay.ts";
import { Flow } from "./machine/flow.ts";
import type { Settings } from "./options.ts";

export interface CarriedLegs {
  readonly client: Socket;
  readonly clientEarly: Buffer;
  readonly backend: Socket;
  readonly backendPort: ReadPort;
  readonly backendEarly: Buffer | undefined;
  /** The backend takes part in the session service, so it gets keepalives too. */
  readonly backendKeepalives: boolean;
}

/** An open session being relayed, with its keepalives. */
export class Carried {
  /** Resolves when both sockets are closed. */
  readonly closed: Promise<RelayOutcome>;
  readonly #clock: Clock;
  readonly #settings: Settings;
  readonly #legs: CarriedLegs;
  readonly #flow: Flow;
  #relay: Relay | undefined;
  #cancelKeepalive: () => void = () => {};

  constructor(settings: Settings, legs: CarriedLegs, absoluteAt: number | undefined) {
    const rule = settings.keepalive;
    this.#clock = settings.kernel.clock;
    this.#settings = settings;
    this.#legs = legs;
    this.#flow = new Flow({
      bits: settings.bits,
      near: rule,
      far: legs.backendKeepalives ? rule : undefined,
      now: this.#clock.now(),
    });
    this.closed = new Promise((resolve) => {
      this.#relay = this.#start(absoluteAt, resolve);
    });
    this.#armKeepalive();
  }

  /** Bytes passed on so far, keepalives not counted. */
  get counts(): { readonly up: number; readonly down: number } {
    return { up: this.#relay?.bytesUp ?? 0, down: this.#relay?.bytesDown ?? 0 };
  }

  /** Keepalives sent to either side. */
  get keepalivesSent(): number {
    const { near, far } = this.#flow.keepalivesSent;
    return near + far;
  }

  /** Closes both sides at once. Resolves when they are. */
  async abort(why: string): Promise<void> {
    this.#relay?.abort(why);
    await this.closed;
  }

  #start(absoluteAt: number | undefined, resolve: (outcome: RelayOutcome) => void): Relay {
    const { client, clientEarly, backend, backendPort, backendEarly } = this.#legs;
    const { limits } = this.#settings;
    return new Relay({
      near: { socket: client, early: clientEarly, tap: (chunk) => this.#up(chunk) },
      far: {
        socket: backend,
        port: backendPort,
        ...(backendEarly !== undefined && { early: backendEarly }),
        tap: (chunk) => this.#down(chunk),
      },
      clock: this.#clock,
      ...(limits.idleMs !== Infinity && { idleMs: limits.idleMs }),
      ...(absoluteAt !== undefined && { absoluteAt }),
      ...(limits.maxBytes !== Infinity && { maxBytes: limits.maxBytes }),
      onEnd: (outcome) => {
        this.#cancelKeepalive();
        resolve(outcome);
      },
    });
  }

  #up(chunk: Buffer): ReturnType<Flow["up"]> {
    const now = this.#clock.now();
    this.#keepalive("far", now);
    return this.#flow.up(chunk, now);
  }

  #down(chunk: Buffer): ReturnType<Flow["down"]> {
    const now = this.#clock.now();
    this.#keepalive("near", now);
    return this.#flow.down(chunk, now);
  }

  /** Sends the keepalive that is due to one side, unless that side has not even taken what it was sent before. */
  #keepalive(to: "near" | "far", now: number): void {
    const socket = to === "near" ? this.#legs.client : this.#legs.backend;
    if (this.#relay === undefined || this.#relay.over || socket.writableLength > 0 || !socket.writable)
      return;
    const bytes = this.#flow.keepalive(to, now);
    // The relay names a direction by where it comes from.
    if (bytes !== undefined) this.#relay.inject(to === "near" ? "far" : "near", bytes);
  }

  #armKeepalive(): void {
    const at = this.#flow.keepaliveAt;
    if (at === undefined) return;
    const everyMs = this.#settings.keepalive?.everyMs ?? 0;
    const now = this.#clock.now();
    // One that is due and waits for the end of a message is sent before the next one; until then look again now and then.
    this.#cancelKeepalive = this.#clock.after(at > now ? at - now : everyMs, () => {
      if (this.#relay?.over !== false) return;
      const later = this.#clock.now();
      this.#keepalive("near", later);
      this.#keepalive("far", later);
      this.#armKeepalive();
    });
  }
}
