import type { ContentType } from "./codec.ts";

/** What carries a dialog: it moves bytes and time, and is told when there is something to move. */
export interface DialogHost {
  readonly handle: string;
  /** The machine has something to store or to say. */
  changed(): void;
  /** The user wants no more of it. */
  abort(why: string): void;
  /** A reason of the machine in words, where there is room for them. */
  explain(reason: string): string;
}

/** When `send` resolves: accepted here, safe in the log (where there is one), or committed by the other application. */
export type SendLevel = "memory" | "stored" | "acked";

/** How a dialog ended. */
export interface DialogEnd {
  readonly reason: "finished" | "aborted" | "refused" | "revoked" | "expired" | "moved" | "failed";
  readonly why: string;
}

export interface SyncPoint {
  readonly serial: number;
  /** Resolves when the other side has confirmed it; rejects when the dialog went back behind it. */
  readonly confirmed: Promise<void>;
}

/** What a listener hears, in order with the messages; `wanted`, `urgent` and `link` come at once. */
export interface DialogEvents {
  /** The turn came: this side may speak. */
  turn: undefined;
  /** The other side asks for tokens (bits of `TOKEN`). */
  wanted: number;
  minor: number;
  major: number;
  /** A resynchronization, an interrupted or discarded activity: what came before and was not consumed is void. */
  purge: { readonly kind: string; readonly serial: number };
  activity: { readonly what: "start" | "resume" | "end"; readonly id: string; readonly serial: number };
  exception: string;
  gap: { readonly from: number; readonly to: number };
  urgent: Uint8Array;
  link: "up" | "down";
  end: DialogEnd;
}

/** Content that came; `commit` says that it, and all before it, is done with for good. */
export class DialogMessage {
  readonly kind: ContentType;
  readonly number: number;
  readonly bytes: Uint8Array;
  readonly #dialog: Receiver;

  constructor(dialog: Receiver, kind: ContentType, number: number, bytes: Uint8Array) {
    this.#dialog = dialog;
    this.kind = kind;
    this.number = number;
    this.bytes = bytes;
  }

  /** Stable for good: the name to note beside an effect that must happen once. */
  get id(): string {
    return `${this.#dialog.handle}/${1 - this.#dialog.side}/${this.number}`;
  }

  get text(): string {
    return new TextDecoder().decode(this.bytes);
  }

  commit(): Promise<void> {
    return this.#dialog.commit(this.number);
  }
}

/** What a message knows of its dialog. */
interface Receiver {
  readonly handle: string;
  readonly side: 0 | 1;
  commit(number: number): Promise<void>;
}
