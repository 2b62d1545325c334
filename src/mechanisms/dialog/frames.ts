import type { GAP_REASONS, RESYNC_KINDS } from "./numbers.ts";

/** The frames of `holdfast.v1`, as docs/dialog-protocol.md specifies them. Nothing here knows bytes or states. */

/** What opens a link and says what it carries. Unnumbered. */
export type LinkFrame =
  | {
      readonly type: "open";
      readonly version: number;
      /** Bits of `UNIT` the initiator can do; more than one of the modes may be among them. */
      readonly units: number;
      /** Two bits a token, see `PLACE`. */
      readonly placement: number;
      /** A minor sync point at least every so many bytes of data; 0: whenever the application wants. */
      readonly checkpointBytes: number;
      /** Sync points that may be unconfirmed before data waits; 0: any number. */
      readonly checkpointWindow: number;
      readonly maxMessageBytes: number;
      readonly credit: Credit;
      /** How long the session is to be kept without a link. */
      readonly holdMs: number;
      /** Uncompressed P-256 point (65 bytes) whose key must sign every resume; empty: none. */
      readonly proofKey: Uint8Array;
      /** As in the HTTP header of that name, for bindings that have no header; may be empty. */
      readonly authorization: string;
      readonly label: string;
      /** The application's own, for the one who decides whether to accept. */
      readonly data: Uint8Array;
    }
  | {
      readonly type: "opened";
      readonly handle: string;
      readonly secret: string;
      readonly epoch: number;
      /** Chosen: a subset of what was offered, with exactly one mode. */
      readonly units: number;
      /** Bits of `TOKEN` that begin with the initiator; the other available ones begin with the responder. */
      readonly tokens: number;
      readonly checkpointBytes: number;
      readonly checkpointWindow: number;
      readonly maxMessageBytes: number;
      readonly credit: Credit;
      readonly holdMs: number;
      readonly pingMs: number;
    }
  | {
      readonly type: "resume";
      readonly handle: string;
      readonly secret: string;
      readonly authorization: string;
      readonly position: Position;
      readonly credit: Credit;
    }
  | { readonly type: "challenge"; readonly nonce: Uint8Array }
  | { readonly type: "proof"; readonly signature: Uint8Array }
  | {
      readonly type: "resumed";
      /** Replaces the one just used, once the first frame after this one was sent. */
      readonly secret: string;
      readonly epoch: number;
      readonly position: Position;
      readonly credit: Credit;
      readonly holdMs: number;
    }
  | { readonly type: "refused"; readonly code: number; readonly retryMs: number; readonly why: string };

/** Where a side stands, in message numbers. */
export interface Position {
  /** The number it wants to receive next. */
  readonly next: number;
  /** Up to where (exclusive) its application has committed; at most `next`. */
  readonly committed: number;
  /** The number its next own message will take. */
  readonly sent: number;
}

/** How much may be unacknowledged: messages (DATA, TEXT, TYPED) and bytes in them. */
export interface Credit {
  readonly messages: number;
  readonly bytes: number;
}

/** What changes the dialog's state, or is the dialog's content. Each takes the next number of its direction. */
export type NumberedFrame =
  | { readonly type: "data"; readonly bytes: Uint8Array }
  | { readonly type: "text"; readonly bytes: Uint8Array }
  | { readonly type: "typed"; readonly bytes: Uint8Array }
  | { readonly type: "token-give"; readonly tokens: number }
  | { readonly type: "minor"; readonly serial: number }
  | { readonly type: "minor-ack"; readonly serial: number }
  | { readonly type: "major"; readonly serial: number }
  | { readonly type: "major-ack"; readonly serial: number }
  | {
      readonly type: "resync";
      readonly kind: ResyncKind;
      readonly serial: number;
      /** Two bits a token, see `PLACE`. */
      readonly placement: number;
    }
  | { readonly type: "resync-ack"; readonly serial: number; readonly tokens: number }
  | { readonly type: "activity-start"; readonly id: string }
  | {
      readonly type: "activity-resume";
      readonly id: string;
      readonly oldId: string;
      /** The handle of the dialog in which the activity was left; empty: this one. */
      readonly oldHandle: string;
      /** The last sync point both sides have. */
      readonly serial: number;
    }
  | { readonly type: "activity-interrupt"; readonly reason: number }
  | { readonly type: "activity-interrupt-ack" }
  | { readonly type: "activity-discard"; readonly reason: number }
  | { readonly type: "activity-discard-ack" }
  | { readonly type: "activity-end"; readonly serial: number }
  | { readonly type: "activity-end-ack"; readonly serial: number }
  | { readonly type: "exception"; readonly reason: number; readonly why: string }
  | { readonly type: "finish" }
  | { readonly type: "finish-ack" }
  | { readonly type: "finish-refused" }
  /** Takes the numbers `from`…`to` for messages that will never come. */
  | { readonly type: "gap"; readonly from: number; readonly to: number; readonly reason: GapReason };

/** What concerns the link, or is not worth a number. */
export type UnnumberedFrame =
  | { readonly type: "ack"; readonly next: number; readonly credit: Credit }
  | { readonly type: "token-please"; readonly tokens: number }
  | { readonly type: "ping"; readonly id: number; readonly sent: number; readonly next: number }
  | { readonly type: "pong"; readonly id: number }
  | { readonly type: "suspend"; readonly reason: number }
  | { readonly type: "migrate"; readonly url: string; readonly withinMs: number }
  | { readonly type: "abort"; readonly code: number; readonly why: string }
  | { readonly type: "urgent"; readonly bytes: Uint8Array }
  | { readonly type: "urgent-ack"; readonly count: number };

export type Frame = LinkFrame | NumberedFrame | UnnumberedFrame;

export type ResyncKind = (typeof RESYNC_KINDS)[number];
export type GapReason = (typeof GAP_REASONS)[number];
