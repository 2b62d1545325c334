/** What a benchmark is given, and what it answers: the figures of its JSON line. */
export interface BenchOptions {
  /** How often each side is measured; each benchmark has a number of its own that ends within a minute. */
  readonly rounds?: number;
}

export type Figures = Record<string, unknown>;

/** One side of a comparison: does its work `count` times. */
export type Side = (count: number) => void | Promise<void>;

export interface Sample {
  /** Wall time for one piece of work. */
  readonly ns: number;
  /** Processor time of this process for one piece of work, all threads. */
  readonly cpuNs: number;
}

/** Medians of each side, and of the ratios of the first to the second, round by round. */
export interface Comparison {
  readonly ours: Sample;
  readonly theirs: Sample;
  readonly ratio: number;
  readonly cpuRatio: number;
}

/**
 * Measures two sides in turns, so that whatever else the machine does hits both: each round runs one after the other,
 * and every other round begins with the other one. The first round is not counted.
 */
export async function compare(ours: Side, theirs: Side, count: number, rounds: number): Promise<Comparison> {
  const samples: { ours: Sample; theirs: Sample }[] = [];
  for (let round = 0; round <= rounds; round++) {
    const oursFirst = round % 2 === 0;
    const first = await measure(oursFirst ? ours : theirs, count);
    const second = await measure(oursFirst ? theirs : ours, count);
    if (round > 0)
      samples.push(oursFirst ? { ours: first, theirs: second } : { ours: second, theirs: first });
  }
  return {
    ours: middle(samples.map((sample) => sample.ours)),
    theirs: middle(samples.map((sample) => sample.theirs)),
    ratio: median(samples.map((sample) => sample.ours.ns / sample.theirs.ns)),
    cpuRatio: median(samples.map((sample) => sample.ours.cpuNs / sample.theirs.cpuNs)),
  };
}

async function measure(side: Side, count: number): Promise<Sample> {
  const cpu = process.cpuUsage();
  const startedAt = process.hrtime.bigint();
  await side(count);
  const ns = Number(process.hrtime.bigint() - startedAt);
  const { user, system } = process.cpuUsage(cpu);
  return { ns: ns / count, cpuNs: ((user + system) * 1000) / count };
}

function middle(samples: readonly Sample[]): Sample {
  return { ns: median(samples.map((one) => one.ns)), cpuNs: median(samples.map((one) => one.cpuNs)) };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? Number.NaN) + upper) / 2;
}

/** A figure as it goes into the JSON line: three digits after the point are more than any of them deserves. */
export function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}

/** Prints rows under their headings, numbers to the right. */
export function printTable(rows: readonly Readonly<Record<string, string | number>>[]): void {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = rows.map((row) => names.map((name) => shown(row[name])));
  const widths = names.map((name, i) => Math.max(name.length, ...cells.map((row) => row[i]?.length ?? 0)));
  const line = (texts: readonly string[], numbers: readonly boolean[]): string =>
    texts
      .map((text, i) => (numbers[i] ? text.padStart(widths[i] ?? 0) : text.padEnd(widths[i] ?? 0)))
      .join("  ");
  const numeric = names.map((name) => rows.some((row) => typeof row[name] === "number"));
  console.log(line(names, numeric));
  console.log(widths.map((width) => "-".repeat(width)).join("  "));
  for (const row of cells) console.log(line(row, numeric));
}

function shown(value: string | number | undefined): string {
  if (typeof value !== "number") return value ?? "";
  if (Number.isInteger(value) || Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return value.toFixed(Math.abs(value) < 10 ? 2 : 1);
}
