import type { ChecksumDemand } from "./checksum.ts";
import { parseDigests, parsePreferences } from "./digest-fields.ts";
import {
  dispositionFileName,
  mediaType,
  parseBoolean,
  parseCount,
  parseInteger,
  serializeBoolean,
} from "./fields.ts";
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
import type { Metadata } from "./metadata.ts";

/**
 * Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload), interop versions 3 to 8. What differs between them
 * is this table; everything else has stayed.
 *
 * 3 = -01 · 4 = -02 · 5 = -03 · 6 = -04, -05 · 7 = -06 to -08 · 8 = -09 and later
 */
export interface Dialect {
  readonly version: number;
  /** Before -02 the field said the opposite: Upload-Incomplete. */
  readonly inverted: boolean;
  /** 104 with Upload-Offset while content arrives. */
  readonly progress: boolean;
  /** Appends have to be application/partial-upload. */
  readonly partialMediaType: boolean;
  /** What the remaining lifetime is called in Upload-Limit; absent before the field was. */
  readonly lifetime?: "expires" | "max-age";
  /** Upload-Length, and problem types. */
  readonly problems: boolean;
}

const DIALECTS: ReadonlyMap<number, Dialect> = new Map(
  [
    { version: 3, inverted: true, progress: false, partialMediaType: false, problems: false },
    { version: 4, inverted: false, progress: false, partialMediaType: false, problems: false },
    { version: 5, inverted: false, progress: true, partialMediaType: false, problems: false },
    {
      version: 6,
      inverted: false,
      progress: true,
      partialMediaType: true,
      lifetime: "expires" as const,
      problems: true,
    },
    {
      version: 7,
      inverted: false,
      progress: true,
      partialMediaType: true,
      lifetime: "max-age" as const,
      problems: true,
    },
    {
      version: 8,
      inverted: false,
      progress: true,
      partialMediaType: true,
      lifetime: "max-age" as const,
      problems: true,
    },
  ].map((dialect) => [dialect.version, dialect]),
);
const NEWEST: Dialect = {
  version: 8,
  inverted: false,
  progress: true,
  partialMediaType: true,
  lifetime: "max-age",
  problems: true,
};
const PARTIAL_UPLOAD = "application/partial-upload";
const INTEROP = "upload-draft-interop-version";

/** The dialect a request is in, and whether the peer said so: 104 goes only to those that did. */
export function dialectOf(head: RequestHead): { readonly dialect: Dialect; readonly named: boolean } {
  const named = DIALECTS.get(parseInteger(head.header(INTEROP)) ?? -1);
  return named === undefined ? { dialect: NEWEST, named: false } : { dialect: named, named: true };
}

/** True when a request can only be meant in this protocol. */
export function marksIetf(head: RequestHead): boolean {
  return (
    head.header(INTEROP) !== undefined ||
    head.header("upload-complete") !== undefined ||
    head.header("upload-incomplete") !== undefined ||
    mediaType(head.header("content-type")) === PARTIAL_UPLOAD
  );
}

/** `onUpload`: the target is an upload resource, so that PATCH appends; elsewhere any method with content creates. */
export function parseIetf(head: RequestHead, method: string, onUpload: boolean, limits: Limits): Parsed {
  const { dialect } = dialectOf(head);
  if (!onUpload) {
    if (method === "POST" || method === "PUT" || method === "PATCH")
      return parseCreate(head, dialect, limits);
    return { fault: "method" };
  }
  switch (method) {
    case "HEAD":
      return head.header("upload-offset") !== undefined || completeField(head, dialect) !== undefined
        ? // -01 to -03: a server MUST reject an offset retrieval that carries these fields.
          malformed("Upload-Offset and Upload-Complete have no place in a HEAD request")
        : { command: { act: "inspect", ...wanted(head) } };
    case "PATCH":
      return parseAppend(head, dialect, limits);
    case "DELETE":
      return { command: { act: "terminate" } };
    default:
      return { fault: "method" };
  }
}

function parseCreate(head: RequestHead, dialect: Dialect, limits: Limits): Parsed {
  const complete = completeField(head, dialect);
  if (complete === undefined)
    return malformed(`${dialect.inverted ? "Upload-Incomplete" : "Upload-Complete"} has to be ?0 or ?1`);
  const content = parseContent(head, 0, complete, limits);
  if (isFault(content)) return content;
  const whole = head.header("repr-digest");
  const wholeDigests = whole === undefined ? undefined : parseDigests(whole);
  if (whole !== undefined && wholeDigests === undefined)
    return malformed("Repr-Digest is not a digest field");
  const command: CreateCommand = {
    act: "create",
    metadata: representationMetadata(head),
    withContent: true,
    completion: complete ? "with-this-request" : "later",
    ...content,
    ...(wholeDigests !== undefined && { wholeDigests }),
    ...wanted(head),
  };
  return { command };
}

