import { CHECKSUM_ALGORITHMS, parseUploadChecksum } from "./checksum.ts";
import type { ChecksumDemand } from "./checksum.ts";
import { parseDigests, parsePreferences } from "./digest-fields.ts";
import { httpDate, mediaType, parseCount } from "./fields.ts";
import type {
  AppendCommand,
  CreateCommand,
  Fault,
  Limits,
  Parsed,
  Reply,
  RequestHead,
  UploadStatus,
} from "./messages.ts";
import { challengeOf, isFault, sentenceOf, statusOf } from "./messages.ts";
import { parseMetadata } from "./metadata.ts";
import type { MetadataLimits } from "./metadata.ts";

/** tus resumable upload protocol 1.0.0: requests to commands, outcomes to replies. No socket, no clock, no state. */
const TUS_VERSION = "1.0.0";
const TUS_EXTENSIONS = [
  "creation",
  "creation-with-upload",
  "creation-defer-length",
  "expiration",
  "checksum",
  "checksum-trailer",
  "termination",
  "concatenation",
  "concatenation-unfinished",
] as const;
const OFFSET_STREAM = "application/offset+octet-stream";

export function parseTus(
  head: RequestHead,
  method: string,
  limits: Limits & { readonly metadata: MetadataLimits },
): Parsed {
  // "If the version specified by the Client is not supported by the Server, it MUST respond with 412 […] and MUST NOT
  // process the request." A request that names none is no request of this protocol.
  if (head.header("tus-resumable") !== TUS_VERSION) return { fault: "version" };
  switch (method) {
    case "POST":
      return parseCreate(head, limits);
    case "PATCH":
      return parseAppend(head, limits);
    case "HEAD":
      return { command: { act: "inspect", ...wanted(head) } };
    case "DELETE":
      return { command: { act: "terminate" } };
    default:
      return { fault: "method" };
  }
}

function parseCreate(head: RequestHead, limits: Limits & { readonly metadata: MetadataLimits }): Parsed {
  const length = countField(head, "upload-length");
  if (typeof length === "object") return length;
  const defer = head.header("upload-defer-length");
  if (defer !== undefined && defer !== "1") return malformed("Upload-Defer-Length can only be 1");
  const concat = parseConcat(head.header("upload-concat"));
  if (concat !== undefined && isFault(concat)) return concat;
  if (concat?.kind === "final") {
    if (length !== undefined || defer !== undefined)
      return malformed("a final upload carries no Upload-Length: it is the sum of its parts");
    if ((parseCount(head.header("content-length")) ?? 0) > 0) return { fault: "final" };
  } else if ((length === undefined) === (defer === undefined)) {
    return malformed("exactly one of Upload-Length and Upload-Defer-Length is needed");
  }
  if (length !== undefined && limits.maxBytes !== undefined && length > limits.maxBytes)
    return { fault: "too-large", limit: limits.maxBytes };
  const metadataField = head.header("upload-metadata");
  const metadata = parseMetadata(metadataField ?? "", limits.metadata);
  if ("fault" in metadata) return metadata;
  const withContent = carriesContent(head);
  if (withContent && mediaType(head.header("content-type")) !== OFFSET_STREAM)
    return { fault: "media-type", wanted: OFFSET_STREAM };
  const content = parseContent(head, 0, length, limits);
  if (isFault(content)) return content;
  const whole = head.header("repr-digest");
  const wholeDigests = whole === undefined ? undefined : parseDigests(whole);
  if (whole !== undefined && wholeDigests === undefined)
    return malformed("Repr-Digest is not a digest field");
  const command: CreateCommand = {
    act: "create",
    ...(length !== undefined && { length }),
    metadata,
    ...(metadataField !== undefined && { metadataField }),
    ...(concat !== undefined && { concat }),
    withContent,
    completion: "by-length",
    ...content,
    ...(wholeDigests !== undefined && { wholeDigests }),
    ...wanted(head),
  };
  return { command };
}

function parseAppend(head: RequestHead, limits: Limits): Parsed {
  if (mediaType(head.header("content-type")) !== OFFSET_STREAM)
    return { fault: "media-type", wanted: OFFSET_STREAM };
  const offset = countField(head, "upload-offset");
  if (typeof offset === "object") return offset;
  if (offset === undefined) return malformed("Upload-Offset is missing");
  const length = countField(head, "upload-length");
  if (typeof length === "object") return length;
  if (length !== undefined && limits.maxBytes !== undefined && length > limits.maxBytes)
    return { fault: "too-large", limit: limits.maxBytes };
  if (length !== undefined && length < offset)
    return { fault: "length", why: `Upload-Length ${length} lies before Upload-Offset ${offset}` };
  const content = parseContent(head, offset, length, limits);
  if (isFault(content)) return content;
  const command: AppendCommand = {
    act: "append",
    offset,
    ...(length !== undefined && { length }),
    completion: "by-length",
    ...content,
    ...wanted(head),
  };
  return { command };
}

