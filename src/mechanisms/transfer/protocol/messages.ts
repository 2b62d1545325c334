import type { Digests, Preference } from "./digest-fields.ts";
import type { ChecksumDemand } from "./checksum.ts";
import type { Metadata } from "./metadata.ts";

/** A request without its body. Header names are lower case; a repeated field arrives joined by ", ". */
export interface RequestHead {
  readonly method: string;
  header(name: string): string | undefined;
}

/** What to answer. `problem` becomes the body as application/problem+json, `text` as text/plain. */
export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text?: string;
  readonly problem?: Readonly<Record<string, string | number>>;
}

/** What a peer wants done, whichever protocol it said it in. */
export type Command = CreateCommand | AppendCommand | InspectCommand | { readonly act: "terminate" };

export interface CreateCommand {
  readonly act: "create";
  readonly length?: number;
  readonly metadata: Metadata;
  /** As the peer wrote it, to be echoed. */
  readonly metadataField?: string;
  readonly concat?:
    | { readonly kind: "partial" }
    | { readonly kind: "final"; readonly parts: readonly string[] };
  /** The request's content is the beginning of the upload. */
  readonly withContent: boolean;
  readonly completion: Completion;
  readonly contentBytes?: number;
  readonly checksum?: ChecksumDemand;
  /** What the whole is expected to hash to. */
  readonly wholeDigests?: Digests;
  readonly want?: readonly Preference[];
}

export interface AppendCommand {
  readonly act: "append";
  readonly offset: number;
  readonly length?: number;
  readonly completion: Completion;
  readonly contentBytes?: number;
  readonly checksum?: ChecksumDemand;
  readonly want?: readonly Preference[];
}

export interface InspectCommand {
  readonly act: "inspect";
  readonly want?: readonly Preference[];
}

/** What ends an upload: having all of `length`, this request's own end, or another request. */
export type Completion = "by-length" | "with-this-request" | "later";

/** Where an upload stands, as far as a protocol wants to tell it. */
export interface UploadStatus {
  readonly offset: number;
  readonly length?: number;
  readonly complete: boolean;
  /** Instant at which it expires; absent once it is complete. */
  readonly expiresAt?: number;
  readonly metadataField?: string;
  readonly concat?:
    | { readonly kind: "partial" }
    | { readonly kind: "final"; readonly parts: readonly string[] };
  /** Serialized Repr-Digest of what there is so far. */
  readonly digest?: string;
}

export interface Limits {
  readonly maxBytes?: number;
  readonly maxAppendBytes?: number;
}

/** Why it was not done. One word for each, so that both protocols can say it in their own. */
export type Fault =
  | { readonly fault: "version" }
  | { readonly fault: "malformed"; readonly why: string }
  | { readonly fault: "media-type"; readonly wanted: string }
  | { readonly fault: "method" }
  | { readonly fault: "offset"; readonly expected: number; readonly provided: number }
  | { readonly fault: "complete"; readonly offset: number }
  | { readonly fault: "length"; readonly why: string }
  | { readonly fault: "too-large"; readonly limit: number }
  | { readonly fault: "final" }
  | { readonly fault: "part"; readonly why: string }
  | { readonly fault: "checksum-algorithm" }
  | { readonly fault: "checksum"; readonly offset: number }
  | { readonly fault: "digest" }
  | { readonly fault: "absent" }
  | { readonly fault: "gone"; readonly why: string }
  | { readonly fault: "unauthenticated"; readonly challenge?: string }
  | { readonly fault: "forbidden"; readonly why: string }
  | { readonly fault: "locked"; readonly why: string }
  | { readonly fault: "quota"; readonly why: string }
  | { readonly fault: "no-space" }
  | { readonly fault: "unavailable"; readonly why: string }
  | { readonly fault: "too-slow" }
  | { readonly fault: "failed"; readonly why: string };

export type Parsed = { readonly command: Command } | Fault;

export function isFault(value: object): value is Fault {
  return "fault" in value;
}

/** The status both protocols use; 460 is tus's own and is put in by its engine. */
export function statusOf(fault: Fault): number {
  return STATUS[fault.fault];
}

export function sentenceOf(fault: Fault): string {
  if ("why" in fault) return fault.why;
  switch (fault.fault) {
    case "offset":
      return `the upload is at offset ${fault.expected}, not ${fault.provided}`;
    case "too-large":
      return `at most ${fault.limit} bytes are taken here`;
    case "media-type":
      return `the Content-Type has to be ${fault.wanted}`;
    default:
      return SENTENCES[fault.fault];
  }
}

/** RFC 9110 §11.6.1: what goes with a 401, where there is a way to answer it. */
export function challengeOf(fault: Fault): Readonly<Record<string, string>> {
  return fault.fault === "unauthenticated" && fault.challenge !== undefined
    ? { "WWW-Authenticate": fault.challenge }
    : {};
}

const STATUS: Readonly<Record<Fault["fault"], number>> = {
  version: 412,
  malformed: 400,
  "media-type": 415,
  method: 405,
  offset: 409,
  complete: 409,
  length: 400,
  "too-large": 413,
  final: 403,
  part: 400,
  "checksum-algorithm": 400,
  checksum: 400,
  digest: 400,
  absent: 404,
  gone: 410,
  unauthenticated: 401,
  forbidden: 403,
  locked: 423,
  quota: 429,
  "no-space": 507,
  unavailable: 503,
  "too-slow": 408,
  failed: 500,
};

const SENTENCES = {
  version: "this version of the protocol is not spoken here",
  method: "the resource has no such method",
  complete: "the upload is complete and takes nothing more",
  final: "a final upload is made of its parts and cannot be written to",
  "checksum-algorithm": "the checksum's algorithm is not one of those offered",
  checksum: "the content does not match its checksum and was discarded",
  digest: "the whole does not match the digest that was announced",
  absent: "there is no such upload",
  unauthenticated: "say who you are",
  "no-space": "the storage is nearly full",
  "too-slow": "the content came too slowly; what had arrived is kept",
} as const;
