import { HoldfastError } from "../../kernel/errors.ts";
import type { ContentType } from "./codec.ts";
import { isRefused } from "./machine/events.ts";
import type { DialogMachine } from "./machine/machine.ts";
import type { DialogEnd, DialogHost, SendLevel } from "./told.ts";

interface Wait {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Everybody who waits for something of a dialog: to be accepted, stored, acknowledged, or for its state to change. */
export class Waits {
  readonly #machine: DialogMachine;
  readonly #host: DialogHost;
  #unaccepted: (Wait & { kind: ContentType; bytes: Uint8Array; until: SendLevel })[] = [];
  #numbered: Record<"released" | "acked" | "ackable", (Wait & { number: number })[]> = {
    released: [],
    acked: [],
    ackable: [],
  };
  #conditions: (Wait & { holds: () => boolean })[] = [];
  #end: DialogEnd | undefined;

  constructor(machine: DialogMachine, host: DialogHost) {
    this.#machine = machine;
    this.#host = host;
  }

  content(kind: ContentType, bytes: Uint8Array, until: SendLevel): Promise<void> {
    if (this.#end !== undefined) return Promise.reject(ended(this.#end));
    if (this.#unaccepted.length === 0 && this.#machine.writable) return this.#accept(kind, bytes, until);
    return new Promise((resolve, reject) => this.#unaccepted.push({ kind, bytes, until, resolve, reject }));
  }

  committed(number: number): Promise<void> {
    return this.#reached("ackable", number);
  }

  /** Nothing is waiting to be accepted any more. */
  emptied(): Promise<void> {
    return this.#unaccepted.length === 0 ? DONE : this.until(() => this.#unaccepted.length === 0);
  }

  until(holds: () => boolean): Promise<void> {
    if (this.#end !== undefined) return Promise.reject(ended(this.#end));
    if (holds()) return DONE;
    return new Promise((resolve, reject) => this.#conditions.push({ holds, resolve, reject }));
  }

  settle(): void {
    const { own, position } = this.#machine;
    this.#through("released", own.released);
    this.#through("acked", own.acked);
    this.#through("ackable", position.committed);
    while (this.#unaccepted.length > 0 && this.#machine.writable) {
      const next = this.#unaccepted.shift();
      if (next === undefined) break;
      this.#accept(next.kind, next.bytes, next.until).then(next.resolve, next.reject);
    }
    if (this.#conditions.length === 0) return;
    const waiting = this.#conditions;
    this.#conditions = [];
    for (const one of waiting) {
      if (one.holds()) one.resolve();
      else this.#conditions.push(one);
    }
  }

  /** What was sent before was taken back. */
  purged(): void {
    const why = this.refusal("taken");
    for (const wait of this.#numbered.acked.splice(0)) wait.reject(why);
  }

  refusal(reason: string): HoldfastError {
    const why = this.#host.explain(reason);
    return new HoldfastError("illegal-transition", `Not now: ${why}.`, { detail: { reason } });
  }

  close(end: DialogEnd): void {
    this.#end = end;
    this.settle();
    const { released, acked, ackable } = this.#numbered;
    for (const one of [...released, ...acked, ...ackable, ...this.#unaccepted, ...this.#conditions])
      one.reject(ended(end));
    this.#unaccepted = [];
    this.#conditions = [];
  }

  #accept(kind: ContentType, bytes: Uint8Array, until: SendLevel): Promise<void> {
    const number = this.#machine.send(kind, bytes);
    if (isRefused(number)) return Promise.reject(this.refusal(number.refused));
    this.#host.changed();
    return until === "memory" ? DONE : this.#reached(until === "acked" ? until : "released", number);
  }

  #reached(level: "released" | "acked" | "ackable", number: number): Promise<void> {
    const { own, position } = this.#machine;
    const now = level === "ackable" ? position.committed : own[level];
    if (now > number) return DONE;
    if (this.#end !== undefined) return Promise.reject(ended(this.#end));
    return new Promise((resolve, reject) => this.#numbered[level].push({ number, resolve, reject }));
  }

  /** They stand in order of their numbers. */
  #through(level: "released" | "acked" | "ackable", below: number): void {
    const waits = this.#numbered[level];
    let count = 0;
    for (const wait of waits) {
      if (wait.number >= below) break;
      wait.resolve();
      count++;
    }
    if (count > 0) waits.splice(0, count);
  }
}

const DONE = Promise.resolve();

export function ended(end: DialogEnd): HoldfastError {
  return new HoldfastError("session-ended", `The dialog is over (${end.reason}). ${end.why}`);
}
