import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** What became of a PATCH: its status, or why it broke; and the offset that HEAD tells afterwards. */
export interface SlowPatch {
  readonly status: number | undefined;
  readonly offset: number;
}

/** One PATCH that brings a byte every so many ms, for so long. */
export async function patchFor(endpoint: string, totalMs: number, everyMs: number): Promise<SlowPatch> {
  const bytes = Math.floor(totalMs / everyMs);
  const tus = { "tus-resumable": "1.0.0" };
  const made = await fetch(endpoint, { method: "POST", headers: { ...tus, "upload-length": String(bytes) } });
  const url = new URL(made.headers.get("location") ?? "", endpoint);
  const outgoing = request(url, {
    method: "PATCH",
    agent: false,
    headers: {
      ...tus,
      "upload-offset": "0",
      "content-type": "application/offset+octet-stream",
      "content-length": String(bytes),
    },
  });
  let over = false;
  const status = new Promise<number | undefined>((resolve) => {
    outgoing.on("response", (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    outgoing.on("error", () => resolve(undefined));
    outgoing.on("close", () => (over = true));
  });
  for (let sent = 0; sent < bytes && !over; sent += 1) {
    outgoing.write("x");
    await sleep(everyMs);
  }
  outgoing.end();
  const answered = await status;
  const looked = await fetch(url, { method: "HEAD", headers: tus });
  return { status: answered, offset: Number(looked.headers.get("upload-offset")) };
}
