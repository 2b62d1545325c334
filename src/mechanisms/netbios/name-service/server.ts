import type { RemoteInfo, Socket } from "node:dgram";
import { createSocket } from "node:dgram";
import type { AddressInfo } from "node:net";
import type { Kernel } from "../../../kernel/index.ts";
import { HoldfastError } from "../../../kernel/index.ts";
import { isFault } from "../../../wire/index.ts";
import { formatName } from "../codec/name.ts";
import { decodeNamePacket, encodeNamePacket } from "../codec/name-service.ts";
import type { NameEvent, NameServerAction } from "../machine/name-server.ts";
import { NameServer } from "../machine/name-server.ts";
import { Probes } from "../probes.ts";
import { requireName } from "../routes.ts";

/** All of it but the kernel and `onFault` is plain data. */
export interface NameServiceOptions {
  readonly kernel: Kernel;
  /** The names it answers for: `FILESRV` stands for `FILESRV<20>` and `FILESRV<00>`. */
  readonly names: readonly string[];
  /** The addresses those names lead to: the gateway's. IPv4. */
  readonly addresses: readonly string[];
  /**
   * Whether hosts may register names of their own, as with a WINS server. `own-address`: only for the address they ask
   * from. `none` by default.
   */
  readonly register?: "none" | "own-address" | "any-address";
  readonly limits?: Partial<NameServiceLimits>;
  /** The unit's id in node status answers, `02:00:00:00:00:00` if it must be told apart; zeros by default. */
  readonly unitId?: string;
  /** Hears of faults of the sockets in the background. */
  readonly onFault?: (error: unknown) => void;
}

export interface NameServiceLimits {
  /** Registered names. */
  readonly names: number;
  readonly namesPerAddress: number;
  /** Longest time a registration is kept without a refresh. */
  readonly ttlMs: number;
  /** Requests answered of one address. */
  readonly perSecond: number;
  /** Of one address and kind, journalled at most once in this span. */
  readonly probesMs: number;
}

/**
 * A name server for the gateway's names, so that hosts find it by them; it takes registrations too if it may.
 * @throws HoldfastError `invalid-argument` when a name or an address is not right.
 */
export function createNameService(options: NameServiceOptions): NameService {
  return new NameService(options);
}

export class NameService implements AsyncDisposable {
  readonly #kernel: Kernel;
  readonly #machine: NameServer;
  readonly #onFault: (error: unknown) => void;
  readonly #probes: Probes;
  readonly #sockets = new Set<Socket>();
  readonly #counts: Record<NameEvent | "answered" | "malformed", number> = {
    answered: 0,
    malformed: 0,
    unknown: 0,
    registered: 0,
    refused: 0,
    refreshed: 0,
    released: 0,
    defended: 0,
    limited: 0,
  };
  #cancelTick: () => void = () => {};

  constructor(options: NameServiceOptions) {
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    const wrong = options.addresses.find((address) => !isIPv4(address));
    if (wrong !== undefined || options.addresses.length === 0) {
      throw new HoldfastError("invalid-argument", "The name service leads to IPv4 addresses, one at least.", {
        detail: { address: wrong },
      });
    }
    this.#kernel = options.kernel;
    this.#onFault = options.onFault ?? (() => {});
    this.#probes = new Probes(options.kernel, limits.probesMs);
    this.#machine = new NameServer({
      own: options.names.flatMap(withBothSuffixes).map((text) => ({
        name: requireName(text, "names"),
        group: false,
        addresses: options.addresses,
      })),
      register: options.register ?? "none",
      maxNames: limits.names,
      maxNamesPerAddress: limits.namesPerAddress,
      ttlMs: limits.ttlMs,
      requestsPerSecond: limits.perSecond,
      unitId: options.unitId ?? "00:00:00:00:00:00",
    });
  }

  /** What it did so far, by kind. */
  get counts(): Readonly<Record<NameEvent | "answered" | "malformed", number>> {
    return this.#counts;
  }

  /** Names registered by others, as `NAME<20>`, with their addresses. */
  get registered(): readonly { readonly name: string; readonly addresses: readonly string[] }[] {
    return [...this.#machine.registered].map(({ name, entries }) => ({
      name: formatName(name),
      addresses: entries.map(({ address }) => address),
    }));
  }

  /**
   * Port 137 on every address when left out. On a particular `host`, questions to everybody come in on the network's
   * `broadcast` address, which is then listened on beside it.
   */
  async listen(
    at: { readonly host?: string; readonly port?: number; readonly broadcast?: string } = {},
  ): Promise<AddressInfo> {
    await this.#kernel.start();
    const socket = await this.#open(at.host, at.port ?? 137);
    const address = socket.address();
    this.#receive(socket, socket);
    if (at.broadcast !== undefined) this.#receive(await this.#open(at.broadcast, address.port), socket);
    return address;
  }

  async close(): Promise<void> {
    this.#cancelTick();
    this.#probes.flush();
    const sockets = [...this.#sockets];
    this.#sockets.clear();
    await Promise.all(sockets.map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** `reuseAddr`: another name service, such as nmbd, may listen on the same port for another address. */
  async #open(host: string | undefined, port: number): Promise<Socket> {
    const socket = createSocket({ type: "udp4", reuseAddr: true });
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind({ port, ...(host !== undefined && { address: host }) }, () => {
        socket.off("error", reject);
        resolve();
      });
    });
    socket.on("error", this.#onFault);
    this.#sockets.add(socket);
    return socket;
  }

  /** Takes what comes in on `socket` and answers from `answering`, whose address the asker knows. */
  #receive(socket: Socket, answering: Socket): void {
    socket.on("message", (bytes: Buffer, from: RemoteInfo) => {
      const packet = decodeNamePacket(bytes);
      if (isFault(packet)) {
        this.#counts.malformed++;
        return;
      }
      this.#do(this.#machine.handle({ type: "packet", packet, from }, this.#kernel.clock.now()), answering);
    });
  }

  #do(actions: readonly NameServerAction[], socket: Socket): void {
    for (const action of actions) {
      if (action.type === "send") {
        this.#counts.answered++;
        // An answer that does not get out is asked for again.
        socket.send(encodeNamePacket(action.packet), action.to.port, action.to.address, () => {});
      } else {
        this.#counts[action.what]++;
        const { what, name, from } = action;
        this.#probes.add({ what: `name ${what}`, address: from.address, name: formatName(name) });
      }
    }
    this.#armTick(socket);
  }

  #armTick(socket: Socket): void {
    this.#cancelTick();
    const at = this.#machine.tickAt;
    if (at === undefined) return;
    const { clock } = this.#kernel;
    this.#cancelTick = clock.after(Math.max(at - clock.now(), 1), () =>
      this.#do(this.#machine.handle({ type: "tick" }, clock.now()), socket),
    );
  }
}

const DEFAULT_LIMITS: NameServiceLimits = {
  names: 10_000,
  namesPerAddress: 64,
  ttlMs: 60 * 60 * 1000,
  perSecond: 100,
  probesMs: 10_000,
};

/** A file server is looked up by its service's name and by its host's. */
function withBothSuffixes(text: string): string[] {
  return text.includes("<") ? [text] : [`${text}<20>`, `${text}<00>`];
}

function isIPv4(address: string): boolean {
  return /^\d{1,3}(\.\d{1,3}){3}$/u.test(address) && address.split(".").every((part) => Number(part) < 256);
}
