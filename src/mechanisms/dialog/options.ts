import type { IncomingMessage } from "node:http";
import type { EstablishRequest, Handle, Kernel, Mode, SessionLog } from "../../kernel/index.ts";
import { HoldfastError } from "../../kernel/index.ts";
import type { LogAck } from "../../kernel/log.ts";
import type { DialogMode } from "./connect-options.ts";
import type { Credit } from "./frames.ts";
import * as UNIT from "./units.ts";

/** Who is on a link, and what the dialogs they open are like. */
export interface Welcome {
  readonly principal?: string;
  /** The session it is opened under, a web login for instance: it ends with that one. */
  readonly parent?: Handle;
  readonly roles?: readonly string[];
  readonly tenant?: string;
  readonly device?: string;
}

/** What is known of whoever opens or resumes, before anything else is looked at. */
export interface LinkRequest {
  /** `sse` is the event stream with posts, `event-source` the event stream alone. */
  readonly binding: "websocket" | "tcp" | "tls" | "sse" | "event-source";
  /** From OPEN or RESUME, or the HTTP header of that name; "" when there is none. */
  readonly authorization: string;
  readonly address: string;
  /** The upgrade or the request, where there is one: for cookies. */
  readonly http?: IncomingMessage;
  /** Subject common name of the client's certificate, where TLS verified one. */
  readonly certificate?: string;
  /** Only when opening. */
  readonly label?: string;
  readonly data?: Uint8Array;
}

export interface DialogsOptions {
  readonly kernel: Kernel;
  /** Where messages wait that the other side has not committed. Without one they are in memory and die with it. */
  readonly log?: SessionLog;
  /** When an own message counts as accepted, and a received one as committed: what the log gives. `stored` unless given. */
  readonly durability?: Exclude<LogAck, "memory">;
  /** Who it is; `undefined` refuses. What it returns for a resume must be the principal that opened. */
  readonly authenticate: (request: LinkRequest) => Welcome | undefined | Promise<Welcome | undefined>;
  /** Bits of `UNIT` the server can do; all unless given. */
  readonly units?: number;
  /** At most; a client may ask for less. 120,000 ms unless given. */
  readonly holdMs?: number;
  readonly pingMs?: number;
  readonly credit?: Credit;
  readonly maxMessageBytes?: number;
  readonly checkpoint?: { readonly bytes?: number; readonly window?: number };
  /** Own messages held in memory for one dialog; 4 MiB unless given. */
  readonly outboxBytes?: number;
  /** Own messages that may be unacknowledged, the log included; 10,000,000 with a log, else 100,000. */
  readonly outboxMessages?: number;
  /** Of a simplex feed, only so many of the newest are kept for a client that is away; without it, `send` waits. */
  readonly keepNewest?: number;
  readonly absoluteMs?: number;
  readonly limit?: EstablishRequest["limit"];
  /** Links that have not opened or resumed a dialog; 1,000 unless given. More are refused at once. */
  readonly pendingLinks?: number;
  readonly handshakeMs?: number;
  /** Other sites whose pages may use the event-stream bindings (CORS), as `https://app.example`; none unless given. */
  readonly origins?: readonly string[];
  /** How often streams in the log whose dialogs are forgotten are looked for; 600,000 ms unless given. */
  readonly sweepMs?: number;
  readonly onFault?: (error: unknown) => void;
}

export type Settings = Required<
  Omit<DialogsOptions, "log" | "keepNewest" | "absoluteMs" | "limit" | "checkpoint">
> &
  Pick<DialogsOptions, "log" | "keepNewest" | "absoluteMs" | "limit"> & {
    readonly checkpoint: { readonly bytes: number; readonly window: number };
  };

export function settle(options: DialogsOptions): Settings {
  const logged = options.log !== undefined;
  const settings: Settings = {
    durability: "stored",
    units: UNIT.all,
    holdMs: 120_000,
    pingMs: 15_000,
    credit: { messages: 4096, bytes: 1_048_576 },
    maxMessageBytes: 1_048_576,
    outboxBytes: 4_194_304,
    outboxMessages: logged ? 10_000_000 : 100_000,
    pendingLinks: 1000,
    handshakeMs: 10_000,
    sweepMs: 600_000,
    origins: [],
    onFault: () => undefined,
    ...options,
    checkpoint: { bytes: options.checkpoint?.bytes ?? 0, window: options.checkpoint?.window ?? 0 },
  };
  for (const name of [
    "holdMs",
    "pingMs",
    "outboxBytes",
    "outboxMessages",
    "handshakeMs",
    "pendingLinks",
    "sweepMs",
  ] as const) {
    if (!(settings[name] >= 1))
      throw new HoldfastError("invalid-argument", `${name} is a number from 1 on.`, {
        detail: { [name]: settings[name] },
      });
  }
  if (settings.log?.kind === "memory")
    throw new HoldfastError(
      "invalid-argument",
      "A log in memory keeps nothing that dialogs do not keep; leave it out.",
    );
  return settings;
}

export function dialogMode(units: number): DialogMode {
  if ((units & UNIT.simplexDown) !== 0) return "simplex-down";
  if ((units & UNIT.simplexUp) !== 0) return "simplex-up";
  return (units & UNIT.halfDuplex) !== 0 ? "half-duplex" : "full-duplex";
}

/** The kernel's word for the mode that was agreed on. */
export function modeOf(units: number): Mode {
  if ((units & UNIT.halfDuplex) !== 0) return "half-duplex";
  return (units & UNIT.duplex) !== 0 ? "full-duplex" : "simplex";
}
