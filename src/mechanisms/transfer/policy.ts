import type { EndReason, Handle, Kernel } from "../../kernel/index.ts";
import type { TransferStorage } from "./storage/storage.ts";

export interface TransfersOptions {
  readonly store: TransferStorage;
  readonly kernel: Kernel;
  readonly policy?: Partial<TransferPolicy>;
  /**
   * Asked for every request and, with `action: "complete"`, once more when the last byte has arrived: what was allowed
   * hours ago may not be any more. Left out, whoever knows an upload's URL may use it and everybody may create one.
   */
  readonly authorize?: (request: AuthorizeRequest) => Verdict | Promise<Verdict>;
  /**
   * Receives each finished file, at least once (again after a crash in between, where the session store is durable).
   * What it returns is added to the response; when it throws, the peer gets 500 and the file stays complete.
   */
  readonly onFinish?: (file: FinishedFile) => FinishReply | void | Promise<FinishReply | void>;
  /** Hears of faults that no peer is told in detail. */
  readonly onFault?: (error: unknown) => void;
  /** Hears of settings around the handler that will hurt; by default they become process warnings. */
  readonly onWarning?: (warning: string) => void;
}

export interface TransferPolicy {
  /** Path that uploads are created at; each upload is one segment below it. */
  readonly path: string;
  /** Origin that `Location` begins with, where a path alone will not do; for example `https://files.example`. */
  readonly publicOrigin?: string;
  readonly maxBytes: number;
  /** Most content of one request, where a proxy sets a limit. */
  readonly maxAppendBytes?: number;
  /** An unfinished upload that nothing arrives for expires after this. */
  readonly expiresMs: number;
  /** An unfinished upload expires after this whatever arrives; `Infinity`: never. */
  readonly maxAgeMs: number;
  /** What arrives is made durable, and acknowledged, at least every so many bytes or ms. */
  readonly commitBytes: number;
  readonly commitMs: number;
  /** A request whose content does not move for this long is ended; what had arrived is kept. */
  readonly idleProgressMs: number;
  /**
   * A tus HEAD does not stop a request whose content moved within this; it tells what is durable by then. Any other
   * request, and every one of the other protocol, ends the one before it at once.
   */
  readonly movingMs: number;
  /** Bytes a second that a request's content has to come at, measured over `idleProgressMs`; 0: no minimum. */
  readonly minBytesPerSecond: number;
  /** Per principal. */
  readonly openUploads: number;
  readonly reservedBytes: number;
  readonly metadataBytes: number;
  readonly metadataKeys: number;
  /** No upload is begun or continued that would leave less room than this on the storage. */
  readonly watermarkBytes: number;
  /** Completed uploads can be fetched with GET from their own URL. */
  readonly downloads: boolean;
  /** Each of them is a session while it runs: it is listed, and a revoke or the end of its login breaks it off. */
  readonly downloadSessions: boolean;
  /** 104 interim responses; some proxies hang on them. */
  readonly interim: boolean;
  /** Origins that browsers may upload from; `*` for any, without credentials. */
  readonly cors: "*" | readonly string[];
  /** How long after a request an upload counts as established before it is suspended. */
  readonly lingerMs: number;
  /** The bytes of what was removed are freed after this, and its 410 becomes a 404 after `forgetMs`. */
  readonly graceMs: number;
  readonly forgetMs: number;
}

const HOUR = 3_600_000;

export const DEFAULT_TRANSFER_POLICY: TransferPolicy = {
  path: "/files",
  maxBytes: 1024 ** 4,
  expiresMs: 24 * HOUR,
  maxAgeMs: 7 * 24 * HOUR,
  commitBytes: 8 * 1024 ** 2,
  commitMs: 1_000,
  idleProgressMs: 60_000,
  movingMs: 250,
  minBytesPerSecond: 0,
  openUploads: 1_000,
  reservedBytes: Infinity,
  metadataBytes: 8 * 1024,
  metadataKeys: 64,
  watermarkBytes: 256 * 1024 ** 2,
  downloads: true,
  downloadSessions: true,
  interim: true,
  cors: [],
  lingerMs: 2_000,
  graceMs: HOUR,
  forgetMs: 7 * 24 * HOUR,
};

export interface AuthorizeRequest {
  readonly action: "create" | "append" | "inspect" | "terminate" | "complete" | "download";
  readonly header: (name: string) => string | undefined;
  /** The request as the server has it: what a session middleware in front has put its session on. */
  readonly request: object;
  readonly length?: number;
  readonly name?: string;
  readonly type?: string;
  /** Of the upload that is meant; absent with `create`. */
  readonly handle?: Handle;
  readonly principal?: string;
}

export type Verdict =
  | {
      readonly allow: true;
      /** Who it is; an upload can be used only by the principal that created it. */
      readonly principal?: string;
      /** The session it belongs under: when that ends, so does the upload. */
      readonly parent?: Handle;
      readonly tenant?: string;
    }
  | {
      readonly allow: false;
      readonly status: 401 | 403;
      readonly why: string;
      /** With 401, the WWW-Authenticate field: how to say who one is. */
      readonly challenge?: string;
    };

export interface FinishedFile {
  readonly id: string;
  readonly handle: Handle;
  readonly bytes: number;
  /** SHA-256 of all of it. */
  readonly sha256: Uint8Array;
  /** As the peer called it, made safe to show and to store; never a path. */
  readonly name?: string;
  readonly type?: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly principal?: string;
  /** Where the storage keeps it as one file of its own. */
  readonly path?: string;
  read(span?: { readonly start: number; readonly end: number }): AsyncIterable<Uint8Array>;
  /** Takes it out of the storage once it is kept elsewhere. */
  remove(): Promise<void>;
}

export interface FinishReply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly text?: string;
}

/** Reasons for which an upload's session can have ended, as its peer is told them. */
export const ENDED_SENTENCES: Readonly<Record<EndReason, string>> = {
  logout: "the session it belonged to was logged out",
  bye: "the upload was terminated",
  finished: "the upload is finished",
  "idle-expired": "the upload has expired",
  "absolute-expired": "the upload has expired",
  "byte-limit": "the upload reached its byte limit",
  timeout: "the upload has expired",
  crashed: "the upload's state was lost",
  revoked: "the upload was revoked",
  evicted: "the upload gave way to others of the same owner",
  superseded: "the upload was superseded",
  refused: "the upload was refused",
  "protocol-error": "the upload was ended after a protocol error",
};