function parseAppend(head: RequestHead, dialect: Dialect, limits: Limits): Parsed {
  if (dialect.partialMediaType && mediaType(head.header("content-type")) !== PARTIAL_UPLOAD)
    return { fault: "media-type", wanted: PARTIAL_UPLOAD };
  const offset = parseInteger(head.header("upload-offset"));
  if (offset === undefined) return malformed("Upload-Offset has to be a non-negative integer");
  const complete = completeField(head, dialect);
  if (complete === undefined)
    return malformed(`${dialect.inverted ? "Upload-Incomplete" : "Upload-Complete"} has to be ?0 or ?1`);
  const content = parseContent(head, offset, complete, limits);
  if (isFault(content)) return content;
  const command: AppendCommand = {
    act: "append",
    offset,
    completion: complete ? "with-this-request" : "later",
    ...content,
    ...wanted(head),
  };
  return { command };
}

/** Lengths (§4.1.3): told by Upload-Length, or by Content-Length of the request that completes; both have to agree. */
function parseContent(
  head: RequestHead,
  offset: number,
  complete: boolean,
  limits: Limits,
): { readonly length?: number; readonly contentBytes?: number; readonly checksum?: ChecksumDemand } | Fault {
  const contentBytes = parseCount(head.header("content-length"));
  const told = parseInteger(head.header("upload-length"));
  const counted = complete && contentBytes !== undefined ? offset + contentBytes : undefined;
  if (told !== undefined && counted !== undefined && told !== counted) {
    return {
      fault: "length",
      why: `Upload-Length says ${told}, Upload-Offset and Content-Length say ${counted}`,
    };
  }
  const length = told ?? counted;
  if (limits.maxBytes !== undefined && Math.max(length ?? 0, offset + (contentBytes ?? 0)) > limits.maxBytes)
    return { fault: "too-large", limit: limits.maxBytes };
  if (limits.maxAppendBytes !== undefined && (contentBytes ?? 0) > limits.maxAppendBytes)
    return { fault: "too-large", limit: limits.maxAppendBytes };
  if (length !== undefined && offset + (contentBytes ?? 0) > length)
    return { fault: "length", why: `the content goes beyond the length of ${length}` };
  const field = head.header("content-digest");
  const digests = field === undefined ? undefined : parseDigests(field);
  if (field !== undefined && digests === undefined) return malformed("Content-Digest is not a digest field");
  const sums = [
    ...(digests?.["sha-256"] === undefined
      ? []
      : [{ algorithm: "sha256" as const, digest: digests["sha-256"] }]),
    ...(digests?.["sha-512"] === undefined
      ? []
      : [{ algorithm: "sha512" as const, digest: digests["sha-512"] }]),
  ];
  return {
    ...(length !== undefined && { length }),
    ...(contentBytes !== undefined && { contentBytes }),
    ...(sums.length > 0 && { checksum: { when: "known", sums } as const }),
  };
}

export function ietfOptions(limits: Limits): Reply {
  const limit = uploadLimit(NEWEST, { offset: 0, complete: false }, limits, 0);
  return {
    status: 204,
    headers: { "Accept-Patch": PARTIAL_UPLOAD, ...(limit !== "" && { "Upload-Limit": limit }) },
  };
}

/** §4.2.2: the interim response that makes a plain upload resumable. */
export function ietfResumable(
  dialect: Dialect,
  location: string,
  status: UploadStatus,
  limits: Limits,
  now: number,
): Reply {
  return {
    status: 104,
    headers: { Location: location, ...interop(dialect), ...limitField(dialect, status, limits, now) },
  };
}

export function ietfProgress(dialect: Dialect, offset: number): Reply {
  return { status: 104, headers: { "Upload-Offset": String(offset), ...interop(dialect) } };
}

export function ietfCreated(
  dialect: Dialect,
  location: string,
  status: UploadStatus,
  limits: Limits,
  now: number,
): Reply {
  return {
    status: status.complete ? 200 : 201,
    headers: {
      Location: location,
      ...standing(dialect, status, limits, now),
    },
  };
}

export function ietfAppended(
  dialect: Dialect,
  location: string,
  status: UploadStatus,
  limits: Limits,
  now: number,
): Reply {
  return {
    status: status.complete ? 200 : dialect.version <= 5 ? 201 : 204,
    headers: {
      ...standing(dialect, status, limits, now),
      ...(status.complete && { "Content-Location": location }),
    },
  };
}

export function ietfInspected(dialect: Dialect, status: UploadStatus, limits: Limits, now: number): Reply {
  return {
    status: 204,
    headers: {
      ...standing(dialect, status, limits, now),
      ...(status.length !== undefined && dialect.problems && { "Upload-Length": String(status.length) }),
      "Cache-Control": "no-store",
    },
  };
}

