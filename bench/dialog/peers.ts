import { mkdtempSync } from "node:fs";
import type { Server } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Aedes } from "aedes";
import { connectAsync } from "mqtt";
import { Server as SocketIo } from "socket.io";
import { io } from "socket.io-client";
import { WebSocket, WebSocketServer } from "ws";
import { createKernel } from "../../src/kernel/index.ts";
import type { Dialog } from "../../src/mechanisms/dialog/index.ts";
import { createDialogs } from "../../src/mechanisms/dialog/index.ts";
import { connect } from "../../src/mechanisms/dialog/client-node.ts";
import { embeddedLog } from "../../src/store/embedded/log.ts";
import { lmdb } from "../../src/store/lmdb/index.ts";
import { memory } from "../../src/store/memory/index.ts";
import type { Ear, Talker } from "./talk.ts";

/** `memory`, `stored` and `durable` are ours; the log of the last two is on a disk. */
export const KINDS = ["ws", "memory", "stored", "durable", "socket.io", "mqtt 0", "mqtt 1"] as const;
export type Kind = (typeof KINDS)[number];

/** Serves one protocol; `arrived` hears of each client and says where its messages are to go. */
export async function serve(kind: Kind, arrived: (talker: Talker) => () => Ear): Promise<number> {
  switch (kind) {
    case "ws":
      return serveWs(arrived);
    case "socket.io":
      return serveSocketIo(arrived);
    case "mqtt 0":
    case "mqtt 1":
      return serveMqtt(kind === "mqtt 0" ? 0 : 1, arrived);
    default:
      return serveDialogs(kind, arrived);
  }
}

export async function dial(kind: Kind, port: number, ear: () => Ear): Promise<Talker> {
  switch (kind) {
    case "ws": {
      const socket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false });
      socket.on("message", (data) => ear().hear(data as Buffer));
      await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
      return overWs(socket);
    }
    case "socket.io": {
      const socket = io(`http://127.0.0.1:${port}`, {
        transports: ["websocket"],
        reconnectionDelay: 10,
        reconnectionDelayMax: 100,
      });
      socket.on("m", (data: Buffer) => ear().hear(data));
      await new Promise<void>((resolve) => socket.once("connect", () => resolve()));
      let count = 0;
      return {
        send(bytes) {
          socket.emit("m", bytes);
          // It has no back-pressure of its own.
          return ++count % 500 === 0 ? breath() : undefined;
        },
        close: () => void socket.disconnect(),
      };
    }
    case "mqtt 0":
    case "mqtt 1": {
      const qos = kind === "mqtt 0" ? 0 : 1;
      const client = await connectAsync(`mqtt://127.0.0.1:${port}`, {
        clientId: `bench-${port}-${Math.random()}`,
        clean: false,
        reconnectPeriod: 20,
      });
      client.on("error", () => undefined);
      client.on("message", (_topic, payload) => ear().hear(payload));
      await client.subscribeAsync("down", { qos });
      const flight = new Flight();
      return {
        send(bytes) {
          client.publish("up", Buffer.from(bytes), { qos }, flight.landed);
          return flight.start();
        },
        close: () => void client.end(true),
      };
    }
    default: {
      const dialog = await connect(`ws://127.0.0.1:${port}/dialog`, {
        authorization: "bench",
        reconnect: { minMs: 5, maxMs: 100 },
        credit: { messages: 16_384, bytes: 4_194_304 },
      });
      void listen(dialog, ear);
      return overDialog(dialog);
    }
  }
}

async function serveWs(arrived: (talker: Talker) => () => Ear): Promise<number> {
  const http = createServer();
  new WebSocketServer({ server: http, perMessageDeflate: false }).on("connection", (socket) => {
    const ear = arrived(overWs(socket));
    socket.on("message", (data) => ear().hear(data as Buffer));
  });
  return listening(http);
}

