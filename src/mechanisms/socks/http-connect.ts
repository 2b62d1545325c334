import type { Decoded } from "../../wire/index.ts";
import { fault } from "../../wire/index.ts";
import type { Endpoint, Password } from "./codec.ts";

export interface ConnectResponse {
  readonly status: number;
  readonly reason: string;
}

/** RFC 9110 §9.3.6 and RFC 9112 §3.2.3: CONNECT with the authority alone. `undefined` when the host cannot stand in it. */
export function encodeConnectRequest({ host, port }: Endpoint, who?: Password): Buffer | undefined {
  if (!/^[^\s/?#@[\]\\]+$/u.test(host)) return undefined;
  const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const lines = [`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`];
  if (who !== undefined) {
    // RFC 7617 §2: the user name may hold no colon, for that is where the password begins.
    if (who.username.includes(":")) return undefined;
    const basic = Buffer.from(`${who.username}:${who.password}`).toString("base64");
    lines.push(`Proxy-Authorization: Basic ${basic}`);
  }
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`);
}

/** The head of the response. A 2xx to CONNECT has no body (RFC 9110 §9.3.6): what follows comes from the destination. */
export function decodeConnectResponse(bytes: Buffer): Decoded<ConnectResponse> {
  const end = bytes.indexOf("\r\n\r\n");
  if (end > HEAD_BYTES || (end < 0 && bytes.length > HEAD_BYTES + 3)) {
    return fault("too-large", HEAD_BYTES, `a response head of more than ${HEAD_BYTES} bytes`);
  }
  const known = bytes.toString("latin1", 0, Math.min(bytes.length, 5));
  if (!"HTTP/".startsWith(known)) return fault("malformed", 0, "the proxy does not speak HTTP");
  if (end < 0) return undefined;
  const line = bytes.toString("latin1", 0, bytes.indexOf("\r\n"));
  const parts = /^HTTP\/1\.[01] (\d{3})(?: ([^\r\n]*))?$/.exec(line);
  if (parts === null) return fault("malformed", 0, "the status line is malformed");
  return { message: { status: Number(parts[1]), reason: parts[2] ?? "" }, size: end + 4 };
}

const HEAD_BYTES = 16_384;