/** How far an upload is, as every answer about it says. */
function standing(
  dialect: Dialect,
  status: UploadStatus,
  limits: Limits,
  now: number,
): Readonly<Record<string, string>> {
  return {
    "Upload-Offset": String(status.offset),
    ...completeness(dialect, status.complete),
    ...interop(dialect),
    ...limitField(dialect, status, limits, now),
    ...digest(status),
  };
}

export function ietfTerminated(dialect: Dialect): Reply {
  return { status: 204, headers: interop(dialect) };
}

export function ietfRefused(dialect: Dialect, fault: Fault, limits: Limits): Reply {
  const status = fault.fault === "complete" ? (dialect.problems ? 400 : 409) : statusOf(fault);
  const limit = uploadLimit(dialect, { offset: 0, complete: false }, limits, 0);
  return {
    status,
    headers: {
      ...interop(dialect),
      ...(fault.fault === "offset" && {
        "Upload-Offset": String(fault.expected),
        ...completeness(dialect, false),
      }),
      ...(fault.fault === "complete" && {
        "Upload-Offset": String(fault.offset),
        ...completeness(dialect, true),
      }),
      ...(fault.fault === "checksum" && {
        "Upload-Offset": String(fault.offset),
        ...completeness(dialect, false),
      }),
      // §4.1.4: a 413 for our own limits says what they are.
      ...(fault.fault === "too-large" && limit !== "" && { "Upload-Limit": limit }),
      ...(fault.fault === "method" && { Allow: "OPTIONS, HEAD, GET, POST, PUT, PATCH, DELETE" }),
      ...(fault.fault === "media-type" && { "Accept-Patch": PARTIAL_UPLOAD }),
      ...challengeOf(fault),
      "Cache-Control": "no-store",
    },
    problem: problem(fault, status),
  };
}

/** RFC 9457, with the types of §7 of the draft and those for digest fields. */
function problem(fault: Fault, status: number): NonNullable<Reply["problem"]> {
  const type = PROBLEM_TYPES[fault.fault];
  return {
    ...(type !== undefined && { type: `https://iana.org/assignments/http-problem-types#${type}` }),
    title: sentenceOf(fault),
    status,
    ...(fault.fault === "offset" && { "expected-offset": fault.expected, "provided-offset": fault.provided }),
  };
}

const PROBLEM_TYPES: Readonly<Partial<Record<Fault["fault"], string>>> = {
  offset: "mismatching-upload-offset",
  complete: "completed-upload",
  length: "inconsistent-upload-length",
  checksum: "digest-mismatching-values",
  digest: "digest-mismatching-values",
};

function completeField(head: RequestHead, dialect: Dialect): boolean | undefined {
  const value = parseBoolean(head.header(dialect.inverted ? "upload-incomplete" : "upload-complete"));
  return value === undefined ? undefined : value !== dialect.inverted;
}

function completeness(dialect: Dialect, complete: boolean): Record<string, string> {
  return dialect.inverted
    ? { "Upload-Incomplete": serializeBoolean(!complete) }
    : { "Upload-Complete": serializeBoolean(complete) };
}

function interop(dialect: Dialect): Record<string, string> {
  return { "Upload-Draft-Interop-Version": String(dialect.version) };
}

function limitField(
  dialect: Dialect,
  status: UploadStatus,
  limits: Limits,
  now: number,
): Record<string, string> {
  const limit = uploadLimit(dialect, status, limits, now);
  return limit === "" ? {} : { "Upload-Limit": limit };
}

function uploadLimit(dialect: Dialect, status: UploadStatus, limits: Limits, now: number): string {
  if (dialect.lifetime === undefined) return "";
  const left =
    status.expiresAt === undefined || status.complete
      ? undefined
      : Math.max(0, Math.floor((status.expiresAt - now) / 1000));
  return [
    limits.maxBytes === undefined ? undefined : `max-size=${limits.maxBytes}`,
    limits.maxAppendBytes === undefined ? undefined : `max-append-size=${limits.maxAppendBytes}`,
    left === undefined ? undefined : `${dialect.lifetime}=${left}`,
  ]
    .filter((one) => one !== undefined)
    .join(", ");
}

/** The representation's name and type, as the other protocol's metadata have them. */
function representationMetadata(head: RequestHead): Metadata {
  const name = dispositionFileName(head.header("content-disposition"));
  const type = head.header("content-type");
  const metadata = new Map<string, Uint8Array>();
  if (name !== undefined) metadata.set("filename", Buffer.from(name));
  if (type !== undefined) metadata.set("filetype", Buffer.from(type));
  return metadata;
}

function digest(status: UploadStatus): Record<string, string> {
  return status.digest === undefined ? {} : { "Repr-Digest": status.digest };
}

function wanted(head: RequestHead): { readonly want?: NonNullable<ReturnType<typeof parsePreferences>> } {
  const want = parsePreferences(head.header("want-repr-digest"));
  return want === undefined || want.length === 0 ? {} : { want };
}

function malformed(why: string): Fault {
  return { fault: "malformed", why };
}
