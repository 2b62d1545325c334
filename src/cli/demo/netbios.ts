import { randomBytes } from "node:crypto";
import { isHoldfastError } from "../../kernel/index.ts";
import type { NetbiosGateway, NetbiosSession } from "../../mechanisms/netbios/index.ts";
import { connect, createNetbios } from "../../mechanisms/netbios/index.ts";
import type { Echo } from "./echo.ts";
import { startEcho } from "./echo.ts";
import type { Part, PartKind, Person, Stage } from "./part.ts";
import { chance, pick } from "./part.ts";

/** Computers that call two file servers by name, and sometimes one that is not there. */
export const netbios: PartKind = async (stage) => {
  const echo = await startEcho();
  const gateway = createNetbios({
    kernel: stage.kernel,
    backends: { nas: { host: "127.0.0.1", port: echo.port } },
    routes: SERVERS.map((called) => ({ called, backend: "nas" })),
    onFault: stage.onFault,
  });
  try {
    const { port } = await gateway.listen({ port: 0 });
    return new NetbiosPart(stage, { echo, gateway, port });
  } catch (error) {
    await echo.close();
    throw error;
  }
};

interface Place {
  readonly echo: Echo;
  readonly gateway: NetbiosGateway;
  readonly port: number;
}

class NetbiosPart implements Part {
  readonly mechanism = "netbios";
  readonly #stage: Stage;
  readonly #place: Place;
  readonly #sessions = new Set<NetbiosSession>();

  constructor(stage: Stage, place: Place) {
    this.#stage = stage;
    this.#place = place;
  }

  async step(): Promise<void> {
    const most = Math.max(2, Math.ceil(this.#stage.people.length / 3));
    if (this.#sessions.size < most && (this.#sessions.size === 0 || chance(0.25))) return this.#call();
    const session = pick([...this.#sessions]);
    if (chance(0.1)) await session.close();
    else await session.send(randomBytes(100 + Math.floor(Math.random() * 4_000)));
  }

  async close(): Promise<void> {
    await this.#place.gateway.close();
    await Promise.all([...this.#sessions].map((session) => session.close()));
    await this.#place.echo.close();
  }

  async #call(): Promise<void> {
    const { computer }: Person = pick(this.#stage.people);
    const called = chance(0.1) ? "OLDSRV" : pick(SERVERS);
    const at = { host: "127.0.0.1", port: this.#place.port };
    const session = await connect({ ...at, called, calling: computer, timeoutMs: 10_000 });
    this.#sessions.add(session);
    void this.#listen(session);
  }

  /** Takes what comes until the session is over, in whatever way. */
  async #listen(session: NetbiosSession): Promise<void> {
    try {
      const messages = session[Symbol.asyncIterator]();
      while ((await messages.next()).done !== true);
    } catch (error) {
      // Cut by a revoke from the console, or by the end of the demo: that is what it is there to show.
      if (!isHoldfastError(error, "session-ended")) this.#stage.onFault(error);
    } finally {
      this.#sessions.delete(session);
      await session.close();
    }
  }
}

const SERVERS = ["FILESRV", "ARCHIVE"] as const;
