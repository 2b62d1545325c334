import type { Document, LineCounter, Node, Pair } from "yaml";
import { isMap, isPair, isScalar, isSeq } from "yaml";

/** One mistake in a configuration, and where it is. Lines and columns count from 1. */
export interface ConfigFault {
  readonly line: number;
  readonly column: number;
  /** What is wrong, what was expected, and the nearest word where it looks like a typo. */
  readonly message: string;
}

/** Everything that is wrong with a configuration, at once. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly file: string;
  readonly faults: readonly ConfigFault[];

  constructor(file: string, faults: readonly ConfigFault[]) {
    const sorted = faults.toSorted((a, b) => a.line - b.line || a.column - b.column);
    super(sorted.map(({ line, column, message }) => `${file}:${line}:${column}: ${message}`).join("\n"));
    this.file = file;
    this.faults = sorted;
  }
}

/** Where things of a YAML document are. */
export class Places {
  readonly #document: Document;
  readonly #lines: LineCounter;

  constructor(document: Document, lines: LineCounter) {
    this.#document = document;
    this.#lines = lines;
  }

  /** Of the value at `path`, or of the nearest thing around it that is there. */
  ofValue(path: readonly (string | number)[]): Omit<ConfigFault, "message"> {
    let node: unknown = this.#document.contents;
    let offset = start(node) ?? 0;
    for (const step of path) {
      const pair = pairOf(node, step);
      node = isSeq(node) ? node.items[Number(step)] : pair?.value;
      offset = start(node) ?? start(pair?.key) ?? offset;
    }
    return this.at(offset);
  }

  /** Of the key `key` in the mapping at `path`. */
  ofKey(path: readonly (string | number)[], key: string): Omit<ConfigFault, "message"> {
    let node: unknown = this.#document.contents;
    for (const step of path) node = isSeq(node) ? node.items[Number(step)] : pairOf(node, step)?.value;
    const offset = start(pairOf(node, key)?.key);
    return offset === undefined ? this.ofValue(path) : this.at(offset);
  }

  at(offset: number): Omit<ConfigFault, "message"> {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  }
}

function pairOf(node: unknown, key: string | number): Pair | undefined {
  if (!isMap(node)) return undefined;
  return node.items.find(
    (pair) => isPair(pair) && isScalar(pair.key) && String(pair.key.value) === String(key),
  );
}

function start(node: unknown): number | undefined {
  return (node as Node | undefined | null)?.range?.[0];
}
