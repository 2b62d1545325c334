/** Metrics in Prometheus' text format 0.0.4. */
export const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export type Labels = Readonly<Record<string, string>>;

interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  samples(): Iterable<readonly [suffix: string, labels: Labels, value: number]>;
}

/** All families of one process, in the order in which they were made. */
export class Registry {
  readonly #families: Family[] = [];

  counter(name: string, help: string): Counter {
    return this.#add(new Counter(name, help));
  }

  histogram(name: string, help: string, buckets: readonly number[]): Histogram {
    return this.#add(new Histogram(name, help, buckets));
  }

  /** Asked for its values when they are wanted; a counter that is kept elsewhere is one too. */
  collected(
    type: "counter" | "gauge",
    name: string,
    help: string,
    collect: () => Iterable<readonly [Labels, number]>,
  ): void {
    this.#add({
      name,
      help,
      type,
      *samples() {
        for (const [labels, value] of collect()) yield ["", labels, value] as const;
      },
    });
  }

  render(): string {
    let text = "";
    for (const family of this.#families) {
      let lines = "";
      for (const [suffix, labels, value] of family.samples())
        lines += `${family.name}${suffix}${labelText(labels)} ${valueText(value)}\n`;
      if (lines === "") continue;
      text += `# HELP ${family.name} ${family.help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}\n`;
      text += `# TYPE ${family.name} ${family.type}\n${lines}`;
    }
    return text;
  }

  #add<F extends Family>(family: F): F {
    this.#families.push(family);
    return family;
  }
}

/** A number for each combination of labels. */
class Series<T> {
  readonly #byKey = new Map<string, { readonly labels: Labels; value: T }>();
  readonly #first: () => T;

  constructor(first: () => T) {
    this.#first = first;
  }

  at(labels: Labels): { readonly labels: Labels; value: T } {
    const key = labelText(labels);
    let one = this.#byKey.get(key);
    if (one === undefined) this.#byKey.set(key, (one = { labels, value: this.#first() }));
    return one;
  }

  all(): Iterable<{ readonly labels: Labels; readonly value: T }> {
    return this.#byKey.values();
  }
}

export class Counter implements Family {
  readonly type = "counter";
  readonly name: string;
  readonly help: string;
  readonly #series = new Series(() => 0);

  constructor(name: string, help: string) {
    this.name = name;
    this.help = help;
  }

  add(labels: Labels, by = 1): void {
    this.#series.at(labels).value += by;
  }

  *samples(): Iterable<readonly [string, Labels, number]> {
    for (const { labels, value } of this.#series.all()) yield ["", labels, value];
  }
}

export class Histogram implements Family {
  readonly type = "histogram";
  readonly name: string;
  readonly help: string;
  readonly #buckets: readonly number[];
  readonly #series: Series<{ counts: number[]; sum: number; count: number }>;

  constructor(name: string, help: string, buckets: readonly number[]) {
    this.name = name;
    this.help = help;
    this.#buckets = buckets;
    this.#series = new Series(() => ({ counts: buckets.map(() => 0), sum: 0, count: 0 }));
  }

  observe(labels: Labels, value: number): void {
    const one = this.#series.at(labels).value;
    const bucket = this.#buckets.findIndex((limit) => value <= limit);
    if (bucket !== -1) one.counts[bucket] = (one.counts[bucket] ?? 0) + 1;
    one.sum += value;
    one.count++;
  }

  *samples(): Iterable<readonly [string, Labels, number]> {
    for (const { labels, value } of this.#series.all()) {
      let below = 0;
      for (const [i, limit] of this.#buckets.entries()) {
        below += value.counts[i] ?? 0;
        yield ["_bucket", { ...labels, le: valueText(limit) }, below];
      }
      yield ["_bucket", { ...labels, le: "+Inf" }, value.count];
      yield ["_sum", labels, value.sum];
      yield ["_count", labels, value.count];
    }
  }
}

function labelText(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return parts.length === 0 ? "" : `{${parts.join(",")}}`;
}

function escaped(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}

function valueText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  return String(value);
}
