import { Agent, request } from "node:http";
import type { ClientRequest, IncomingHttpHeaders } from "node:http";

const agent: Agent = new Agent({ keepAlive: true, maxSockets: 16 });

/** One request; the response's body is counted and thrown away. */
export function ask(
  port: number,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body?: Uint8Array,
): Promise<{ status: number; headers: IncomingHttpHeaders; bytes: number }> {
  return new Promise((resolve, reject) => {
    const sent = body === undefined ? headers : { ...headers, "Content-Length": String(body.length) };
    const outgoing = request({ host: "127.0.0.1", port, method, path, headers: sent, agent }, (response) => {
      let bytes = 0;
      response.on("data", (chunk: Buffer) => (bytes += chunk.length));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, bytes }),
      );
      response.on("error", reject);
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

export async function create(port: number, bytes: number): Promise<string> {
  const made = await ask(port, "POST", "/files", {
    "Tus-Resumable": "1.0.0",
    "Upload-Length": String(bytes),
  });
  if (made.status !== 201) throw new Error(`creation answered ${made.status}`);
  return new URL(made.headers.location ?? "", "http://127.0.0.1").pathname;
}

export async function append(port: number, path: string, offset: number, body: Uint8Array): Promise<void> {
  const done = await ask(port, "PATCH", path, patchHeaders(offset), body);
  if (done.status !== 204) throw new Error(`an append answered ${done.status}`);
}

export async function offsetOf(port: number, path: string): Promise<number> {
  const got = await ask(port, "HEAD", path, { "Tus-Resumable": "1.0.0" });
  return Number(got.headers["upload-offset"] ?? Number.NaN);
}

/** A PATCH that sends `first` and then nothing more. */
export async function hang(port: number, path: string, first: Uint8Array): Promise<ClientRequest> {
  const headers = { ...patchHeaders(0), "Transfer-Encoding": "chunked" };
  const outgoing = request({ host: "127.0.0.1", port, method: "PATCH", path, headers, agent: false });
  outgoing.on("error", () => undefined);
  await new Promise<void>((resolve) => outgoing.write(first, () => resolve()));
  return outgoing;
}

function patchHeaders(offset: number): Record<string, string> {
  return {
    "Tus-Resumable": "1.0.0",
    "Upload-Offset": String(offset),
    "Content-Type": "application/offset+octet-stream",
  };
}
