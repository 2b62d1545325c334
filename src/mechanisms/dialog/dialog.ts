import { ALL_TOKENS, TOKEN_DATA, TOKEN_MAJOR, TOKEN_MINOR } from "./numbers.ts";
import { placementOf, tokensOf } from "./machine/agreement.ts";
import type { DialogEvent, Refused } from "./machine/events.ts";
import { isRefused } from "./machine/events.ts";
import type { DialogMachine } from "./machine/machine.ts";
import type { Message } from "./machine/rules.ts";
import type { DialogEnd, DialogEvents, DialogHost, SendLevel, SyncPoint } from "./told.ts";
import { DialogMessage } from "./told.ts";
import { ended, Waits } from "./waits.ts";

type Item = Extract<DialogEvent, { type: "content" | "gap" | "indication" }>;

/** A conversation that outlives its connections, for whoever holds either end of it. */
export class Dialog {
  readonly #machine: DialogMachine;
  readonly #host: DialogHost;
  readonly #listeners = new Map<string, Set<(detail: never) => void>>();
  readonly #waits: Waits;
  #items: Item[] = [];
  /** Somebody is at work on the message that was handed out last. */
  #busy = false;
  #reader: ((item: IteratorResult<DialogMessage>) => void) | undefined;
  #end: DialogEnd | undefined;

  constructor(machine: DialogMachine, host: DialogHost) {
    this.#machine = machine;
    this.#host = host;
    this.#waits = new Waits(machine, host);
  }

  get handle(): string {
    return this.#host.handle;
  }

  get side(): 0 | 1 {
    return this.#machine.side;
  }

  get linked(): boolean {
    return this.#machine.linked;
  }

  get ended(): DialogEnd | undefined {
    return this.#end;
  }

  /** The number the next own message gets: after a restart, how far what was accepted goes. Control counts as well. */
  get sent(): number {
    return this.#machine.own.sent;
  }

  /** Own messages that the other application has not committed. */
  get backlog(): number {
    return this.#machine.backlog;
  }

  /** The next sync point's number. */
  get serial(): number {
    return this.#machine.state.vm;
  }

  get hasTurn(): boolean {
    return this.#has(TOKEN_DATA);
  }

  // ── content ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** @throws HoldfastError `illegal-transition` without the right to speak, `limit-reached`, `session-ended`. */
  send(data: string | Uint8Array, options: { until?: SendLevel } = {}): Promise<void> {
    return typeof data === "string"
      ? this.#waits.content("text", encoder.encode(data), options.until ?? "stored")
      : this.#waits.content("data", data, options.until ?? "stored");
  }

  /** Needs no turn. */
  sendTyped(data: Uint8Array, options: { until?: SendLevel } = {}): Promise<void> {
    return this.#waits.content("typed", data, options.until ?? "stored");
  }

  /** Overtakes everything, and is lost with its link. */
  urgent(data: Uint8Array): void {
    this.#did(this.#machine.urgent(data));
  }

  commit(number: number): Promise<void> {
    this.#machine.commit(number);
    this.#deliver();
    this.#answer();
    this.#host.changed();
    return this.#waits.committed(number);
  }

