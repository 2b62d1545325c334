import assert from "node:assert/strict";
import { encodeFrame, decodeFrames } from "../../../src/mechanisms/dialog/codec.ts";
import type { Credit } from "../../../src/mechanisms/dialog/frames.ts";
import type {
  DialogEvent,
  Entry,
  Message,
  ServerMachineOptions,
  Side,
} from "../../../src/mechanisms/dialog/machine/index.ts";
import {
  decodeMark,
  DialogMachine,
  encodeMark,
  rulesFor,
  ServerMachine,
} from "../../../src/mechanisms/dialog/machine/index.ts";
import { RecordSplitter, toRecord } from "../../../src/mechanisms/dialog/records.ts";
import { isFault } from "../../../src/wire/fault.ts";

/** What one side's application and disk hold. */
interface Peer {
  machine: DialogMachine;
  readonly options: ServerMachineOptions;
  /** Content in the order in which it was consumed: number and payload. */
  effects: { number: number; text: string }[];
  /** Delivered, not yet consumed. */
  queue: Extract<DialogEvent, { type: "content" | "gap" }>[];
  gaps: { from: number; to: number }[];
  sent: Map<number, string>;
  /** An exception was reported and not yet dealt with. */
  voiding: boolean;
  /** The kind of resynchronization this side asked for last. */
  asked: string | undefined;
  /** Content below was purged, if it was not consumed. */
  purgedBelow: number;
  indications: Message[];
  acked: number;
  urgent: string[];
  disk: { entries: Entry[]; first: number; mark: Uint8Array | undefined; sent: number; committed: number };
  storing: ReturnType<ServerMachine["storage"]>;
}

/** One direction of one link: records cut into bytes, which arrive when their time has come. */
interface Pipe {
  chunks: { at: number; bytes: Uint8Array }[];
  splitter: RecordSplitter;
}

interface Link {
  pipes: [Pipe, Pipe];
  /** Which side still believes in it. */
  open: [boolean, boolean];
  /** Whether bytes put in come out at the other end. */
  carries: boolean;
  answered: boolean;
}

export interface PeersOptions {
  readonly agreement: ServerMachineOptions["agreement"];
  readonly credit?: Credit;
  readonly logged?: readonly [boolean, boolean];
  readonly keepNewest?: number;
  readonly latency?: number;
  readonly bytewise?: boolean;
  readonly random?: () => number;
  readonly outboxBytes?: number;
}

/** Two machines and the network between them, in virtual time. Side 0 reconnects; side 1 answers. */
export class TwoPeers {
  now = 0;
  readonly peers: [Peer, Peer];
  link: Link | undefined;
  readonly #options: PeersOptions;
  /** Highest V(R) since it was last allowed to fall. */
  #floor: [number, number] = [0, 0];

  constructor(options: PeersOptions) {
    this.#options = options;
    this.peers = [this.#peer(0), this.#peer(1)];
  }

  machine(side: Side): DialogMachine {
    return this.peers[side].machine;
  }

  send(side: Side, text: string, kind: "data" | "typed" = "data"): boolean {
    const peer = this.peers[side];
    if (!peer.machine.writable) return false;
    const number = peer.machine.send(kind, new TextEncoder().encode(text));
    if (typeof number !== "number") return false;
    peer.sent.set(number, text);
    return true;
  }

  request(side: Side, message: Message): boolean {
    const peer = this.peers[side];
    const { exchange } = peer.machine.state;
    const number = peer.machine.request(message);
    if (typeof number !== "number") return false;
    if (message.type === "exception") peer.voiding = true;
    if (PURGES.has(message.type) || message.type === "exception") this.#purge(side);
    this.#lowered(side, message, exchange?.purge);
    if (message.type === "resync") peer.asked = message.kind;
    return true;
  }

  /** The application takes one delivered message and commits it. */
  consume(side: Side): boolean {
    const peer = this.peers[side];
    const item = peer.queue.shift();
    if (item === undefined) return false;
    if (item.type === "gap") {
      peer.gaps.push({ from: item.from, to: item.to });
      return true;
    }
    const last = peer.effects.at(-1);
    assert.ok(
      last === undefined || item.number > last.number,
      `side ${side} got ${item.number} after ${last?.number}`,
    );
    peer.effects.push({ number: item.number, text: new TextDecoder().decode(item.bytes) });
    peer.machine.commit(item.number);
    return true;
  }

  // ── the network ─────────────────────────────────────────────────────────────────────────────────────────────

  /** Side 0 opens a new link, whatever it or the other side thinks of the last one. */
  connect(): void {
    this.lose(0);
    const link: Link = { pipes: [pipe(), pipe()], open: [true, true], carries: true, answered: false };
    this.link = link;
    const { position } = this.machine(0);
    this.#put(
      link,
      0,
      encodeFrame({
        type: "resume",
        handle: "h",
        secret: "s",
        authorization: "",
        position,
        credit: this.peers[0].options.credit,
      }),
    );
  }

