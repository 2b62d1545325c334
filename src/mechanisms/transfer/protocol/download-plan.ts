import { ifRangeHolds, judgePreconditions } from "./conditional.ts";
import type { Validators } from "./conditional.ts";
import { parsePreferences, serializeDigest } from "./digest-fields.ts";
import { attachment, httpDate } from "./fields.ts";
import type { RequestHead } from "./messages.ts";
import { readRange } from "./range.ts";
import type { ByteRange } from "./range.ts";

/** A representation to be downloaded. */
export interface Representation extends Validators {
  readonly bytes: number;
  readonly type: string;
  /** Shown to the person who saves it; sent as an attachment. */
  readonly name?: string;
  /** SHA-256 of the whole, if known. */
  readonly digest?: Uint8Array;
  readonly cacheControl?: string;
}

/** A response to GET or HEAD: headers, then `body` in order. */
export interface DownloadPlan {
  readonly status: 200 | 206 | 304 | 405 | 412 | 416;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: readonly (ByteRange | string)[];
}

/** RFC 9110 §13 to §15: what to send for a representation. */
export function planDownload(
  head: RequestHead,
  what: Representation,
  now: number,
  boundary: string,
): DownloadPlan {
  const isHead = head.method === "HEAD";
  if (head.method !== "GET" && !isHead) return { status: 405, headers: { Allow: "GET, HEAD" }, body: [] };
  const common: Record<string, string> = {
    ETag: what.etag,
    ...(what.lastModified !== undefined && { "Last-Modified": httpDate(what.lastModified) }),
    "Cache-Control": what.cacheControl ?? "no-cache",
  };
  const precondition = judgePreconditions(head, what);
  if (precondition === "failed") return { status: 412, headers: common, body: [] };
  if (precondition === "not-modified") return { status: 304, headers: common, body: [] };

  const headers: Record<string, string> = {
    ...common,
    "Accept-Ranges": "bytes",
    // What strangers uploaded is never rendered in our origin.
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    ...(what.name !== undefined && { "Content-Disposition": attachment(what.name) }),
    ...(what.digest !== undefined &&
      wantsSha256(head) && { "Repr-Digest": serializeDigest("sha-256", what.digest) }),
  };
  // §14.2: Range is defined for GET alone; If-Range is looked at only where there is a Range.
  const reading =
    isHead || !ifRangeHolds(head, what, now)
      ? ({ kind: "whole" } as const)
      : readRange(head.header("range"), what.bytes);
  if (reading.kind === "unsatisfiable") {
    return {
      status: 416,
      headers: { ...common, "Content-Range": `bytes */${what.bytes}`, "Content-Length": "0" },
      body: [],
    };
  }
  if (reading.kind === "whole") {
    const body = isHead || what.bytes === 0 ? [] : [{ start: 0, end: what.bytes }];
    return {
      status: 200,
      headers: { ...headers, "Content-Type": what.type, "Content-Length": String(what.bytes) },
      body,
    };
  }
  const [only, ...more] = reading.ranges;
  if (only !== undefined && more.length === 0) {
    return {
      status: 206,
      headers: {
        ...headers,
        "Content-Type": what.type,
        "Content-Range": contentRange(only, what.bytes),
        "Content-Length": String(only.end - only.start),
      },
      body: [only],
    };
  }
  const body: (ByteRange | string)[] = [];
  let length = 0;
  for (const [index, range] of reading.ranges.entries()) {
    const text = `${index === 0 ? "" : "\r\n"}--${boundary}\r\nContent-Type: ${what.type}\r\nContent-Range: ${contentRange(range, what.bytes)}\r\n\r\n`;
    body.push(text, range);
    length += text.length + range.end - range.start;
  }
  const end = `\r\n--${boundary}--\r\n`;
  return {
    status: 206,
    headers: {
      ...headers,
      "Content-Type": `multipart/byteranges; boundary=${boundary}`,
      "Content-Length": String(length + end.length),
    },
    body: [...body, end],
  };
}

function contentRange(range: ByteRange, bytes: number): string {
  return `bytes ${range.start}-${range.end - 1}/${bytes}`;
}

/** RFC 9530 §4: without a preference the digest is sent; with one, only if it names an algorithm we have. */
function wantsSha256(head: RequestHead): boolean {
  const wanted = parsePreferences(head.header("want-repr-digest"));
  return wanted === undefined || wanted.some((one) => one.algorithm === "sha-256");
}
