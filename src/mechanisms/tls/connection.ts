import type { Handle, SessionRecord } from "../../kernel/index.ts";
import type { ClientHello } from "./codec/client-hello.ts";
import type { FullReason } from "./metrics.ts";
import type { EpochKeys } from "./schedule.ts";

/** What is done with what a client would resume. Decided before its first message is handed to OpenSSL. */
export type Verdict = Approval | { readonly resume: undefined; readonly why: FullReason };

export type Approval =
  | {
      readonly resume: "ticket";
      readonly handle: Handle;
      readonly record: SessionRecord | undefined;
      readonly startedHour: number;
      readonly keys: EpochKeys;
      readonly ticket: Buffer;
      /** The IV of the ticket, as `latin1`: 16 bytes that no other ticket has. */
      readonly iv: string;
    }
  | {
      readonly resume: "id";
      readonly handle: Handle;
      readonly record: SessionRecord | undefined;
      readonly state: Buffer;
    };

/** The trust domain of those whose first message was not read: no keys are made for it. */
export const UNREAD = "\0unread";

/** One connection between its first message and the end of its handshake, and the tickets that follow it. */
export interface Connection {
  readonly domain: string;
  readonly serverName: string | undefined;
  readonly hello: ClientHello | undefined;
  readonly verdict: Verdict;
  /** Once it is known; what tickets carry. */
  handle: Handle | undefined;
  startedHour: number;
  /** Tickets that OpenSSL still writes right after the handshake, in TLS 1.3. */
  ticketsLeft: number;
  /** Its handshake is done, or will never be: what was kept for it can go. */
  over: () => void;
  /** False: whatever it is given must not be resumable. */
  resumable: boolean;
}
