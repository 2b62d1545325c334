import net from "node:net";
import { inTurn, median, medianRatio, printTable, rounded } from "./harness.ts";
import type { Peer } from "./socks/peers.ts";
import { cpuSeconds, residentKib, startDanted, startMicrosocks, startNode } from "./socks/peers.ts";

interface Figures {
  /** CPU µs of the proxy for a connection, a small exchange and its end. */
  connUs: number[];
  /** Connections a second. */
  rate: number[];
  /** CPU seconds of the proxy for 10^9 bytes, half of them each way. */
  gbCpu: number[];
  gbPerSecond: number[];
  idleKib: number | null;
}

/**
 * Relaying through us, beside a bare Node pipe, the same pipe behind the least SOCKS5 handshake, microsocks and danted,
 * interleaved round by round.
 */
export default async function socks(options: { rounds?: number } = {}): Promise<Record<string, unknown>> {
  const rounds = options.rounds ?? 4;
  const echo = await startNode("echo");
  const started = [
    await startNode("pipe", String(echo.port)),
    await startNode("minimal"),
    await startNode("holdfast"),
  ];
  const others = [await startMicrosocks(), await startDanted()];
  const peers: Peer[] = [...started, ...others.filter((peer) => peer !== undefined)];
  const figures = new Map<string, Figures>();
  for (const peer of peers) {
    figures.set(peer.name, { connUs: [], rate: [], gbCpu: [], gbPerSecond: [], idleKib: null });
  }
  try {
    // Compiling what runs often is not what a connection costs.
    for (const peer of peers) await connections(peer, echo.port, started.includes(peer) ? WARM_UP : 100);
    for (let round = 0; round < rounds; round++) {
      for (const peer of inTurn(peers, round)) {
        const into = figures.get(peer.name);
        if (into === undefined) continue;
        const small = await measured(peer, () => connections(peer, echo.port, CONNECTIONS));
        into.connUs.push((small.cpu * 1e6) / CONNECTIONS);
        into.rate.push(CONNECTIONS / small.seconds);
        const large = await measured(peer, () => stream(peer, echo.port, STREAM_BYTES));
        into.gbCpu.push((large.cpu * 1e9) / (2 * STREAM_BYTES));
        into.gbPerSecond.push((2 * STREAM_BYTES) / 1e9 / large.seconds);
      }
    }
    for (const peer of peers) {
      const into = figures.get(peer.name);
      if (into !== undefined && peer.name !== "danted") into.idleKib = await idle(peer, echo.port);
    }
  } finally {
    await Promise.all([...peers, echo].map((peer) => peer.stop()));
  }
  return report(figures);
}

function report(figures: ReadonlyMap<string, Figures>): Record<string, unknown> {
  printTable([
    ["server", "µs CPU/connection", "connections/s", "CPU s/GB", "GB/s", "KiB/idle session"],
    ...[...figures].map(([name, one]) => [
      name,
      rounded(median(one.connUs), 0),
      rounded(median(one.rate), 0),
      rounded(median(one.gbCpu)),
      rounded(median(one.gbPerSecond)),
      one.idleKib === null ? null : rounded(one.idleKib, 1),
    ]),
  ]);
  const ours = figures.get("holdfast");
  const ratio = (name: string, key: "connUs" | "gbCpu" | "rate"): number | null => {
    const theirs = figures.get(name);
    return ours === undefined || theirs === undefined
      ? null
      : rounded(medianRatio(ours[key], theirs[key]), 3);
  };
  return {
    conn_cpu_ratio: ratio("pipe", "connUs"),
    gb_cpu_ratio: ratio("pipe", "gbCpu"),
    rate_ratio: ratio("pipe", "rate"),
    handshake_conn_cpu_ratio: ratio("minimal", "connUs"),
    handshake_rate_ratio: ratio("minimal", "rate"),
    idle_kib: rounded(ours?.idleKib ?? Number.NaN, 1),
    microsocks_conn_cpu_ratio: ratio("microsocks", "connUs"),
    microsocks_gb_cpu_ratio: ratio("microsocks", "gbCpu"),
    danted_conn_cpu_ratio: ratio("danted", "connUs"),
    danted_gb_cpu_ratio: ratio("danted", "gbCpu"),
  };
}

async function measured(peer: Peer, work: () => Promise<void>): Promise<{ cpu: number; seconds: number }> {
  const cpu = cpuSeconds(peer.pid);
  const from = performance.now();
  await work();
  return { cpu: cpuSeconds(peer.pid) - cpu, seconds: (performance.now() - from) / 1_000 };
}

/** `count` connections, a few at a time: connect, four bytes there and back, close. */
async function connections(peer: Peer, to: number, count: number): Promise<void> {
  let left = count;
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const socket = await through(peer, to);
      await new Promise<void>((resolve, reject) => {
        socket.on("error", reject);
        socket.once("data", () => socket.end());
        socket.on("close", () => resolve());
        socket.resume();
        socket.write("ping");
      });
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
}

/** So many bytes down, then so many up, on one connection each. */
async function stream(peer: Peer, to: number, bytes: number): Promise<void> {
  const down = await through(peer, to);
  let seen = 0;
  await new Promise<void>((resolve, reject) => {
    down.on("error", reject);
    down.on("data", (chunk: Buffer) => (seen += chunk.length));
    down.on("end", () => {
      down.end();
      if (seen === bytes) resolve();
      else reject(new Error(`${peer.name}: ${seen} of ${bytes} bytes came`));
    });
    down.write(`G${bytes}`);
  });
  const up = await through(peer, to);
  const block = Buffer.alloc(262_144, 0x53);
  await new Promise<void>((resolve, reject) => {
    up.on("error", reject);
    up.on("end", () => resolve());
    up.resume();
    let left = bytes;
    const more = (): void => {
      while (left > 0) {
        left -= block.length;
        if (!up.write(block)) {
          up.once("drain", more);
          return;
        }
      }
      up.end();
    };
    more();
  });
}

/** Memory of one session in which nothing happens. */
async function idle(peer: Peer, to: number): Promise<number> {
  const before = await settled(peer);
  const sockets: net.Socket[] = [];
  for (let made = 0; made < IDLE_SESSIONS; made += 50) {
    sockets.push(...(await Promise.all(Array.from({ length: 50 }, () => through(peer, to)))));
  }
  const after = await settled(peer);
  for (const socket of sockets) socket.destroy();
  return (after - before) / IDLE_SESSIONS;
}

async function settled(peer: Peer): Promise<number> {
  await peer.collectGarbage();
  await new Promise((resolve) => setTimeout(resolve, 300));
  await peer.collectGarbage();
  return residentKib(peer.pid);
}

/** A connection to the echo server through `peer`. The client is as small as it can be: it is not what is measured. */
function through(peer: Peer, to: number): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port: peer.port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    socket.once("error", reject);
    if (!peer.socks) {
      socket.once("connect", () => resolve(socket));
      return;
    }
    socket.once("connect", () => socket.write(Buffer.from([5, 1, 0])));
    let got = 0;
    const heard = (chunk: Buffer): void => {
      got += chunk.length;
      if (got === 2) socket.write(Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, to >> 8, to & 255]));
      if (got < 12) return;
      socket.off("data", heard);
      resolve(socket);
    };
    socket.on("data", heard);
  });
}

const WARM_UP = 3_000;
const CONNECTIONS = 1_000;
const STREAM_BYTES = 128 * 1024 * 1024;
const IDLE_SESSIONS = 2_000;
