import type { IncomingMessage, ServerResponse } from "node:http";
import { isHoldfastError } from "../kernel/index.ts";
import type { Problem } from "./contract.ts";

/** A refusal on its way to the client: RFC 9457. */
export class ProblemError extends Error {
  readonly problem: Problem;

  constructor(status: number, code: string, title: string, detail?: string) {
    super(title);
    this.problem = { type: "about:blank", title, status, code, ...(detail !== undefined && { detail }) };
  }
}

export function sendJson(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": status >= 400 ? "application/problem+json" : "application/json",
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
  });
  response.end(text);
}

/** What became of a request that threw. */
export function problemOf(error: unknown): Problem {
  if (error instanceof ProblemError) return error.problem;
  const status = isHoldfastError(error) ? STATUS[error.code] : undefined;
  if (isHoldfastError(error) && status !== undefined) {
    return { type: "about:blank", title: error.message, status, code: error.code };
  }
  return {
    type: "about:blank",
    title: "Something went wrong here; it is in the log.",
    status: 500,
    code: "internal",
  };
}

const STATUS: Readonly<Record<string, number>> = {
  "invalid-argument": 400,
  locked: 423,
  "session-ended": 410,
  "session-conflict": 409,
  "store-unavailable": 503,
  "kernel-closed": 503,
};

/** A JSON object of at most `BODY_BYTES`. */
export async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
  if (!/^application\/json\b/i.test(request.headers["content-type"] ?? "")) {
    throw new ProblemError(415, "not-json", "The body must be application/json.");
  }
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES)
      throw new ProblemError(413, "too-large", `A body has at most ${BODY_BYTES} bytes.`);
    chunks.push(chunk);
  }
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString());
  } catch (error) {
    throw new ProblemError(400, "not-json", "The body is not JSON.", String(error));
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ProblemError(400, "invalid-argument", "The body must be a JSON object.");
  }
  return value as Record<string, unknown>;
}

const BODY_BYTES = 64 * 1024;
