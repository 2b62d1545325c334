import type { Clock, Handle, Kernel, Peer, SessionRecord } from "../../kernel/index.ts";
import type { Background } from "./background.ts";
import type { DownloadSource } from "./download.ts";
import type { DownloadPlan } from "./protocol/download-plan.ts";
import type { ByteRange } from "./protocol/range.ts";

/** Whose download it is, and of what. */
export interface DownloadAbout {
  readonly total: number;
  readonly peer: Peer;
  readonly name?: string;
  readonly principal?: string;
  readonly parent?: Handle;
  readonly tenant?: string;
}

/** Downloads as sessions: seen while they run, ended by a revoke or with the login they belong to. */
export class DownloadSessions {
  readonly #kernel: Kernel;
  readonly #background: Background;
  readonly #pace: { readonly bytes: number; readonly ms: number };
  readonly #running = new Set<DownloadSession>();

  constructor(kernel: Kernel, background: Background, pace: { readonly bytes: number; readonly ms: number }) {
    this.#kernel = kernel;
    this.#background = background;
    this.#pace = pace;
  }

  /**
   * Begins one for a response that carries content; `undefined` for the others. `kill` breaks the response off.
   * @throws HoldfastError `locked`, `limit-reached`, `establish-refused`.
   */
  async begin(
    plan: DownloadPlan,
    about: DownloadAbout,
    kill: () => void,
  ): Promise<DownloadSession | undefined> {
    const ranges = plan.body.filter((piece): piece is ByteRange => typeof piece !== "string");
    const [first] = ranges;
    if (first === undefined) return undefined;
    const { total, peer, name, principal, parent, tenant } = about;
    const { record } = await this.#kernel.establish({
      mechanism: "transfer",
      mode: "simplex",
      own: true,
      credential: false,
      peer,
      checkpoint: { position: first.start, total },
      data: { download: true },
      ...(name !== undefined && { label: name }),
      ...(principal !== undefined && { principal }),
      ...(parent !== undefined && { parent }),
      ...(tenant !== undefined && { tenant }),
    });
    const end = Math.max(...ranges.map((range) => range.end));
    const session = new DownloadSession(this.#kernel, record, end, this.#pace, kill, (done) => {
      this.#running.delete(session);
      this.#background.run(done);
    });
    this.#running.add(session);
    await session.attach();
    return session;
  }

  close(): void {
    for (const session of this.#running) session.kill();
  }
}

/** One response's content on its way. */
export class DownloadSession {
  readonly #kernel: Kernel;
  readonly #clock: Clock;
  readonly #end: number;
  readonly #pace: { readonly bytes: number; readonly ms: number };
  readonly #kill: () => void;
  readonly #over: (done: Promise<void>) => void;
  #record: SessionRecord;
  #detach: () => void = () => {};
  #position: number;
  #told: { readonly at: number; readonly position: number };
  #telling: Promise<void> = Promise.resolve();
  #killed = false;

  constructor(
    kernel: Kernel,
    record: SessionRecord,
    end: number,
    pace: { readonly bytes: number; readonly ms: number },
    kill: () => void,
    over: (done: Promise<void>) => void,
  ) {
    this.#kernel = kernel;
    this.#clock = kernel.clock;
    this.#record = record;
    this.#end = end;
    this.#pace = pace;
    this.#kill = kill;
    this.#over = over;
    this.#position = record.checkpoint?.position ?? 0;
    this.#told = { at: this.#clock.now(), position: this.#position };
  }

  async attach(): Promise<void> {
    this.#detach = await this.#kernel.attach(this.#record, {
      close: () => {
        this.kill();
        return Promise.resolve();
      },
    });
  }

  kill(): void {
    this.#killed = true;
    this.#kill();
  }

  /** Nothing came of it. */
  abandon(): void {
    this.#over(this.#finish());
  }

  /** The source, with its session moving along and ending with it. */
  over(source: DownloadSource): DownloadSource {
    return {
      read: async (buffer, position) => {
        if (this.#killed) throw new Error("the download's session is over");
        const filled = await source.read(buffer, position);
        this.#moved(position + filled);
        return filled;
      },
      unchanged: () => source.unchanged(),
      close: async () => {
        await source.close();
        this.#over(this.#finish());
      },
    };
  }

  /** Told as seldom as an upload's: nobody relies on it, but people look at it. */
  #moved(position: number): void {
    this.#position = Math.max(this.#position, position);
    const now = this.#clock.now();
    const due =
      this.#position - this.#told.position >= this.#pace.bytes || now - this.#told.at >= this.#pace.ms;
    if (!due) return;
    this.#told = { at: now, position: this.#position };
    this.#telling = this.#telling.then(() => this.#tell());
    // A session that was ended meanwhile is closed by its transport.
    this.#telling = this.#telling.catch(() => undefined);
  }

  async #tell(): Promise<void> {
    const { total } = this.#record.checkpoint ?? {};
    const point = { position: this.#told.position, ...(total !== undefined && { total }) };
    this.#record = await this.#kernel.checkpoint(this.#record, point, { detail: point });
  }

  async #finish(): Promise<void> {
    this.#detach();
    await this.#telling;
    const whole = !this.#killed && this.#position >= this.#end;
    if (whole && this.#position > (this.#record.checkpoint?.position ?? 0)) {
      this.#told = { at: this.#clock.now(), position: this.#position };
      await this.#tell().catch(() => undefined);
    }
    await this.#kernel.end(this.#record, {
      reason: whole ? "finished" : "bye",
      ...(!whole && { detail: { cause: "broken off" } }),
    });
  }
}
