import { readCookie } from "../src/mechanisms/web/codec.ts";
import { createKernel } from "../src/kernel/index.ts";
import { memory } from "../src/store/memory/index.ts";
import { nearCache } from "../src/store/near/index.ts";
import { median, printTable, rounded } from "./harness.ts";

const CALLS = 100_000;

/** A cookie header to its verified record, the session being in the near cache, for every session in turn. */
export default async function hotpath(options: { rounds?: number } = {}): Promise<Record<string, unknown>> {
  const rounds = options.rounds ?? 9;
  const rows: (string | number | null)[][] = [["sessions", "ns a look-up", "fastest round"]];
  const figures: Record<string, number | null> = {};
  for (const [key, sessions] of [
    ["ns_10k", 10_000],
    ["ns_1m", 1_000_000],
  ] as const) {
    const ns = await measure(sessions, rounds);
    figures[key] = rounded(median(ns), 0);
    rows.push([sessions, rounded(median(ns), 0), rounded(Math.min(...ns), 0)]);
  }
  printTable(rows);
  return figures;
}

async function measure(sessions: number, rounds: number): Promise<number[]> {
  const kernel = createKernel({ store: nearCache(memory(), { maxEntries: sessions * 1.2 }) });
  await kernel.start();
  const headers: string[] = [];
  for (let i = 0; i < sessions; i++) {
    const { secret } = await kernel.establish({
      mechanism: "web",
      mode: "request-response",
      principal: `user-${i % 50_000}`,
    });
    headers.push(`theme=dark; __Host-session=${secret?.reveal()}; lang=en`);
  }
  // Once round, so that each is in the cache.
  for (const header of headers)
    if ((await verify(header)) === undefined) throw new Error("a session is missing");
  const ns: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const order = Array.from({ length: CALLS }, () => headers[Math.floor(Math.random() * sessions)] ?? "");
    let found = 0;
    const started = process.hrtime.bigint();
    for (const header of order) if (verify(header) !== undefined) found++;
    ns.push(Number(process.hrtime.bigint() - started) / CALLS);
    if (found !== CALLS) throw new Error(`${CALLS - found} sessions were not found`);
  }
  await kernel.close();
  return ns;

  function verify(header: string): ReturnType<typeof kernel.verify> {
    const secret = readCookie(header, "__Host-session");
    return secret === undefined ? undefined : kernel.verify(secret);
  }
}
