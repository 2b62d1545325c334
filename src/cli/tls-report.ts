import type { Spread, TlsInspection, Trial, Way } from "../doctor/tls/index.ts";
import { named, wayName } from "../doctor/tls/index.ts";
import type { Colour } from "./text.ts";
import { painter, safe, table } from "./text.ts";
import type { Terminal } from "./command.ts";

/** An inspection for people: what the server is, what it does in each way to resume, and what that means. */
export function printInspection(seen: TlsInspection, terminal: Terminal): void {
  const paint = painter(terminal);
  const name = seen.servername === undefined ? "" : ` as ${seen.servername}`;
  const lines = [
    `${paint("bold", `${seen.host}:${seen.port}`)}${name}, ${seen.connections} connections to ${seen.addresses.join(", ")}`,
    `${paint("dim", "versions".padEnd(WIDTH))}${seen.versions.map(versionText).join(", ")}`,
    ...(seen.certificate === undefined
      ? []
      : [`${paint("dim", "certificate".padEnd(WIDTH))}${certificateText(seen.certificate)}`]),
  ];
  terminal.out(`${lines.join("\n")}\n\n`);
  if (seen.ways.length > 0) {
    terminal.out(table(["", ...seen.ways.map(wayName)], rowsOf(seen.ways), terminal));
    for (const way of seen.ways) {
      for (const { name: key, seen: count } of way.keyNames ?? [])
        terminal.out(`${paint("dim", `${wayName(way)}, key`)} ${key} on ${count} of ${way.full}\n`);
    }
    terminal.out("\n");
  }
  for (const { weight, text } of seen.findings) {
    const [mark, colour] = MARKS[weight];
    terminal.out(`${paint(colour, mark)} ${safe(text)}\n`);
  }
}

function rowsOf(ways: readonly Way[]): string[][] {
  const row = (title: string, cell: (way: Way) => string): string[] => [title, ...ways.map(cell)];
  return [
    row("given on full handshakes", ({ issued, full }) => `${issued} of ${full}`),
    row("  at a time", ({ perConnection }) => spread(perConnection)),
    row("  bytes", ({ issued, sizeBytes }) => (issued === 0 ? "–" : spread(sizeBytes))),
    row("  seconds to keep it", ({ lifetimeSeconds }) =>
      lifetimeSeconds === undefined ? "–" : spread(lifetimeSeconds),
    ),
    row("  keys' names", ({ beginning, keyNames }) =>
      String(keyNames?.length ?? (beginning === undefined ? "–" : BEGINNINGS[beginning])),
    ),
    row("one session again and again", ({ again }) => trial(again)),
    row("as a browser comes back", ({ browsing }) => trial(browsing)),
    row("  given anew on resumption", ({ browsing }) =>
      browsing.resumed === 0 ? "–" : `${browsing.renewed} of ${browsing.resumed}`,
    ),
  ];
}

function trial({ resumed, of }: Trial): string {
  return of === 0 ? "–" : `${resumed} of ${of} resumed`;
}

function spread({ min, max }: Spread): string {
  return min === max ? String(min) : `${min} to ${max}`;
}

function versionText({ version, offered, cipher }: TlsInspection["versions"][number]): string {
  return offered ? `${named(version)} (${cipher ?? "?"})` : `no ${named(version)}`;
}

function certificateText({ subject, validTo, distrust }: NonNullable<TlsInspection["certificate"]>): string {
  const trust = distrust === undefined ? "trusted here" : `not trusted here (${distrust})`;
  return `${safe(subject)}, until ${validTo.slice(0, 10)}, ${trust}`;
}

const WIDTH = 13;
const BEGINNINGS = { name: "–", random: "not told", reference: "none needed", unknown: "not told" } as const;
const MARKS: Readonly<Record<TlsInspection["findings"][number]["weight"], readonly [string, Colour]>> = {
  good: ["✓", "green"],
  note: ["·", "dim"],
  bad: ["✗", "red"],
};
