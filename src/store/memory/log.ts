import type {
  AppendOutcome,
  LogAck,
  LogBatch,
  LogEntry,
  ReadLimits,
  SessionLog,
  StreamState,
} from "../../kernel/log.ts";
import { HoldfastError } from "../../kernel/errors.ts";
import type { Handle } from "../../kernel/secret.ts";
import { storeClosed } from "../preconditions.ts";

/** Streams of this process alone; they end with it, so that `memory` is the only acknowledgement they give. */
export function memoryLog(): SessionLog {
  return new MemoryLog();
}

interface Stream {
  fence: number;
  first: number;
  entries: Uint8Array[];
  mark: Uint8Array | undefined;
}

class MemoryLog implements SessionLog {
  readonly kind = "memory";
  readonly reach = "process";
  readonly #streams = new Map<Handle, Stream>();
  #appends = 0;
  #bytes = 0;
  #closed = false;

  async open(handle: Handle, epoch: number): Promise<StreamState | "fenced"> {
    this.#assertOpen();
    const stream = this.#streams.get(handle) ?? { fence: epoch, first: 0, entries: [], mark: undefined };
    if (stream.fence > epoch) return "fenced";
    stream.fence = epoch;
    this.#streams.set(handle, stream);
    const { first, entries, mark } = stream;
    return { first, next: first + entries.length, ...(mark !== undefined && { mark }) };
  }

  async append(handle: Handle, epoch: number, batch: LogBatch, ack: LogAck): Promise<AppendOutcome> {
    this.#assertOpen();
    if (ack !== "memory") {
      throw new HoldfastError(
        "unsupported",
        `What is in memory is not ${ack}; use a log that outlives its process.`,
      );
    }
    const stream = this.#streams.get(handle);
    if (stream === undefined) return "misplaced";
    if (stream.fence > epoch) return "fenced";
    if (stream.first + stream.entries.length !== batch.from) return "misplaced";
    this.#appends++;
    for (const entry of batch.entries) {
      stream.entries.push(entry.slice());
      this.#bytes += entry.length;
    }
    if (batch.mark !== undefined) stream.mark = batch.mark.slice();
    this.#trim(stream, batch.trim ?? 0);
    return "appended";
  }

  async read(handle: Handle, from: number, limits: ReadLimits): Promise<readonly LogEntry[]> {
    this.#assertOpen();
    const stream = this.#streams.get(handle);
    const found: LogEntry[] = [];
    if (stream === undefined) return found;
    let size = 0;
    for (let at = Math.max(0, from - stream.first); at < stream.entries.length; at++) {
      const bytes = stream.entries[at];
      if (bytes === undefined || found.length >= limits.entries) break;
      size += bytes.length;
      if (size > limits.bytes && found.length > 0) break;
      found.push({ number: stream.first + at, bytes: bytes.slice() });
    }
    return found;
  }

  async drop(handle: Handle, epoch: number): Promise<boolean> {
    this.#assertOpen();
    const stream = this.#streams.get(handle);
    if (stream === undefined) return true;
    if (stream.fence > epoch) return false;
    this.#trim(stream, Infinity);
    this.#streams.delete(handle);
    return true;
  }

  async handles(after: Handle | undefined, limit: number): Promise<readonly Handle[]> {
    this.#assertOpen();
    const all = [...this.#streams.keys()].filter((handle) => after === undefined || handle > after);
    return all.sort().slice(0, limit);
  }

  stats(): Readonly<Record<string, number>> {
    return { streams: this.#streams.size, appends: this.#appends, bytes: this.#bytes };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#streams.clear();
  }

  #trim(stream: Stream, below: number): void {
    const count = Math.min(below - stream.first, stream.entries.length);
    if (count <= 0) return;
    for (const entry of stream.entries.splice(0, count)) this.#bytes -= entry.length;
    stream.first += count;
  }

  #assertOpen(): void {
    if (this.#closed) throw storeClosed("memory log");
  }
}
