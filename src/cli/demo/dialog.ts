import type { Socket } from "node:net";
import { connect as connectTcp, createServer } from "node:net";
import { connect } from "../../mechanisms/dialog/client-node.ts";
import type { Dialog, Dialogs } from "../../mechanisms/dialog/index.ts";
import { createDialogs } from "../../mechanisms/dialog/index.ts";
import { listenOn } from "../../transport/listen.ts";
import type { Part, PartKind, Person, Stage } from "./part.ts";
import { chance, pick } from "./part.ts";

/** Conversations over a line that breaks now and then: each goes on where it was. */
export const dialog: PartKind = async (stage) => {
  const { kernel, onFault } = stage;
  const dialogs = createDialogs({
    kernel,
    authenticate: ({ authorization }) => ({ principal: authorization }),
    holdMs: 30_000,
    onFault,
  });
  const answers = new Set<Dialog>();
  dialogs.on("open", (opened) => {
    answers.add(opened);
    opened.on("end", () => answers.delete(opened));
    return answer(opened);
  });
  try {
    const { port } = await dialogs.listen();
    return new DialogPart(stage, { dialogs, answers, line: await Line.to(port) });
  } catch (error) {
    await dialogs.close();
    throw error;
  }
};

interface Place {
  readonly dialogs: Dialogs;
  /** The other ends, as long as they live. */
  readonly answers: ReadonlySet<Dialog>;
  readonly line: Line;
}

class DialogPart implements Part {
  readonly mechanism = "dialog";
  readonly #people: readonly Person[];
  readonly #place: Place;
  readonly #talks = new Set<Dialog>();

  constructor({ people }: Stage, place: Place) {
    this.#people = people;
    this.#place = place;
  }

  async step(): Promise<void> {
    for (const talk of this.#talks) if (talk.ended !== undefined) this.#talks.delete(talk);
    const most = Math.max(2, Math.ceil(this.#people.length / 2));
    if (this.#talks.size < most && (this.#talks.size === 0 || chance(0.3))) return this.#open();
    const talk = pick([...this.#talks]);
    const what = Math.random();
    if (what < 0.25) this.#place.line.cut();
    else if (what < 0.32) talk.finish().catch(() => undefined);
    else if (talk.linked) await within(say(talk));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#talks].map((talk) => within(talk.finish())));
    const { dialogs, answers, line } = this.#place;
    for (const talk of [...this.#talks, ...answers]) talk.abort("the demo is over");
    await dialogs.close();
    await line.close();
  }

  async #open(): Promise<void> {
    const talk = await connect(`tcp://127.0.0.1:${this.#place.line.port}`, {
      authorization: pick(this.#people).name,
      mode: chance(0.7) ? "half-duplex" : "full-duplex",
      sync: true,
      label: pick(["walkie-talkie", "survey desk", "night shift"]),
      reconnect: { minMs: 300, maxMs: 2_500 },
    });
    this.#talks.add(talk);
    read(talk).catch(() => undefined);
  }
}

/** Something is said, a point is set behind it, and the other side has its turn. */
async function say(talk: Dialog): Promise<void> {
  if (!talk.hasTurn) await talk.takeTurn();
  await talk.send(pick(WORDS));
  if (chance(0.6)) await talk.minorSync();
  else await talk.majorSync();
  await talk.giveTurn();
}

async function answer(talk: Dialog): Promise<void> {
  talk.on("wanted", () => void talk.giveTurn().catch(() => undefined));
  await read(talk);
}

async function read(talk: Dialog): Promise<void> {
  for await (const message of talk) await message.commit();
}

/** The line may be cut, so that nothing of this needs to come to an end. */
async function within(work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const enough = new Promise<void>((resolve) => (timer = setTimeout(resolve, PATIENCE_MS)));
  await Promise.race([work.catch(() => undefined), enough]);
  clearTimeout(timer);
}

/** A way to the dialogs' port that can be cut. */
class Line {
  port = 0;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  readonly #server = createServer((near) => {
    const far = connectTcp(this.#target, "127.0.0.1");
    const pair = [near, far] as const;
    this.#pairs.add(pair);
    for (const [from, to] of [pair, [far, near] as const]) {
      from.on("error", () => from.destroy());
      from.on("close", () => {
        to.destroy();
        this.#pairs.delete(pair);
      });
      from.pipe(to);
    }
  });
  readonly #target: number;

  private constructor(target: number) {
    this.#target = target;
  }

  static async to(target: number): Promise<Line> {
    const line = new Line(target);
    line.port = (await listenOn(line.#server)).port;
    return line;
  }

  /** One of the connections breaks. */
  cut(): void {
    if (this.#pairs.size > 0) pick([...this.#pairs])[0].resetAndDestroy();
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      for (const [near] of this.#pairs) near.destroy();
    });
  }
}

const WORDS: readonly string[] = ["over", "say again", "roger", "the door is shut", "nothing to report"];
const PATIENCE_MS = 1_500;
