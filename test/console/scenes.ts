import {
  type Clock,
  type Handle,
  type Kernel,
  type SessionRecord,
  systemClock,
} from "../../src/kernel/index.ts";

/** Real time, moved: it begins in the past, so that sessions can be given one, and comes to the present. */
export class MovedClock implements Clock {
  #behindMs: number;

  constructor(behindMs: number) {
    this.#behindMs = behindMs;
  }

  now(): number {
    return Date.now() - this.#behindMs;
  }

  after(ms: number, run: () => void): () => void {
    return systemClock.after(ms, run);
  }

  /** Moves on to `agoMs` before the present; never back. */
  moveTo(agoMs: number): void {
    this.#behindMs = Math.min(this.#behindMs, agoMs);
  }
}

/** One thing that happens, so long before the present. */
export interface Moment {
  readonly agoMs: number;
  readonly run: () => Promise<void>;
}

/** Everybody's day, the same with every run. */
export function daysOf(all: readonly Kernel[], people: number): Moment[] {
  const random = generator(20260117);
  return Array.from({ length: people }, (_, index) => dayOf(index, all, random)).flat();
}

/** What a connection of the scenes does when it has to close: it takes a moment, as real ones do. */
export function connection(): { close: () => Promise<void> } {
  return { close: () => new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 180)) };
}

/** A login of somebody with what was opened under it. */
function dayOf(index: number, all: readonly Kernel[], random: () => number): Moment[] {
  const kernel = pick(all, random);
  const principal = nameOf(index);
  const address = `10.${20 + (index % 7)}.${Math.floor(random() * 250)}.${1 + Math.floor(random() * 250)}`;
  const agent = pick(AGENTS, random);
  const tenant = pick(["north", "south"], random);
  const began = Math.floor((20 + random() * 160) * MINUTE);
  const moments: Moment[] = [];
  let login: SessionRecord | undefined;
  const at = (agoMs: number, run: () => Promise<void>): void =>
    void moments.push({ agoMs: Math.max(0, agoMs), run });

  at(began, async () => {
    const made = await kernel.establish({
      mechanism: "web",
      mode: "request-response",
      principal,
      tenant,
      peer: { address, agent, device: `laptop-${index + 100}` },
      roles: index % 9 === 0 ? ["staff", "admin"] : ["staff"],
      label: pick(["portal", "intranet", "shop backend"], random),
      idleMs: 4 * HOUR,
      absoluteMs: 12 * HOUR,
      authentication: { amr: ["pwd", "otp"], aal: 2 },
      startedAt: kernel.clock.now() - 900,
      data: { theme: "light", cart: Math.floor(random() * 4) },
    });
    login = made.record;
  });
  if (began > 45 * MINUTE && random() < 0.7)
    at(began - 30 * MINUTE, async () => void (login = (await kernel.rotate(need(login))).record));
  const children = Math.floor(random() * 3);
  for (let i = 0; i < children; i++) {
    const after = Math.floor(random() * began * 0.8);
    const carrier = pick(all, random);
    moments.push(
      ...(random() < 0.6
        ? upload(carrier, () => need(login).handle, { address, agent, ago: began - after - MINUTE, random })
        : feed(carrier, () => need(login).handle, { address, agent, ago: began - after - MINUTE, random })),
    );
  }
  if (random() < 0.5)
    moments.push(...relay(pick(all, random), principal, address, Math.floor(random() * 60 * MINUTE), random));
  if (children === 0 && random() < 0.4)
    at(
      Math.floor(random() * 10 * MINUTE),
      async () => void (await kernel.end(need(login), { reason: "logout", by: principal })),
    );
  return moments;
}

interface Circumstances {
  readonly address: string;
  readonly agent: string;
  readonly ago: number;
  readonly random: () => number;
}

