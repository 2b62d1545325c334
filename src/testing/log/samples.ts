import type { Handle } from "../../kernel/secret.ts";
import { mintHandle, SHARDS } from "../../kernel/secret.ts";

/** An entry that can be told from every other: its number, who wrote it, and bytes of all values behind. */
export function entryBytes(number: number, epoch: number): Uint8Array {
  const text = Buffer.from(`${number}@${epoch}:`);
  const tail = Buffer.alloc(number % 90);
  for (let at = 0; at < tail.length; at++) tail[at] = (number * 31 + at * 7) & 0xff;
  return Buffer.concat([text, tail]);
}

let shard = 0;

export function sampleHandle(): Handle {
  return mintHandle(shard++ % SHARDS);
}
