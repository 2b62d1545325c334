/** The middle value; of an even number, the lower of the two. NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
}

/** The value below which `share` (0 to 1) of the values lie. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** Median over rounds of ours ÷ theirs, each pair from the same round. */
export function medianRatio(ours: readonly number[], theirs: readonly number[]): number {
  return median(ours.map((value, round) => value / (theirs[round] ?? Number.NaN)));
}

export function rounded(value: number, digits = 2): number | null {
  return Number.isFinite(value) ? Number(value.toFixed(digits)) : null;
}

/** The names in an order that moves by one each round, so that nobody always goes first. */
export function inTurn<T>(all: readonly T[], round: number): readonly T[] {
  const at = round % Math.max(1, all.length);
  return [...all.slice(at), ...all.slice(0, at)];
}

/** A table for people: the first row is the heading, numbers are set right. */
export function printTable(rows: readonly (readonly (string | number | null)[])[]): void {
  const text = rows.map((row) => row.map((cell) => (cell === null ? "–" : String(cell))));
  const widths = (text[0] ?? []).map((_, column) =>
    Math.max(...text.map((row) => (row[column] ?? "").length)),
  );
  for (const row of text) {
    const cells = row.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
    );
    process.stdout.write(`${cells.join("  ").trimEnd()}\n`);
  }
}

/** One side of a comparison in one process: does its work `count` times. */
export type Side = (count: number) => void | Promise<void>;

/** The time, and the processor time of this process with all its threads, that one piece of work took. */
export interface Cost {
  readonly ns: number;
  readonly cpuNs: number;
}

/** The median cost of each side, and the medians of the ratios of the first to the second, round by round. */
export interface Comparison {
  readonly ours: Cost;
  readonly theirs: Cost;
  readonly ratio: number;
  readonly cpuRatio: number;
}

/** Measures two sides in turns, whoever begins; a first round is not counted. */
export async function compare(ours: Side, theirs: Side, count: number, rounds: number): Promise<Comparison> {
  const costs: { ours: Cost[]; theirs: Cost[] } = { ours: [], theirs: [] };
  for (let round = 0; round <= rounds; round++) {
    for (const who of inTurn(["ours", "theirs"] as const, round)) {
      const cost = await measure(who === "ours" ? ours : theirs, count);
      if (round > 0) costs[who].push(cost);
    }
  }
  const [ns, cpuNs] = [(cost: Cost) => cost.ns, (cost: Cost) => cost.cpuNs];
  return {
    ours: { ns: median(costs.ours.map(ns)), cpuNs: median(costs.ours.map(cpuNs)) },
    theirs: { ns: median(costs.theirs.map(ns)), cpuNs: median(costs.theirs.map(cpuNs)) },
    ratio: medianRatio(costs.ours.map(ns), costs.theirs.map(ns)),
    cpuRatio: medianRatio(costs.ours.map(cpuNs), costs.theirs.map(cpuNs)),
  };
}

async function measure(side: Side, count: number): Promise<Cost> {
  const cpu = process.cpuUsage();
  const startedAt = process.hrtime.bigint();
  await side(count);
  const ns = Number(process.hrtime.bigint() - startedAt);
  const { user, system } = process.cpuUsage(cpu);
  return { ns: ns / count, cpuNs: ((user + system) * 1000) / count };
}