  [Symbol.asyncIterator](): AsyncIterator<DialogMessage> {
    return {
      next: () => this.#next(),
      return: () => {
        this.#busy = false;
        this.#deliver();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  // ── turns ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Asks for the turn and waits until it comes. */
  async takeTurn(): Promise<void> {
    await this.#obtain(TURN);
  }

  /** With the turn go the rights to set sync points, as far as this side has them. */
  async giveTurn(): Promise<void> {
    await this.give(this.#machine.tokens & TURN);
  }

  /** Bits of `TOKEN` that this side has. */
  async give(tokens: number): Promise<void> {
    await this.#request(() => ({ type: "token-give", tokens }));
  }

  // ── synchronization ─────────────────────────────────────────────────────────────────────────────────────────

  async minorSync(): Promise<SyncPoint> {
    const serial = await this.#point("minor");
    const confirmed = this.#waits.until(() => this.#machine.state.va > serial);
    // Whoever does not care for it must not be told by an unhandled rejection.
    confirmed.catch(() => undefined);
    return { serial, confirmed };
  }

  /** Resolves when both sides have it: nothing goes back behind it any more. */
  async majorSync(): Promise<number> {
    const serial = await this.#point("major");
    await this.#waits.until(() => this.#machine.state.major === undefined);
    return serial;
  }

  /** Resolves with the serial number at which the dialog goes on. The tokens stay where they are unless `tokens` says. */
  async resynchronize(
    to: { restart: SyncPoint | number } | { set: number } | { abandon: true },
    tokens?: number,
  ): Promise<number> {
    const placement = placementOf(tokens ?? this.#machine.state.tokens);
    const [kind, point] =
      "restart" in to
        ? (["restart", to.restart] as const)
        : "set" in to
          ? (["set", to.set] as const)
          : (["abandon", this.#machine.state.vm] as const);
    const serial = typeof point === "number" ? point : point.serial;
    await this.#request(() => ({ type: "resync", kind, serial, placement }));
    this.#purge();
    await this.#waits.until(() => this.#machine.state.exchange === undefined);
    return this.#machine.state.vm;
  }

  async startActivity(id: string): Promise<void> {
    await this.#request(() => ({ type: "activity-start", id }));
  }

  /** Goes on with an activity behind its point `serial`; `oldHandle` names the dialog it was left in. */
  async resumeActivity(id: string, old: { id: string; handle?: string; serial: number }): Promise<void> {
    const { id: oldId, handle: oldHandle = "", serial } = old;
    await this.#request(() => ({ type: "activity-resume", id, oldId, oldHandle, serial }));
  }

  async endActivity(): Promise<void> {
    await this.#point("activity-end");
    await this.#waits.until(() => this.#machine.state.major === undefined);
  }

  async interruptActivity(how: "interrupt" | "discard" = "interrupt"): Promise<void> {
    await this.#request(() => ({ type: `activity-${how}`, reason: 0 }));
    this.#purge();
    await this.#waits.until(() => this.#machine.state.exchange === undefined);
  }

  /** Tells whoever has the turn that it cannot go on like this; what comes until it is dealt with is void. */
  async exception(why: string): Promise<void> {
    await this.#request(() => ({ type: "exception", reason: 0, why }));
    this.#items = [];
  }

  // ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** In order: after all that was sent. Resolves when both sides know; rejects when the other refuses. */
  async finish(): Promise<void> {
    await this.#obtain(ALL_TOKENS);
    await this.#request(() => ({ type: "finish" }));
    await this.#waits.until(() => this.#machine.state.finished || this.#machine.state.finish === undefined);
    if (!this.#machine.state.finished) throw this.#waits.refusal("unfinished");
  }

  /** At once, whatever is under way. */
  abort(why = ""): void {
    if (this.#end === undefined) this.#host.abort(why);
  }

  on<Name extends keyof DialogEvents>(
    name: Name,
    listener: (detail: DialogEvents[Name]) => void,
  ): () => void {
    const set = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, set.add(listener));
    return () => set.delete(listener);
  }

  // ── for its host ────────────────────────────────────────────────────────────────────────────────────────────

  /** Takes in what the machine has to tell; what concerns the link goes to `host`. */
  absorb(host: (event: DialogEvent) => void = () => undefined): void {
    for (const event of this.#machine.takeEvents()) {
      this.#take(event);
      host(event);
    }
    this.#deliver();
    this.#answer();
    this.#waits.settle();
  }

  linkChanged(state: "up" | "down"): void {
    this.#emit("link", state);
    this.absorb();
  }

  /** Nothing comes any more. */
  close(end: DialogEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    // Where it goes on, this comes again; here it must not take effect beside that.
    if (end.reason === "moved") this.#items = [];
    this.#waits.close(end);
    this.#deliver();
    this.#emit("end", end);
  }

  // ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────

  #take(event: DialogEvent): void {
    switch (event.type) {
      case "content":
      case "gap":
        this.#items.push(event);
        return;
      case "indication":
        if (event.purged) this.#purge();
        this.#items.push(event);
        return;
      case "please": {
        this.#emit("wanted", event.tokens);
        // The turn is the application's to give; what merely stands in the way of the other side is not.
        const free = event.tokens & ~TOKEN_DATA;
        if (free !== 0 && !this.#listeners.has("wanted")) this.give(free).catch(() => undefined);
        return;
      }
      case "urgent":
        this.#emit("urgent", event.bytes);
    }
  }

  /**
   * Hands out what is next as long as somebody takes it; control is told as soon as nothing is before it. Of a point, that
   * means that whoever reads is done with the last message: has committed it, or come back for more.
   */
  #deliver(): void {
    for (let item = this.#items[0]; item !== undefined; item = this.#items[0]) {
      if (item.type === "content" ? this.#reader === undefined : this.#mustWait(item)) return;
      this.#items.shift();
      if (item.type === "content") {
        const { kind, number, bytes } = item;
        this.#answerReader({ done: false, value: new DialogMessage(this, kind, number, bytes) });
      } else if (item.type === "gap") this.#emit("gap", { from: item.from, to: item.to });
      else this.#indicate(item.message);
    }
    if (this.#end !== undefined && this.#reader !== undefined)
      this.#answerReader({ done: true, value: undefined });
  }

  #mustWait(item: Item): boolean {
    if (!this.#busy || item.type !== "indication" || this.#machine.committed >= item.number) return false;
    return /^(mi|ma|activity-[sre])/.test(item.message.type);
  }

  #indicate(message: Message): void {
    switch (message.type) {
      case "token-give":
        if ((message.tokens & TOKEN_DATA) !== 0) this.#emit("turn", undefined);
        return;
      case "minor":
        return this.#emit("minor", message.serial);
      case "major":
        return this.#emit("major", message.serial);
      case "resync":
        return this.#emit("purge", { kind: message.kind, serial: message.serial });
      case "activity-interrupt":
      case "activity-discard":
        return this.#emit("purge", { kind: message.type.slice(9), serial: 0 });
      case "activity-start":
        return this.#emit("activity", { what: "start", id: message.id, serial: 0 });
      case "activity-resume":
        return this.#emit("activity", { what: "resume", id: message.oldId, serial: message.serial });
      case "activity-end":
        return this.#emit("activity", { what: "end", id: "", serial: message.serial });
      case "exception":
        return this.#emit("exception", message.why);
    }
  }

  /** What this side owes, once everything that came before is committed. */
  #answer(): void {
    const machine = this.#machine;
    const { exchange, major, confirmer, va, vm, finish, finished } = machine.state;
    if (finished || this.#end !== undefined) return;
    const peer = 1 - machine.side;
    if (exchange !== undefined) {
      if (!machine.answerPurge()) return;
      this.#waits.purged();
      this.#host.changed();
      return;
    }
    if (machine.waiting > 0) return;
    if (confirmer === machine.side && va < vm && major === undefined)
      machine.request({ type: "minor-ack", serial: vm - 1 });
    else if (major?.by === peer)
      machine.request({ type: major.end ? "activity-end-ack" : "major-ack", serial: major.serial });
    else if (finish === peer) machine.request({ type: "finish-ack" });
    else return;
    this.#host.changed();
  }

  #next(): Promise<IteratorResult<DialogMessage>> {
    return new Promise((resolve) => {
      this.#reader = resolve;
      this.#busy = false;
      this.#deliver();
      this.#answer();
    });
  }

  #answerReader(result: IteratorResult<DialogMessage>): void {
    const reader = this.#reader;
    this.#reader = undefined;
    this.#busy = result.done !== true;
    reader?.(result);
  }

  #purge(): void {
    this.#items = this.#items.filter((item) => item.type === "indication");
    this.#waits.purged();
  }

  #has(token: number): boolean {
    const exists = (tokensOf(this.#machine.agreement.units) & token) !== 0;
    return !exists || (this.#machine.tokens & token) !== 0;
  }

  /** Waits until this side has all of `tokens` that there are. */
  async #obtain(tokens: number): Promise<void> {
    const missing = (): number => tokens & tokensOf(this.#machine.agreement.units) & ~this.#machine.tokens;
    if (missing() === 0) return;
    this.#did(this.#machine.please(missing()));
    await this.#waits.until(() => missing() === 0);
  }

  async #point(type: "minor" | "major" | "activity-end"): Promise<number> {
    let serial = 0;
    await this.#request(() => ({ type, serial: (serial = this.#machine.state.vm) }));
    return serial;
  }

  /** Behind all content that is still waiting to be accepted. */
  async #request(message: () => Message): Promise<number> {
    await this.#waits.emptied();
    if (this.#end !== undefined) throw ended(this.#end);
    const number = this.#did(this.#machine.request(message()));
    this.absorb();
    return number ?? 0;
  }

  #did<T>(outcome: T | Refused): T {
    if (this.#end !== undefined) throw ended(this.#end);
    if (isRefused(outcome)) throw this.#waits.refusal(outcome.refused);
    this.#host.changed();
    return outcome;
  }

  #emit<Name extends keyof DialogEvents>(name: Name, detail: DialogEvents[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) listener(detail as never);
  }
}

const encoder = new TextEncoder();
const TURN = TOKEN_DATA | TOKEN_MINOR | TOKEN_MAJOR;
