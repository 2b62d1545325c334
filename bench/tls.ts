import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inTurn, median, medianRatio, printTable, rounded } from "./harness.ts";
import type { Version } from "./tls/client.ts";
import { Client } from "./tls/client.ts";
import type { OurKind, Peer } from "./tls/peers.ts";
import { cpuSeconds, makeCertificate, startHaproxy, startNginx, startNode } from "./tls/peers.ts";

interface Figures {
  /** CPU µs of the server for one connection, from the handshake to its end. */
  readonly us: number[];
  readonly perSecond: number[];
  resumed: number;
  made: number;
}

/** Handshakes against a server without resumption, Node's own tickets, ours in both modes, nginx and HAProxy, round by round. */
export default async function tls(options: { rounds?: number } = {}): Promise<Record<string, unknown>> {
  const rounds = options.rounds ?? 7;
  const place = mkdtempSync(join(tmpdir(), "holdfast-bench-tls-"));
  makeCertificate(place);
  const peers: Peer[] = [];
  try {
    for (const kind of ["full", "stock", ...OURS] as const) peers.push(await startNode(kind, place));
    for (const other of [await startNginx(place), await startHaproxy(place)])
      if (other !== undefined) peers.push(other);
    const sides = VERSIONS.flatMap((version) => peers.map((peer) => sideOf(peer, version)));
    // Compiling what runs often is not what a handshake costs.
    for (const side of sides) await visits(side, WARM_UP);
    for (let round = 0; round < rounds; round++) {
      for (const side of inTurn(sides, round)) await measure(side);
    }
    const shares = [await shareOf("ticket shared", place), await shareOf("cache shared", place)];
    return report(sides, Math.min(...shares));
  } finally {
    await Promise.all(peers.map((peer) => peer.stop()));
    rmSync(place, { recursive: true, force: true });
  }
}

/** One server in one version of TLS, with the clients that visit it. */
interface Side {
  readonly peer: Peer;
  readonly version: Version;
  readonly clients: readonly Client[];
  readonly figures: Figures;
}

function sideOf(peer: Peer, version: Version): Side {
  const clients = Array.from({ length: AT_ONCE }, () => new Client(version, peer.name !== "full"));
  return { peer, version, clients, figures: { us: [], perSecond: [], resumed: 0, made: 0 } };
}

async function measure(side: Side): Promise<void> {
  const { figures, peer, clients } = side;
  const before = { cpu: cpuSeconds(peer.pid), at: performance.now(), ...totalOf(clients) };
  await visits(side, CONNECTIONS);
  const seconds = (performance.now() - before.at) / 1000;
  figures.us.push(((cpuSeconds(peer.pid) - before.cpu) * 1e6) / CONNECTIONS);
  figures.perSecond.push(CONNECTIONS / seconds);
  const after = totalOf(clients);
  figures.resumed += after.resumed - before.resumed;
  figures.made += after.made - before.made;
}

async function visits({ peer, clients }: Side, count: number): Promise<void> {
  let left = count;
  const worker = async (client: Client): Promise<void> => {
    while (left-- > 0) await client.visit(peer.port);
  };
  await Promise.all(clients.map(worker));
}

function totalOf(clients: readonly Client[]): { resumed: number; made: number } {
  const sum = (key: "resumed" | "made"): number => clients.reduce((all, client) => all + client[key], 0);
  return { resumed: sum("resumed"), made: sum("made") };
}

/** What part of the connections that come to three processes in turn resume, the first of each client apart. */
async function shareOf(kind: OurKind, place: string): Promise<number> {
  const peers = [await startNode(kind, place), await startNode(kind, place), await startNode(kind, place)];
  try {
    let [resumed, made] = [0, 0];
    for (const version of VERSIONS) {
      const client = new Client(version, true);
      for (let i = 0; i <= SPREAD_VISITS; i++) await client.visit(peers[i % peers.length]?.port ?? 0);
      resumed += client.resumed;
      made += client.made - 1;
    }
    return resumed / made;
  } finally {
    await Promise.all(peers.map((peer) => peer.stop()));
  }
}

function report(sides: readonly Side[], share: number): Record<string, unknown> {
  printTable([
    ["server", "version", "resumed", "µs CPU/connection", "connections/s"],
    ...sides.map(({ peer, version, figures }) => [
      peer.name,
      version,
      `${rounded((100 * figures.resumed) / figures.made, 1)} %`,
      rounded(median(figures.us), 0),
      rounded(median(figures.perSecond), 0),
    ]),
  ]);
  const of = (name: string, version: Version): Figures | undefined =>
    sides.find((side) => side.peer.name === name && side.version === version)?.figures;
  const ratio = (ours: string, theirs: string, version: Version): number | null => {
    const [one, other] = [of(ours, version), of(theirs, version)];
    return one === undefined || other === undefined ? null : rounded(medianRatio(one.us, other.us), 3);
  };
  const ratios = Object.fromEntries(
    VERSIONS.flatMap((version) =>
      OURS.flatMap((ours) =>
        ["stock", "full", "nginx", "haproxy"].map((other): [string, number | null] => [
          `${ours.replace(" ", "_")}_${version === "TLSv1.2" ? "12" : "13"}_${other}_ratio`,
          ratio(ours, other, version),
        ]),
      ),
    ),
  );
  const worst = (isShared: boolean): number => {
    const named = Object.entries(ratios).filter(
      ([name]) => name.endsWith("_stock_ratio") && name.includes("_shared_") === isShared,
    );
    return Math.max(...named.map(([, value]) => value ?? Number.NaN));
  };
  return {
    cpu_ratio: worst(false),
    shared_cpu_ratio: worst(true),
    resumed_share: rounded(share, 4),
    ...ratios,
  };
}

const OURS = ["ticket", "cache", "ticket shared", "cache shared"] as const;
const VERSIONS = ["TLSv1.2", "TLSv1.3"] as const;
const AT_ONCE = 8;
const WARM_UP = 300;
const CONNECTIONS = 250;
const SPREAD_VISITS = 300;
