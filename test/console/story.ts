import type { Handle, Kernel, SessionRecord } from "../../src/kernel/index.ts";
import { connection, daysOf, HOUR, MINUTE, type Moment, type MovedClock, need } from "./scenes.ts";

/** Sessions the tests and pictures know by name. */
export interface Cast {
  /** An upload carried by three nodes, one after the other. */
  readonly upload: Handle;
  readonly dialog: Handle;
  /** A login that was ended and is still being tried. */
  readonly revoked: Handle;
}

/** Three hours in the life of a small company, the same with every run. */
export async function play(all: readonly Kernel[], clock: MovedClock, people: number): Promise<Cast> {
  const cast: Partial<Record<keyof Cast, Handle>> = {};
  const moments = [...daysOf(all, people), ...storyOf(all, cast)];
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

  let login: SessionRecord | undefined;
  at(118, async () => {
    const made = await one.establish({
      mechanism: "web",
      mode: "request-response",
      principal: "mara.lindqvist",
      tenant: "north",
      peer: { address: "10.24.7.31", agent: "Firefox 141 on Linux", device: "laptop-117" },
      label: "portal",
      idleMs: 4 * HOUR,
      absoluteMs: 12 * HOUR,
      authentication: { amr: ["hwk", "user"], aal: 3 },
      startedAt: one.clock.now() - 2300,
      roles: ["staff"],
    });
    login = made.record;
  });
  at(88, async () => {
    const made = await two.establish({
      mechanism: "dialog",
      mode: "full-duplex",
      parent: need(login).handle,
      peer: { address: "10.31.2.8", agent: "Holdfast dialog/1", device: "phone-117" },
      label: "survey desk",
      resumableMs: 10 * HOUR,
      own: true,
      checkpoint: { position: 212 },
    });
    await two.attach(made.record, connection());
  });
  at(21, async () => {
    const made = await three.establish({
      mechanism: "socks",
      mode: "full-duplex",
      principal: "mara.lindqvist",
      peer: { address: "10.24.7.31" },
      label: "git.example.net:22",
      credential: false,
      own: true,
    });
    await three.attach(made.record, connection());
  });
  at(96, async () => {
    const made = await one.establish({
      mechanism: "transfer",
      mode: "simplex",
      parent: need(login).handle,
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
  // As dialogs tell it: turns and minor points are noted, a major point is a checkpoint.
  for (let i = 1; i <= 9; i++)
    at(57 - i * 4, async () => {
      if (i % 3 !== 0)
        return two.note(need(talk), { minor: i, turn: i % 2 === 0 ? "initiator" : "responder" });
      talk = await two.checkpoint(need(talk), { position: i * 10, note: { major: i } });
    });
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
