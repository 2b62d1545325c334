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
interface Moment {
  readonly agoMs: number;
  readonly run: () => Promise<void>;
}

export interface Nodes {
  readonly all: readonly Kernel[];
  readonly clock: MovedClock;
}

/** What the picture of the session page shows: one upload with a long life. */
export interface Cast {
  readonly upload: Handle;
  readonly dialog: Handle;
  readonly revoked: Handle;
}

/** Three hours in the life of a small company, the same with every run. */
export async function play({ all, clock }: Nodes, people: number): Promise<Cast> {
  const random = generator(20260117);
  const moments: Moment[] = [];
  const cast: Partial<Record<keyof Cast, Handle>> = {};
  for (let i = 0; i < people; i++) moments.push(...dayOf(i, all, random));
  moments.push(...storyOf(all, cast));
  moments.sort((a, b) => b.agoMs - a.agoMs);
  for (const moment of moments) {
    clock.moveTo(moment.agoMs);
    await moment.run();
  }
  clock.moveTo(0);
  const { upload, dialog, revoked } = cast;
  if (upload === undefined || dialog === undefined || revoked === undefined)
    throw new Error("the story did not happen");
  return { upload, dialog, revoked };
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

/** A few sessions with everything that can happen to one. */
function storyOf(all: readonly Kernel[], cast: Partial<Record<keyof Cast, Handle>>): Moment[] {
  const [one, two, three] = all;
  if (one === undefined || two === undefined || three === undefined)
    throw new Error("the story needs three nodes");
  const total = 4_800_000_000;
  let up: SessionRecord | undefined;
  let talk: SessionRecord | undefined;
  let gone: SessionRecord | undefined;
  let stolen = "";
  const carry = async (kernel: Kernel, record: SessionRecord): Promise<SessionRecord> => {
    await kernel.attach(record, connection());
    return record;
  };
  const moments: Moment[] = [];
  const at = (minutes: number, run: () => Promise<void>): void =>
    void moments.push({ agoMs: minutes * MINUTE, run });

  at(96, async () => {
    const made = await one.establish({
      mechanism: "transfer",
      mode: "simplex",
      principal: "mara.lindqvist",
      tenant: "north",
      peer: { address: "10.24.7.31", agent: "tus-js-client/4.3", device: "laptop-117" },
      label: "survey-2026-raw.tar",
      resumableMs: 24 * HOUR,
      absoluteMs: 48 * HOUR,
      own: true,
      checkpoint: { position: 0, total },
      startedAt: one.clock.now() - 1400,
      roles: ["staff"],
      data: { name: "survey-2026-raw.tar", type: "application/x-tar", digest: "sha-256", parts: 573 },
    });
    up = await carry(one, made.record);
    cast.upload = made.record.handle;
  });
  const advance = (minutes: number, kernel: Kernel, share: number): void =>
    at(
      minutes,
      async () =>
        void (up = await kernel.checkpoint(need(up), { position: Math.floor(total * share), total })),
    );
  advance(91, one, 0.08);
  advance(84, one, 0.17);
  at(79, async () => void (up = await one.suspend(need(up), { detail: { cause: "connection lost" } })));
  at(
    71,
    async () =>
      void (up = await carry(two, await two.resume(need(up), { detail: { address: "10.31.2.8" } }))),
  );
  at(70.9, async () => void (up = (await two.rotate(need(up))).record));
  advance(63, two, 0.31);
  advance(55, two, 0.44);
  advance(47, two, 0.52);
  at(44, async () => void (up = await two.suspend(need(up), { detail: { cause: "node drains" } })));
  at(
    43.7,
    async () =>
      void (up = await carry(three, await three.resume(need(up), { detail: { address: "10.31.2.8" } }))),
  );
  at(43.6, async () => void (up = (await three.rotate(need(up))).record));
  advance(30, three, 0.63);
  advance(18, three, 0.74);
  advance(7, three, 0.86);
  advance(0.4, three, 0.91);

  at(58, async () => {
    const made = await two.establish({
      mechanism: "dialog",
      mode: "half-duplex",
      principal: "tomas.okafor",
      tenant: "south",
      peer: { address: "192.0.2.44", agent: "Holdfast dialog/1" },
      label: "ward rounds, turn by turn",
      resumableMs: HOUR,
      own: true,
      startedAt: two.clock.now() - 300,
    });
    talk = await carry(two, made.record);
    cast.dialog = made.record.handle;
  });
  for (let i = 1; i <= 9; i++)
    at(
      57 - i * 4,
      async () =>
        void (talk = await two.checkpoint(need(talk), {
          position: i,
          note: i % 3 === 0 ? "major" : "minor",
        })),
    );
  at(17, async () => void (talk = await two.suspend(need(talk))));
  at(16, async () => void (talk = await carry(one, await one.resume(need(talk)))));

  at(41, async () => {
    const made = await one.establish({
      mechanism: "web",
      mode: "request-response",
      principal: "jo.verhoeven",
      peer: { address: "203.0.113.9", agent: "Firefox 141 on Linux" },
      label: "portal",
      idleMs: HOUR,
      startedAt: one.clock.now() - 2100,
      authentication: { amr: ["pwd"], aal: 1 },
    });
    gone = made.record;
    cast.revoked = made.record.handle;
    stolen = made.secret?.reveal() ?? "";
  });
  at(36, async () => {
    const made = await one.authenticate(need(gone), { amr: ["pwd", "otp"], aal: 2 });
    gone = made.record;
    stolen = made.secret.reveal();
  });
  at(34, async () => {
    const made = await two.establish({
      mechanism: "dialog",
      mode: "full-duplex",
      parent: need(gone).handle,
      label: "notes, shared",
      own: true,
      peer: { address: "203.0.113.9" },
    });
    await two.attach(made.record, connection());
  });
  at(
    12,
    async () =>
      void (await one.revoke({ principal: "jo.verhoeven" }, { reason: "lost device", by: "operator" })),
  );
  for (const minutes of [11.4, 10.9, 6]) at(minutes, async () => void (await one.present(stolen)));
  at(5, async () => {
    await one.lock({
      selector: { principal: "jo.verhoeven" },
      reason: "lost device, waits for a new key",
      by: "operator",
      until: one.clock.now() + 8 * HOUR,
    });
  });
  return moments;
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

function need(record: SessionRecord | undefined): SessionRecord {
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

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
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