async function serveSocketIo(arrived: (talker: Talker) => () => Ear): Promise<number> {
  const http = createServer();
  const server = new SocketIo(http, {
    transports: ["websocket"],
    connectionStateRecovery: { maxDisconnectionDuration: 120_000 },
    pingInterval: 1000,
    pingTimeout: 1000,
  });
  // After a cut there is another socket in the same room: what is said to the room reaches whoever is there.
  let ear: (() => Ear) | undefined;
  let count = 0;
  server.on("connection", (socket) => {
    void socket.join("bench");
    if (!socket.recovered || ear === undefined) {
      ear = arrived({
        send(bytes) {
          server.to("bench").emit("m", bytes);
          return ++count % 500 === 0 ? breath() : undefined;
        },
        close: () => undefined,
      });
    }
    const hears = ear;
    socket.on("m", (data: Buffer) => hears().hear(data));
  });
  return listening(http);
}

async function serveMqtt(qos: 0 | 1, arrived: (talker: Talker) => () => Ear): Promise<number> {
  const broker = await Aedes.createBroker();
  const server = createTcpServer(broker.handle);
  const known = new Set<string>();
  let ear: (() => Ear) | undefined;
  broker.on("subscribe", (_subscriptions, client) => {
    if (known.has(client.id)) return;
    known.add(client.id);
    const flight = new Flight();
    ear = arrived({
      send(bytes) {
        const packet = {
          cmd: "publish",
          topic: "down",
          payload: Buffer.from(bytes),
          qos,
          retain: false,
          dup: false,
        } as const;
        broker.publish(packet, flight.landed);
        return flight.start();
      },
      close: () => undefined,
    });
  });
  await new Promise<void>((resolve) =>
    broker.subscribe(
      "up",
      ({ payload }, done) => {
        if (Buffer.isBuffer(payload)) ear?.().hear(payload);
        done();
      },
      resolve,
    ),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

async function serveDialogs(
  kind: "memory" | "stored" | "durable",
  arrived: (talker: Talker) => () => Ear,
): Promise<number> {
  const folder = mkdtempSync(join(process.env["HOLDFAST_BENCH_DIR"] ?? tmpdir(), "holdfast-bench-"));
  const store = kind === "memory" ? memory() : lmdb({ path: join(folder, "store") });
  const kernel = createKernel({ store, onFault: console.error });
  await kernel.start();
  const dialogs = createDialogs({
    kernel,
    authenticate: ({ authorization }) => ({ principal: authorization }),
    credit: { messages: 16_384, bytes: 4_194_304 },
    holdMs: 600_000,
    onFault: console.error,
    ...(kind !== "memory" && { log: embeddedLog({ path: join(folder, "log") }), durability: kind }),
  });
  dialogs.on("open", (dialog) => void listen(dialog, arrived(overDialog(dialog))));
  const http = createServer();
  dialogs.attach(http, "/dialog");
  return listening(http);
}

async function listen(dialog: Dialog, ear: () => Ear): Promise<void> {
  for await (const message of dialog) {
    ear().hear(message.bytes);
    message.commit().catch(() => undefined);
  }
}

function overDialog(dialog: Dialog): Talker {
  return { send: (bytes) => dialog.send(bytes, { until: "memory" }), close: () => dialog.abort() };
}

function overWs(socket: WebSocket): Talker {
  return {
    send(bytes) {
      if (socket.bufferedAmount >= 1_048_576) return new Promise((resolve) => socket.send(bytes, resolve));
      socket.send(bytes);
      return undefined;
    },
    close: () => socket.close(),
  };
}

/** At most a thousand messages on their way. */
class Flight {
  #count = 0;
  #waiting: (() => void) | undefined;

  start(): Promise<void> | undefined {
    return ++this.#count < 1000 ? undefined : new Promise((resolve) => (this.#waiting = resolve));
  }

  readonly landed = (): void => {
    this.#count--;
    this.#waiting?.();
    this.#waiting = undefined;
  };
}

function breath(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function listening(http: Server): Promise<number> {
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return (http.address() as AddressInfo).port;
}
