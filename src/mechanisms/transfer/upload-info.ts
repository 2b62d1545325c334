import { createHash, randomBytes } from "node:crypto";
import { parseHandle } from "../../kernel/index.ts";
import type { Handle, Json } from "../../kernel/index.ts";
import type { CreateCommand } from "./protocol/messages.ts";
import { metadataText, safeFileName } from "./protocol/metadata.ts";
import type { UploadId } from "./storage/storage.ts";
import { parseUploadId } from "./storage/storage.ts";

/** What the storage keeps of an upload beside its bytes; written once. */
export interface UploadInfo {
  readonly handle: Handle;
  readonly protocol: "tus" | "ietf";
  readonly name?: string;
  readonly type?: string;
  readonly metadataField?: string;
  /** Values that are text. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly concat?: "partial" | { readonly parts: readonly string[] };
  readonly principal?: string;
  /** SHA-256 that the whole was announced to have, in base64. */
  readonly sha256?: string;
  readonly expiresAt?: number;
}

/** The last segment of an upload's URL is all it takes to use it, so it is as hard to guess as a session's secret. */
export function mintToken(): string {
  return randomBytes(24).toString("base64url");
}

/** The storage knows an upload by the hash of its token: who reads the disk cannot write to the upload. */
export function uploadIdOf(token: string): UploadId | undefined {
  if (!/^[A-Za-z0-9_-]{32}$/.test(token)) return undefined;
  return parseUploadId(createHash("sha256").update(token).digest("base64url").slice(0, 32));
}

export function makeInfo(
  command: CreateCommand,
  made: {
    readonly handle: Handle;
    readonly protocol: "tus" | "ietf";
    readonly principal?: string | undefined;
    readonly expiresAt?: number;
  },
): UploadInfo {
  const metadata: Record<string, string> = {};
  for (const key of command.metadata.keys()) metadata[key] = metadataText(command.metadata, key) ?? "";
  const name = metadataText(command.metadata, "filename", "name");
  const safe = name === undefined ? undefined : safeFileName(name);
  const type = safeMediaType(metadataText(command.metadata, "filetype", "type"));
  const sha256 = command.wholeDigests?.["sha-256"];
  return {
    handle: made.handle,
    protocol: made.protocol,
    metadata,
    ...(safe !== undefined && { name: safe }),
    ...(type !== undefined && { type }),
    ...(command.metadataField !== undefined && { metadataField: command.metadataField }),
    ...(command.concat !== undefined && {
      concat: command.concat.kind === "partial" ? "partial" : { parts: command.concat.parts },
    }),
    ...(made.principal !== undefined && { principal: made.principal }),
    ...(sha256 !== undefined && { sha256: Buffer.from(sha256).toString("base64") }),
    ...(made.expiresAt !== undefined && { expiresAt: made.expiresAt }),
  };
}

export function encodeInfo(info: UploadInfo): Json {
  return { ...info } as unknown as Json;
}

/** `undefined`: written by something else. */
export function parseInfo(value: Json): UploadInfo | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const info = value as Partial<Record<keyof UploadInfo, Json>>;
  const handle = typeof info.handle === "string" ? parseHandle(info.handle) : undefined;
  if (handle === undefined || (info.protocol !== "tus" && info.protocol !== "ietf")) return undefined;
  if (typeof info.metadata !== "object" || info.metadata === null) return undefined;
  return { ...(value as unknown as UploadInfo), handle };
}

/** A media type that can be sent back in a header, without parameters that could say more than a charset. */
export function safeMediaType(text: string | undefined): string | undefined {
  const match =
    /^\s*([a-z0-9!#$&^_.+-]{1,100}\/[a-z0-9!#$&^_.+-]{1,100})\s*(?:;\s*charset\s*=\s*"?([a-z0-9_.:-]{1,40})"?\s*)?(?:;.*)?$/i.exec(
      text ?? "",
    );
  if (match?.[1] === undefined) return undefined;
  const type = match[1].toLowerCase();
  return match[2] === undefined ? type : `${type}; charset=${match[2].toLowerCase()}`;
}