function upload(kernel: Kernel, parent: () => Handle, about: Circumstances): Moment[] {
  const { address, agent, ago, random } = about;
  const total = Math.floor((20 + random() * 3000) * 1e6);
  const share = random();
  let record: SessionRecord | undefined;
  const label = pick(FILES, random);
  const moments: Moment[] = [
    {
      agoMs: Math.max(0, ago),
      run: async () => {
        const made = await kernel.establish({
          mechanism: "transfer",
          mode: "simplex",
          parent: parent(),
          peer: { address, agent },
          label,
          resumableMs: 24 * HOUR,
          own: true,
          checkpoint: { position: 0, total },
          data: { name: label, type: "application/octet-stream" },
        });
        record = made.record;
        await kernel.attach(record, connection());
      },
    },
  ];
  const steps = 2 + Math.floor(random() * 5);
  for (let step = 1; step <= steps; step++)
    moments.push({
      agoMs: Math.max(0, ago * (1 - step / (steps + 1))),
      run: async () => {
        record = await kernel.checkpoint(need(record), {
          position: Math.floor((total * share * step) / steps),
          total,
        });
      },
    });
  if (random() < 0.35)
    moments.push({
      agoMs: Math.max(0, ago * 0.1),
      run: async () => void (await kernel.suspend(need(record))),
    });
  return moments;
}

function feed(kernel: Kernel, parent: () => Handle, about: Circumstances): Moment[] {
  const { address, agent, ago, random } = about;
  let record: SessionRecord | undefined;
  const moments: Moment[] = [
    {
      agoMs: Math.max(0, ago),
      run: async () => {
        const made = await kernel.establish({
          mechanism: "dialog",
          mode: "full-duplex",
          parent: parent(),
          peer: { address, agent },
          label: pick(["orders feed", "notes, shared", "support chat", "price feed"], random),
          resumableMs: 10 * HOUR,
          own: true,
          data: { encoding: "json" },
        });
        record = made.record;
        await kernel.attach(record, connection());
      },
    },
  ];
  const points = Math.floor(random() * 4);
  for (let i = 1; i <= points; i++)
    moments.push({
      agoMs: Math.max(0, ago * (1 - i / (points + 1))),
      run: async () => void (record = await kernel.checkpoint(need(record), { position: i * 7 })),
    });
  if (random() < 0.3)
    moments.push({
      agoMs: Math.max(0, ago * 0.05),
      run: async () => void (await kernel.suspend(need(record))),
    });
  return moments;
}

function relay(
  kernel: Kernel,
  principal: string,
  address: string,
  ago: number,
  random: () => number,
): Moment[] {
  const target = pick(["git.example.net:22", "mail.example.net:993", "db.internal:5432"], random);
  return [
    {
      agoMs: ago,
      run: async () => {
        const { record } = await kernel.establish({
          mechanism: "socks",
          mode: "full-duplex",
          principal,
          peer: { address },
          label: target,
          credential: false,
          own: true,
          state: random() < 0.06 ? "negotiating" : "established",
        });
        await kernel.attach(record, connection());
      },
    },
  ];
}

export function nameOf(index: number): string {
  const first = FIRST[index % FIRST.length] ?? "";
  const last = LAST[Math.floor(index / FIRST.length + index * 3) % LAST.length] ?? "";
  return `${first}.${last}`;
}

function pick<T>(from: readonly T[], random: () => number): T {
  const one = from[Math.floor(random() * from.length)];
  if (one === undefined) throw new Error("nothing to choose from");
  return one;
}

export function need(record: SessionRecord | undefined): SessionRecord {
  if (record === undefined) throw new Error("the session does not exist yet");
  return record;
}

/** mulberry32: the same numbers in every run. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const MINUTE: number = 60_000;
export const HOUR: number = 60 * MINUTE;
const AGENTS = [
  "Firefox 141 on Linux",
  "Chrome 140 on Windows",
  "Safari 19 on macOS",
  "Chrome 140 on Android",
];
const FILES = [
  "plans-west.dwg",
  "board-minutes.pdf",
  "backup-0117.tar",
  "lecture-04.mkv",
  "scans.zip",
  "model-v7.ifc",
];
const FIRST = [
  "ada",
  "bela",
  "carla",
  "dario",
  "elin",
  "femke",
  "goran",
  "hana",
  "ilse",
  "jonas",
  "kaya",
  "levi",
  "mira",
  "nadia",
  "oskar",
  "paula",
  "quinn",
  "rosa",
  "sami",
  "tilda",
];
const LAST = [
  "brandt",
  "costa",
  "duarte",
  "eriksen",
  "fischer",
  "garcia",
  "haas",
  "ivanova",
  "jansen",
  "keller",
  "laurent",
];
