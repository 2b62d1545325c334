import type { ContentType } from "../codec.ts";
import type { Entry } from "./outbox.ts";
import type { Message } from "./rules.ts";
import type { Mark } from "./state.ts";

/** What a machine tells its host, in the order in which it happened. */
export type DialogEvent =
  | {
      readonly type: "content";
      readonly kind: ContentType;
      readonly number: number;
      readonly bytes: Uint8Array;
    }
  /** Messages of a feed that were given up; their numbers will never come. */
  | { readonly type: "gap"; readonly from: number; readonly to: number }
  /** The other side's message without content; with `purged`, content not yet consumed is void. */
  | {
      readonly type: "indication";
      readonly number: number;
      readonly message: Message;
      readonly purged: boolean;
    }
  /** The other side's application has committed everything below `next`. */
  | { readonly type: "acked"; readonly next: number }
  | { readonly type: "urgent"; readonly bytes: Uint8Array }
  | { readonly type: "urgent-acked"; readonly count: number }
  | { readonly type: "please"; readonly tokens: number }
  | { readonly type: "suspend"; readonly reason: number }
  | { readonly type: "migrate"; readonly url: string; readonly withinMs: number }
  | { readonly type: "abort"; readonly code: number; readonly why: string }
  /** Nothing was heard for two ping spans: the link is dead, whatever the socket says. */
  | { readonly type: "quiet" };

/** What must be in the log before it counts. Written as one: all of it or nothing. */
export interface Storage {
  readonly entries: readonly Entry[];
  /** Replaces the mark before it; absent when nothing but content was added. */
  readonly mark: Mark | undefined;
  /** Entries below are not needed any more. */
  readonly trim: number;
  /** Give it back to `stored` when it is done. */
  readonly receipt: { readonly sent: number; readonly committed: number };
}

/** The local user asked for what the rules do not allow now. */
export interface Refused {
  readonly refused: string;
}

export function isRefused(value: unknown): value is Refused {
  return typeof value === "object" && value !== null && "refused" in value;
}
