import { readFileSync } from "node:fs";
import { randomBytes } from "node:crypto";

/**
 * 16 bytes that stay the same until the machine restarts. Where the system does not tell, they are fresh for each
 * process: then no tail is ever adopted, which costs a few bytes sent again and nothing else.
 */
export function bootId(): Uint8Array {
  cached ??= read();
  return cached;
}

let cached: Uint8Array | undefined;

function read(): Uint8Array {
  try {
    const text = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim().replaceAll("-", "");
    if (/^[0-9a-f]{32}$/.test(text)) return Uint8Array.from(Buffer.from(text, "hex"));
  } catch {
    // Not Linux.
  }
  return Uint8Array.from(randomBytes(16));
}
