import { once } from "node:events";
import net from "node:net";
import type { TestContext } from "node:test";
import type { Kernel, SessionRecord } from "../../../src/kernel/index.ts";
import { createKernel } from "../../../src/kernel/index.ts";
import type { SocksOptions, SocksServer } from "../../../src/mechanisms/socks/index.ts";
import { createSocks } from "../../../src/mechanisms/socks/index.ts";
import { memory } from "../../../src/store/memory/index.ts";

export interface Scene {
  readonly kernel: Kernel;
  readonly socks: SocksServer;
  readonly port: number;
  /** Faults the server reported; a test that expects none leaves it empty. */
  readonly faults: unknown[];
}

/** A SOCKS server that lets clients reach loopback, on a kernel of its own; both are closed when the test is over. */
export async function scene(
  t: Pick<TestContext, "after">,
  options: Partial<SocksOptions> = {},
): Promise<Scene> {
  const faults: unknown[] = [];
  const kernel = options.kernel ?? createKernel({ store: memory(), onFault: (error) => faults.push(error) });
  const rules = [{ action: "allow", addresses: ["any"] }] as const;
  const socks = createSocks({ rules, onFault: (error) => faults.push(error), ...options, kernel });
  const { port } = await socks.listen();
  t.after(async () => {
    await socks.close();
    await kernel.close();
  });
  return { kernel, socks, port, faults };
}

/** A TCP server on a free loopback port; it and what it accepted are closed when the test is over. */
export async function tcpServer(
  t: Pick<TestContext, "after">,
  serve: (socket: net.Socket) => void,
  host = "127.0.0.1",
): Promise<number> {
  const accepted = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    accepted.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => accepted.delete(socket));
    serve(socket);
  });
  server.listen(0, host);
  await once(server, "listening");
  t.after(() => {
    for (const socket of accepted) socket.destroy();
    server.close();
  });
  return portOf(server);
}

/** A socket that is closed when the test is over, and may be reset by then. */
export function kept<S extends net.Socket>(t: Pick<TestContext, "after">, socket: S): S {
  socket.on("error", () => socket.destroy());
  t.after(() => socket.destroy());
  return socket;
}

export function echo(socket: net.Socket): void {
  socket.pipe(socket);
}

export function portOf(server: net.Server): number {
  const at = server.address();
  if (at === null || typeof at === "string") throw new Error("not a TCP listener");
  return at.port;
}

/** A port that nobody listens on: it was free a moment ago. */
export async function closedPort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const port = portOf(server);
  server.close();
  await once(server, "close");
  return port;
}

/** A client that says exact bytes and reads exact numbers of them. */
export class RawClient {
  readonly socket: net.Socket;
  #got: Buffer = Buffer.alloc(0);
  #ended = false;
  #wake: () => void = () => {};

  private constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#got = Buffer.concat([this.#got, chunk]);
      this.#wake();
    });
    const over = (): void => {
      this.#ended = true;
      this.#wake();
    };
    socket.on("end", over);
    socket.on("close", over);
    socket.on("error", over);
  }

  static async open(t: Pick<TestContext, "after">, port: number): Promise<RawClient> {
    const socket = kept(t, net.connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true }));
    await once(socket, "connect");
    return new RawClient(socket);
  }

  say(bytes: string | Buffer): this {
    this.socket.write(typeof bytes === "string" ? Buffer.from(bytes.replaceAll(" ", ""), "hex") : bytes);
    return this;
  }

  /** Each byte in a packet of its own. */
  async drip(hex: string): Promise<void> {
    for (const byte of Buffer.from(hex, "hex")) {
      await new Promise<void>((resolve) =>
        this.socket.write(Buffer.from([byte]), () => setImmediate(resolve)),
      );
    }
  }

  /** The next `size` bytes; fewer when the other side closes before. */
  async read(size: number): Promise<Buffer> {
    while (this.#got.length < size && !this.#ended) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const taken = this.#got.subarray(0, size);
    this.#got = this.#got.subarray(taken.length);
    return taken;
  }

  async hex(size: number): Promise<string> {
    return (await this.read(size)).toString("hex");
  }

  /** Everything until the other side closes. */
  async rest(): Promise<Buffer> {
    return this.read(Infinity);
  }
}

export function portHex(port: number): string {
  return port.toString(16).padStart(4, "0");
}

/** Asks until the answer is yes. Liveness only: a wait that is too short fails nothing but a hung program. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`it never came to be that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export async function sessionsOf(kernel: Kernel, state: "live" | "ended" = "live"): Promise<SessionRecord[]> {
  const { found } = await kernel.store.list({ term: state, limit: 1_000 });
  return found.map(({ record }) => record);
}

/** The one session there is, once it is there. */
export async function oneSession(kernel: Kernel, state: "live" | "ended" = "live"): Promise<SessionRecord> {
  await until(`there is one ${state} session`, async () => (await sessionsOf(kernel, state)).length === 1);
  const [record] = await sessionsOf(kernel, state);
  if (record === undefined) throw new Error("it went away");
  return record;
}
