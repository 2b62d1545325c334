import type { TimelineEntry } from "../../console/index.ts";
import { Client, CONNECTION, CONNECTION_HELP } from "../client.ts";
import type { Command, Terminal } from "../command.ts";
import { EXIT } from "../command.ts";
import type { Colour } from "../text.ts";
import { clockTime, painter, safe, span } from "../text.ts";
import { fetchDetail } from "./show.ts";

export const trace: Command = {
  name: "trace",
  summary: "a session's life, step by step, as a ladder",
  usage: "HANDLE [options]",
  options: CONNECTION,
  help: CONNECTION_HELP,
  async run(values, words, terminal) {
    const { session, timeline } = await fetchDetail(new Client(values, terminal), words);
    if (values["json"] === true) terminal.out(`${JSON.stringify(timeline, undefined, 2)}\n`);
    else {
      terminal.out(`${session.handle}  ${session.mechanism}  ${safe(session.principal ?? "nobody")}\n\n`);
      terminal.out(ladder(timeline, terminal));
    }
    return EXIT.done;
  },
};

/** One rung an entry; the rail is thick while a transport carries the session, thin while it is suspended, open after the end. */
function ladder(timeline: readonly TimelineEntry[], terminal: Terminal): string {
  const paint = painter(terminal);
  let rail = " ";
  let before: TimelineEntry | undefined;
  let text = "";
  for (const entry of timeline) {
    const gapMs = before === undefined ? 0 : entry.at - before.at;
    if (gapMs >= LONG_MS) text += `${" ".repeat(14)}${rail}  ${paint("dim", span(gapMs))}\n`;
    const mark = MARKS[entry.event] ?? "●";
    const phase = entry.phase === before?.phase ? "" : entry.phase;
    const event = paint(COLOURS[entry.event] ?? "bold", entry.event.padEnd(20));
    text += `${clockTime(entry.at)}  ${mark}  ${event}${paint("dim", phase.padEnd(21))}${safe(detailOf(entry))}\n`;
    rail = RAILS[entry.event] ?? rail;
    before = entry;
  }
  return text === "" ? "its timeline has been forgotten\n" : text;
}

function detailOf({ node, by, detail = {} }: TimelineEntry): string {
  const said = Object.entries(detail).map(
    ([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  return [
    ...said,
    ...(by === undefined ? [] : [`by ${by}`]),
    ...(node === undefined ? [] : [`on ${node}`]),
  ].join("  ");
}

const LONG_MS = 1000;
const MARKS: Readonly<Record<string, string>> = {
  begin: "○",
  establish: "┳",
  suspend: "┷",
  resume: "┿",
  end: "┻",
  "late-use": "✗",
  reuse: "✗",
  checkpoint: "◆",
  touch: "·",
};
const RAILS: Readonly<Record<string, string>> = {
  begin: "┊",
  establish: "┃",
  resume: "┃",
  suspend: "┊",
  end: " ",
};
const COLOURS: Readonly<Record<string, Colour>> = {
  establish: "green",
  resume: "green",
  suspend: "yellow",
  end: "red",
  "late-use": "red",
  reuse: "red",
  checkpoint: "cyan",
};
