import type { NodeResponse } from "./node.ts";

const HELD = ["writeHead", "flushHeaders", "write", "end"] as const;

/**
 * Stands between an application and the response it writes, from the moment its session is changed. While a change is
 * being stored, what the application sends is queued in order: nobody is told of what is not kept yet. When the head
 * goes out, the session's cookies go with it, also if the application has set Set-Cookie itself meanwhile.
 */
export class ResponseGate {
  readonly #response: NodeResponse;
  readonly #queue: (() => void)[] = [];
  readonly #cookies = new Map<string, string>();
  #pending = 0;

  constructor(response: NodeResponse) {
    this.#response = response;
    for (const name of HELD) this.#wrap(name);
  }

  hold(work: Promise<unknown>): void {
    this.#pending++;
    const release = (): void => {
      if (--this.#pending === 0) this.#flush();
    };
    // Whoever called is told of a failure; the gate only has to open again.
    work.then(release, release);
  }

  setCookie(name: string, line: string): void {
    this.#cookies.set(name, line);
    this.#response.setHeader("set-cookie", this.#withOwn(this.#response.getHeader("set-cookie")));
  }

  #wrap(name: (typeof HELD)[number]): void {
    const original: unknown = Reflect.get(this.#response, name);
    if (typeof original !== "function") return;
    const send = (args: unknown[]): unknown =>
      Reflect.apply(original, this.#response, name === "writeHead" ? this.#head(args) : args) as unknown;
    const value = (...args: unknown[]): unknown => {
      if (this.#pending === 0) return send(args);
      this.#queue.push(() => void send(args));
      return name === "write" ? false : this.#response;
    };
    Object.defineProperty(this.#response, name, { value, configurable: true, writable: true });
  }

  #flush(): void {
    const queued = this.#queue.splice(0);
    for (const send of queued) send();
    // A write that was queued said "wait for drain".
    if (queued.length > 0 && !this.#response.writableEnded && !this.#response.writableNeedDrain) {
      this.#response.emit("drain");
    }
  }

  /** The arguments of `writeHead` with our cookies in them: headers passed there take the place of those set before. */
  #head(args: unknown[]): unknown[] {
    if (this.#cookies.size === 0) return args;
    const at = args.findIndex((arg, i) => i > 0 && typeof arg === "object" && arg !== null);
    const given = args[at] ?? undefined;
    if (Array.isArray(given)) return args.with(at, this.#headList(given as unknown[]));
    const name = Object.keys(given ?? {}).find((key) => key.toLowerCase() === "set-cookie");
    if (given === undefined || name === undefined) {
      this.#response.setHeader("set-cookie", this.#withOwn(this.#response.getHeader("set-cookie")));
      return args;
    }
    return args.with(at, { ...given, [name]: this.#withOwn(Reflect.get(given, name) as unknown) });
  }

  /**
   * A raw list with the cookies it names and ours under one Set-Cookie: Node 20 takes names that stand there twice for
   * one, and the last counts.
   */
  #headList(raw: readonly unknown[]): unknown[] {
    const list: unknown[] = [];
    const theirs: unknown[] = [];
    for (let i = 0; i + 1 < raw.length; i += 2) {
      if (String(raw[i]).toLowerCase() === "set-cookie") theirs.push(raw[i + 1]);
      else list.push(raw[i], raw[i + 1]);
    }
    return theirs.length === 0 ? list : [...list, "set-cookie", this.#withOwn(theirs.flat())];
  }

  #withOwn(present: unknown): string[] {
    let lines: string[] = [];
    if (Array.isArray(present)) lines = present.map(String);
    else if (typeof present === "string") lines = [present];
    for (const [name, line] of this.#cookies) lines = withCookie(lines, name, line);
    return lines;
  }
}

/** The Set-Cookie lines `present` with `line` in place of any for the same cookie. */
export function withCookie(present: readonly string[], name: string, line: string): string[] {
  return [...present.filter((one) => !one.startsWith(`${name}=`)), line];
}