  /** `side` learns that the link is gone; the other side does not yet: half-open. */
  lose(side: Side): void {
    const { link } = this;
    if (link === undefined || !link.open[side]) return;
    link.open[side] = false;
    link.carries = false;
    this.machine(side).linkDown();
  }

  cut(): void {
    this.lose(0);
    this.lose(1);
  }

  /** The process of `side` dies: only what is on its disk is left, and half of what it was writing. */
  crash(side: Side): void {
    const peer = this.peers[side];
    const { disk } = peer;
    if (disk.mark === undefined) return;
    this.lose(side);
    const mark = decodeMark(disk.mark);
    if (isFault(mark)) assert.fail(mark.why);
    const machine = new ServerMachine(peer.options, {
      mark,
      first: disk.entries[0]?.number ?? disk.sent,
      sent: disk.sent,
    });
    peer.machine = machine;
    this.#floor[side] = machine.state.vr;
    peer.voiding = machine.state.exception === side;
    peer.queue = [];
    peer.storing = undefined;
    // Effects are committed together with the cursor: those above it are undone with it.
    peer.effects = peer.effects.filter((effect) => effect.number < disk.committed);
    for (const number of peer.sent.keys()) if (number >= disk.sent) peer.sent.delete(number);
  }

  /** Writes what waits for side's disk; the receipt comes back by the next call. */
  store(side: Side): boolean {
    const peer = this.peers[side];
    const { disk, storing, machine } = peer;
    if (!(machine instanceof ServerMachine)) return false;
    if (storing !== undefined) {
      disk.entries.push(...storing.entries);
      disk.sent = storing.receipt.sent;
      if (storing.mark !== undefined) {
        disk.mark = encodeMark(storing.mark);
        disk.committed = storing.receipt.committed;
      }
      const cut = disk.entries.findIndex((entry) => entry.number >= storing.trim);
      disk.entries = cut < 0 ? [] : disk.entries.slice(cut);
      peer.storing = undefined;
      machine.stored(storing.receipt);
      this.pump(side);
      return true;
    }
    peer.storing = machine.storage();
    return peer.storing !== undefined;
  }

  /** Puts what `side` has to say on the link. */
  pump(side: Side): void {
    const { link } = this;
    const { machine, disk } = this.peers[side];
    if (link === undefined || !link.open[side] || !machine.linked || (side === 1 && !link.answered)) return;
    for (;;) {
      const wanted = machine instanceof ServerMachine ? machine.wanted : undefined;
      if (wanted !== undefined && machine instanceof ServerMachine) {
        const from = disk.entries.findIndex((entry) => entry.number >= wanted);
        assert.ok(
          from >= 0 && disk.entries[from]?.number === wanted,
          `entry ${wanted} is wanted and not in the log`,
        );
        machine.refill(disk.entries.slice(from, from + 5));
      }
      const bytes = machine.output(512);
      if (bytes === undefined) {
        if (!(machine instanceof ServerMachine) || machine.wanted === undefined) break;
        continue;
      }
      this.#put(link, side, bytes);
    }
    assert.equal(machine.hasOutput, false, "output() left something behind");
  }

  /** Lets `ms` pass; what is due arrives. */
  advance(ms: number): void {
    this.now += ms;
    for (const side of SIDES) this.pump(side);
    const link: Link | undefined = this.link;
    if (link === undefined) return;
    for (const side of SIDES) {
      const { chunks, splitter }: Pipe = link.pipes[side];
      while (chunks[0] !== undefined && chunks[0].at <= this.now && this.link === link) {
        const chunk = chunks.shift();
        const to = other(side);
        if (chunk === undefined || !link.carries || !link.open[to]) continue;
        const records = splitter.push(chunk.bytes);
        if (isFault(records)) assert.fail(records.why);
        for (const record of records) this.#arrive(link, to, record);
      }
    }
    for (const side of SIDES) {
      this.machine(side).tick(this.now);
      this.#events(side);
    }
    this.check();
  }

