import { spawn } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { missing, run, startSamba, stopChild } from "../test/interop/samba.ts";

const FILE_BYTES = 200_000_000;

/** smbclient's own rates for one file, straight to smbd and through the gateway, interleaved round by round. */
export default async function netbios(options: { rounds?: number } = {}): Promise<Record<string, unknown>> {
  if (missing("smbd", "smbclient") !== undefined) {
    console.log("smbd and smbclient are not installed: nothing to measure against");
    return { throughput_ratio: null };
  }
  const rounds = options.rounds ?? 7;
  const samba = await startSamba();
  const host = `127.${randomInt(100, 200)}.${randomInt(256)}.${randomInt(1, 255)}`;
  const program = new URL("./netbios/gateway.js", import.meta.url).pathname;
  const gateway = spawn(process.execPath, [program, host, String(samba.port)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    await once(gateway.stdout, "data");
    writeFileSync(join(samba.share, "file"), randomBytes(FILE_BYTES));
    const direct = ["-I", "127.0.0.1", "-p", String(samba.port), "//BACKEND1/share"];
    const through = ["-I", host, "-p", "139", "//FILESRV/share"];
    const results = new Map<string, Round[]>();
    for (const protocol of ["SMB3", "NT1"]) {
      const list: Round[] = [];
      for (let round = -1; round < rounds; round++) {
        const measure = async (to: readonly string[]): Promise<Rates> => transfer(protocol, to, samba.share);
        const before = cpuSeconds(gateway.pid ?? 0);
        // Each goes first in turn.
        const first = round % 2 === 0 ? await measure(direct) : undefined;
        const ours = await measure(through);
        const theirs = first ?? (await measure(direct));
        const cpu = (cpuSeconds(gateway.pid ?? 0) - before) / ((2 * FILE_BYTES) / 1e9);
        if (round >= 0) list.push({ ours, theirs, cpu });
      }
      results.set(protocol, list);
    }
    return report(results);
  } finally {
    await stopChild(gateway);
    await samba.stop();
  }
}

interface Rates {
  /** Megabytes a second. */
  readonly get: number;
  readonly put: number;
}

interface Round {
  readonly ours: Rates;
  readonly theirs: Rates;
  /** CPU seconds of the gateway for 10^9 bytes. */
  readonly cpu: number;
}

async function transfer(protocol: string, to: readonly string[], share: string): Promise<Rates> {
  const args = ["-s", "/dev/null", "--option=client min protocol=NT1", "-N", "-m", protocol, ...to];
  const commands = `get file /dev/null; put ${join(share, "file")} copy`;
  const { status, output } = await run("smbclient", [...args, "-c", commands], { timeoutMs: 120_000 });
  const rates = [...output.matchAll(/average ([\d.]+) (?:kb\/s|KiloBytes\/sec)/giu)].map(
    (match) => Number(match[1]) / 1000,
  );
  const [get, put] = rates;
  if (status !== 0 || get === undefined || put === undefined) throw new Error(`smbclient: ${output}`);
  rmSync(join(share, "copy"), { force: true });
  return { get, put };
}

function report(results: ReadonlyMap<string, readonly Round[]>): Record<string, unknown> {
  const figures: Record<string, unknown> = {};
  const rows: Record<string, string | number>[] = [];
  const all: number[] = [];
  for (const [protocol, list] of results) {
    for (const way of ["get", "put"] as const) {
      const ratios = list.map(({ ours, theirs }) => ours[way] / theirs[way]);
      all.push(...ratios);
      const ratio = round(median(ratios));
      figures[`${protocol.toLowerCase()}_${way}_ratio`] = ratio;
      rows.push({
        transfer: `${protocol} ${way}`,
        "direct MB/s": round(median(list.map(({ theirs }) => theirs[way]))),
        "through us MB/s": round(median(list.map(({ ours }) => ours[way]))),
        ratio,
      });
    }
    figures[`${protocol.toLowerCase()}_cpu_s_per_gb`] = round(median(list.map(({ cpu }) => cpu)));
  }
  console.table(rows);
  return { throughput_ratio: round(median(all)), ...figures };
}

/** User and system time so far, from the operating system. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? 0)) / 2;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
