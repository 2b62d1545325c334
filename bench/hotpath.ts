import { createHash, hash } from "node:crypto";
import { readCookie } from "../src/mechanisms/web/codec.ts";
import type { SessionRecord } from "../src/kernel/index.ts";
import {
  createKernel,
  credentialKey,
  mintHandle,
  mintSecret,
  shardOfPrincipal,
} from "../src/kernel/index.ts";
import { memory } from "../src/store/memory/index.ts";
import { nearCache } from "../src/store/near/index.ts";
import { inTurn, median, medianRatio, printTable, rounded } from "./harness.ts";

const CALLS = 100_000;
/** Headers at a time: what came in with one turn of the event loop. */
const BATCH = 500;

/**
 * A cookie header to its verified record, the session being in the near cache, sessions in random order. Beside it what a
 * program would do that keeps nothing but a `Map`: the same hash of the cookie, one look-up, two comparisons.
 */
export default async function hotpath(options: { rounds?: number } = {}): Promise<Record<string, unknown>> {
  const rounds = options.rounds ?? 9;
  const rows: (string | number | null)[][] = [
    ["sessions", "ns a look-up", "fastest round", "with a Map", "ratio"],
  ];
  const figures: Record<string, number | null> = {};
  for (const [key, sessions] of [
    ["ns_10k", 10_000],
    ["ns_1m", 1_000_000],
  ] as const) {
    const { ours, map } = await measure(sessions, rounds);
    figures[key] = rounded(median(ours), 0);
    figures[`map_ratio${key.slice(2)}`] = rounded(medianRatio(ours, map));
    rows.push([
      sessions,
      rounded(median(ours), 0),
      rounded(Math.min(...ours), 0),
      rounded(median(map), 0),
      rounded(medianRatio(ours, map)),
    ]);
  }
  printTable(rows);
  return figures;
}

interface Rounds {
  readonly ours: number[];
  readonly map: number[];
}

async function measure(sessions: number, rounds: number): Promise<Rounds> {
  // A round is one turn of the event loop: the looks into the journal, which go on beside requests, get no turn in it.
  const store = nearCache(memory(), { maxEntries: sessions * 1.2, staleMs: 60_000 });
  const kernel = createKernel({ store });
  await kernel.start();
  const headers: string[] = [];
  const plain = new Map<string, SessionRecord>();
  const { record } = await kernel.establish({
    mechanism: "web",
    mode: "request-response",
    principal: "user",
  });
  for (let i = 0; i < sessions; i++) headers.push(`theme=dark; __Host-session=${await copy(i)}; lang=en`);
  // Once round, so that each is in the cache.
  for (const header of headers)
    if ((await verify(header)) === undefined) throw new Error("a session is missing");
  const ns: Rounds = { ours: [], map: [] };
  for (let round = 0; round < rounds; round++) {
    for (const who of inTurn(["ours", "map"] as const, round))
      ns[who].push(await timed(who === "ours" ? verify : lookUp));
  }
  await kernel.close();
  return ns;

  async function timed(find: (header: string) => unknown): Promise<number> {
    let found = 0;
    let spent = 0n;
    for (let done = 0; done < CALLS; done += BATCH) {
      const batch = Array.from({ length: BATCH }, () =>
        arrived(headers[Math.floor(Math.random() * sessions)]),
      );
      const started = process.hrtime.bigint();
      for (const header of batch) if (find(header) !== undefined) found++;
      spent += process.hrtime.bigint() - started;
    }
    if (found !== CALLS) throw new Error(`${CALLS - found} sessions were not found`);
    return Number(spent) / CALLS;
  }

  /** A session like the first, of one of 50,000 principals. A login of a million would take longer than all the rest. */
  async function copy(i: number): Promise<string> {
    const principal = `user-${i % 50_000}`;
    const shard = shardOfPrincipal(principal);
    const secret = mintSecret(shard).reveal();
    const current = credentialKey(secret);
    if (current === undefined) throw new Error("a minted secret has a key");
    const credentials = { current, retired: [] };
    const one = { ...record, handle: mintHandle(shard), principal, credentials, data: {} };
    await store.create(one, [], { epoch: 0, barrierSeq: 0 });
    plain.set(createHash("sha256").update(secret).digest("base64url"), one);
    return secret;
  }

  function verify(header: string): ReturnType<typeof kernel.verify> {
    const secret = readCookie(header, "__Host-session");
    return secret === undefined ? undefined : kernel.verify(secret);
  }

  function lookUp(header: string): SessionRecord | undefined {
    const secret = readCookie(header, "__Host-session");
    const one = secret === undefined ? undefined : plain.get(hash("sha256", secret, "base64url"));
    if (one === undefined) return undefined;
    const now = Date.now();
    return now < (one.idleAt ?? Infinity) && now < (one.absoluteAt ?? Infinity) ? one : undefined;
  }
}

/** A header as a server has it: one piece of text, read from the socket a moment ago. */
function arrived(header = ""): string {
  return Buffer.from(header, "latin1").toString("latin1");
}