  /** Runs until nothing is under way, answering what has to be answered. */
  settle(): void {
    if (this.link === undefined || !this.link.open[0] || !this.link.open[1] || !this.link.carries)
      this.connect();
    let idle = 0;
    for (let round = 0; idle < 4; round++) {
      assert.ok(round < 20_000, "the two do not come to rest");
      let moved = false;
      for (const side of SIDES) {
        while (this.consume(side)) moved = true;
        moved = this.answer(side) || moved;
        while (this.store(side)) moved = true;
      }
      const { link } = this;
      if (link?.pipes.some((one) => one.chunks.length > 0)) moved = true;
      this.advance(this.#options.latency ?? 1);
      if (this.link !== undefined && !this.link.open[0]) this.connect();
      idle = moved ? 0 : idle + 1;
    }
  }

  /** Gives the answer that `side` owes, if any. */
  answer(side: Side): boolean {
    const { machine } = this.peers[side];
    const { exchange, major, finish, exception, confirmer, va, vm, finished } = machine.state;
    if (finished) return false;
    if (exchange !== undefined && exchange.by !== side) {
      if (exchange.purge === "interrupt") return this.request(side, { type: "activity-interrupt-ack" });
      if (exchange.purge === "discard") return this.request(side, { type: "activity-discard-ack" });
      const serial =
        exchange.purge === "restart"
          ? Math.max(exchange.serial, machine.state.vr)
          : exchange.purge === "abandon"
            ? Math.max(exchange.serial, vm)
            : exchange.serial;
      return [...Array(16).keys()].some((tokens) =>
        this.request(side, { type: "resync-ack", serial, tokens }),
      );
    }
    if (exchange !== undefined) return false;
    if (exception === other(side)) return this.request(side, { type: "token-give", tokens: 1 });
    if (major !== undefined && major.by !== side)
      return this.request(side, { type: major.end ? "activity-end-ack" : "major-ack", serial: major.serial });
    if (finish === other(side)) return this.request(side, { type: "finish-ack" });
    if (confirmer === side && va < vm) return this.request(side, { type: "minor-ack", serial: vm - 1 });
    return false;
  }

  // ── what must always hold ───────────────────────────────────────────────────────────────────────────────────

  check(): void {
    const [a, b] = this.peers;
    assert.equal(a.machine.tokens & b.machine.tokens, 0, "a token has two owners");
    for (const side of SIDES) {
      const { va, vm, vr } = this.machine(side).state;
      assert.ok(vr <= va && va <= vm, `V(R) ${vr} ≤ V(A) ${va} ≤ V(M) ${vm}`);
      assert.ok(vr >= this.#floor[side], `V(R) fell from ${this.#floor[side]} to ${vr}`);
      this.#floor[side] = vr;
    }
  }

  /** After `settle`: both sides agree, and everything sent was consumed, once and in order, or was purged. */
  verify(options: { purges: boolean }): void {
    const [a, b] = this.peers;
    assert.deepEqual(a.machine.state, b.machine.state, "the two sides disagree");
    for (const side of SIDES) {
      const from = this.peers[side];
      const to = this.peers[other(side)];
      const consumed = new Map(to.effects.map((effect) => [effect.number, effect.text]));
      assert.equal(consumed.size, to.effects.length, "something came twice");
      const gone = (number: number) => to.gaps.some((gap) => gap.from <= number && number <= gap.to);
      for (const [number, text] of from.sent) {
        const got = consumed.get(number);
        if (got === undefined) {
          const excused = (options.purges && number < to.purgedBelow) || gone(number);
          assert.ok(excused, `message ${number} of side ${side} was lost`);
        } else assert.equal(got, text);
        consumed.delete(number);
      }
      assert.deepEqual([...consumed.keys()], [], "something came that was never sent");
      assert.equal(from.machine.backlog, 0, "something was never acknowledged");
    }
  }

  // ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────

  #peer(side: Side): Peer {
    const options: ServerMachineOptions = {
      agreement: this.#options.agreement,
      side,
      rules: rulesFor(this.#options.agreement.units),
      credit: this.#options.credit ?? { messages: 16, bytes: 1000 },
      logged: this.#options.logged?.[side] ?? false,
      outboxBytes: this.#options.outboxBytes ?? 4096,
      outboxMessages: 100_000,
      pingMs: 1000,
      ...(this.#options.keepNewest !== undefined && { keepNewest: this.#options.keepNewest }),
    };
    return {
      machine:
        options.logged || options.keepNewest !== undefined
          ? new ServerMachine(options)
          : new DialogMachine(options),
      options,
      effects: [],
      queue: [],
      gaps: [],
      sent: new Map(),
      purgedBelow: 0,
      voiding: false,
      asked: undefined,
      indications: [],
      acked: 0,
      urgent: [],
      storing: undefined,
      disk: { entries: [], first: 0, mark: undefined, sent: 0, committed: 0 },
    };
  }

  #put(link: Link, side: Side, frames: Uint8Array): void {
    if (!link.carries) return;
    const at = this.now + (this.#options.latency ?? 1);
    const record = toRecord(frames);
    const { chunks } = link.pipes[side];
    if (this.#options.bytewise !== true) {
      chunks.push({ at, bytes: record });
      return;
    }
    const random = this.#options.random ?? Math.random;
    for (let from = 0; from < record.length;) {
      const size = 1 + Math.floor(random() * 7);
      chunks.push({ at, bytes: record.slice(from, from + size) });
      from += size;
    }
  }

  #arrive(link: Link, to: Side, record: Uint8Array): void {
    const { machine, options } = this.peers[to];
    if (!link.open[to]) return;
    const first = decodeFrames(record);
    if (!link.answered && to === 1) {
      link.answered = true;
      const frame = isFault(first) ? undefined : first[0];
      assert.ok(frame?.type === "resume");
      const why = machine.linkUp(frame.position, frame.credit, this.now);
      assert.equal(why, undefined, why?.why);
      const answer = encodeFrame({
        type: "resumed",
        secret: "s",
        epoch: 1,
        position: machine.position,
        credit: options.credit,
        holdMs: 1,
      });
      this.#put(link, 1, answer);
    } else if (to === 0 && !machine.linked) {
      const frame = isFault(first) ? undefined : first[0];
      assert.ok(frame?.type === "resumed");
      const why = machine.linkUp(frame.position, frame.credit, this.now);
      assert.equal(why, undefined, why?.why);
    } else {
      const why = machine.receive(record, this.now);
      assert.equal(why, undefined, why?.why);
    }
    this.#events(to);
    this.pump(to);
  }

  #events(side: Side): void {
    const peer = this.peers[side];
    for (const event of peer.machine.takeEvents()) {
      switch (event.type) {
        case "content":
        case "gap":
          peer.queue.push(event);
          break;
        case "indication":
          peer.indications.push(event.message);
          this.#lowered(side, event.message, peer.asked);
          if (event.purged || ANSWERS.has(event.message.type) || peer.voiding) this.#purge(side);
          if (peer.machine.state.exception !== side) peer.voiding = false;
          break;
        case "acked":
          assert.ok(event.next >= peer.acked, "an acknowledgement went back");
          peer.acked = event.next;
          break;
        case "urgent":
          peer.urgent.push(new TextDecoder().decode(event.bytes));
          break;
        case "quiet":
          this.lose(side);
          break;
        default:
          break;
      }
    }
  }

  /** A restart must not move V(R); what sets the numbers anew may. */
  #lowered(side: Side, message: Message, purge: string | undefined): void {
    if (LOWERS.has(message.type) && (message.type !== "resync-ack" || purge !== "restart"))
      this.#floor[side] = 0;
  }

  #purge(side: Side): void {
    const peer = this.peers[side];
    peer.purgedBelow = Math.max(peer.purgedBelow, peer.machine.position.next);
    peer.queue = peer.queue.filter((item) => item.type === "content" && item.number >= peer.purgedBelow);
  }
}

export const SIDES: readonly Side[] = [0, 1];
const PURGES = new Set([
  "resync",
  "resync-ack",
  "activity-interrupt",
  "activity-interrupt-ack",
  "activity-discard",
  "activity-discard-ack",
]);
const ANSWERS = new Set(["resync-ack", "activity-interrupt-ack", "activity-discard-ack"]);
const LOWERS = new Set([
  "resync-ack",
  "activity-start",
  "activity-resume",
  "activity-interrupt-ack",
  "activity-discard-ack",
]);

function other(side: Side): Side {
  return side === 0 ? 1 : 0;
}

function pipe(): Pipe {
  return { chunks: [], splitter: new RecordSplitter(1 << 20) };
}

/** A small generator of random numbers that can be repeated from its seed. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