function parseContent(
  head: RequestHead,
  offset: number,
  length: number | undefined,
  limits: Limits,
): { readonly contentBytes?: number; readonly checksum?: ChecksumDemand } | Fault {
  const contentBytes = parseCount(head.header("content-length"));
  if (contentBytes !== undefined && length !== undefined && offset + contentBytes > length)
    return { fault: "too-large", limit: length };
  if (
    contentBytes !== undefined &&
    limits.maxBytes !== undefined &&
    offset + contentBytes > limits.maxBytes
  ) {
    return { fault: "too-large", limit: limits.maxBytes };
  }
  const field = head.header("upload-checksum");
  const trailer =
    head
      .header("trailer")
      ?.toLowerCase()
      .split(",")
      .some((name) => name.trim() === "upload-checksum") === true;
  if (field === undefined) {
    return {
      ...(contentBytes !== undefined && { contentBytes }),
      ...(trailer && { checksum: { when: "trailer" } as const }),
    };
  }
  const sums = parseUploadChecksum(field);
  if ("fault" in sums) return sums;
  return { ...(contentBytes !== undefined && { contentBytes }), checksum: { when: "known", sums } };
}

/** Concatenation: `partial`, or `final;` and the URLs of the parts, separated by single spaces. */
function parseConcat(field: string | undefined): CreateCommand["concat"] | Fault {
  if (field === undefined) return undefined;
  if (field === "partial") return { kind: "partial" };
  if (!field.startsWith("final;")) return malformed("Upload-Concat is partial, or final; and the parts");
  const parts = field
    .slice(6)
    .trim()
    .split(/ +/)
    .filter((part) => part !== "");
  if (parts.length === 0) return malformed("a final upload needs at least one part");
  if (parts.length > 10_000) return malformed("a final upload has at most 10000 parts");
  return { kind: "final", parts };
}

export function tusOptions(limits: Limits): Reply {
  return {
    status: 204,
    headers: {
      "Tus-Resumable": TUS_VERSION,
      "Tus-Version": TUS_VERSION,
      "Tus-Extension": TUS_EXTENSIONS.join(","),
      "Tus-Checksum-Algorithm": CHECKSUM_ALGORITHMS.join(","),
      ...(limits.maxBytes !== undefined && { "Tus-Max-Size": String(limits.maxBytes) }),
    },
  };
}

export function tusCreated(status: UploadStatus, location: string): Reply {
  const waiting = status.concat?.kind === "final" && !status.complete;
  return reply(201, {
    Location: location,
    // Creation-With-Upload wants the offset where there was content; telling it always does no harm, and tus-js-client
    // asks for it when the content it meant to send turns out to be empty.
    ...(!waiting && { "Upload-Offset": String(status.offset) }),
    ...expires(status),
    ...digest(status),
  });
}

export function tusAppended(status: UploadStatus): Reply {
  return reply(204, { "Upload-Offset": String(status.offset), ...expires(status), ...digest(status) });
}

export function tusInspected(status: UploadStatus): Reply {
  const concat =
    status.concat?.kind === "final" ? `final;${status.concat.parts.join(" ")}` : status.concat?.kind;
  // A final upload that still waits for its parts has no offset to tell (Concatenation, HEAD).
  const waiting = status.concat?.kind === "final" && !status.complete;
  return reply(200, {
    ...(!waiting && { "Upload-Offset": String(status.offset) }),
    ...(status.length === undefined
      ? !waiting && { "Upload-Defer-Length": "1" }
      : { "Upload-Length": String(status.length) }),
    ...(status.metadataField !== undefined && { "Upload-Metadata": status.metadataField }),
    ...(concat !== undefined && { "Upload-Concat": concat }),
    ...expires(status),
    ...digest(status),
    "Cache-Control": "no-store",
  });
}

export function tusTerminated(): Reply {
  return reply(204, {});
}

export function tusRefused(fault: Fault): Reply {
  const status = fault.fault === "checksum" ? 460 : statusOf(fault);
  return {
    ...reply(status, {
      ...(fault.fault === "version" && { "Tus-Version": TUS_VERSION }),
      ...(fault.fault === "offset" && { "Upload-Offset": String(fault.expected) }),
      ...((fault.fault === "complete" || fault.fault === "checksum") && {
        "Upload-Offset": String(fault.offset),
      }),
      ...(fault.fault === "checksum-algorithm" && {
        "Tus-Checksum-Algorithm": CHECKSUM_ALGORITHMS.join(","),
      }),
      ...(fault.fault === "method" && { Allow: "OPTIONS, HEAD, GET, POST, PATCH, DELETE" }),
      ...challengeOf(fault),
      "Cache-Control": "no-store",
    }),
    text: `${sentenceOf(fault)}\n`,
  };
}

function reply(status: number, headers: Reply["headers"]): Reply {
  return { status, headers: { "Tus-Resumable": TUS_VERSION, ...headers } };
}

/** Expiration: on unfinished uploads only. */
function expires(status: UploadStatus): Record<string, string> {
  return status.complete || status.expiresAt === undefined
    ? {}
    : { "Upload-Expires": httpDate(status.expiresAt) };
}

function digest(status: UploadStatus): Record<string, string> {
  return status.digest === undefined ? {} : { "Repr-Digest": status.digest };
}

function wanted(head: RequestHead): { readonly want?: NonNullable<ReturnType<typeof parsePreferences>> } {
  const want = parsePreferences(head.header("want-repr-digest"));
  return want === undefined || want.length === 0 ? {} : { want };
}

/** The field as a number, `undefined` when it is not there, and a fault when it is something else. */
function countField(head: RequestHead, name: string): number | undefined | Fault {
  const text = head.header(name);
  if (text === undefined) return undefined;
  return parseCount(text) ?? malformed(`${name} is not a non-negative integer`);
}

function carriesContent(head: RequestHead): boolean {
  return (
    (parseCount(head.header("content-length")) ?? 0) > 0 || head.header("transfer-encoding") !== undefined
  );
}

function malformed(why: string): Fault {
  return { fault: "malformed", why };
}
