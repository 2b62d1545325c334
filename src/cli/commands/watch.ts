import type { TimelineEntry } from "../../console/index.ts";
import { Client, CONNECTION, CONNECTION_HELP } from "../client.ts";
import type { Command, Terminal } from "../command.ts";
import { CommandError, EXIT, textOf } from "../command.ts";
import { clockTime, painter, safe } from "../text.ts";

export const watch: Command = {
  name: "watch",
  summary: "what happens, as it happens, until interrupted",
  usage: "[options]",
  options: {
    ...CONNECTION,
    principal: { type: "string", short: "p" },
    mechanism: { type: "string", short: "m" },
  },
  help: `
  -p, --principal WHO  -m, --mechanism NAME
                 only those${CONNECTION_HELP.replace("answer in JSON", "one JSON object a line")}`,
  async run(values, _words, terminal) {
    const client = new Client(values, terminal);
    let last: string | undefined;
    for (let attempt = 0; !terminal.signal.aborted; attempt++) {
      try {
        for await (const { id, event, data } of client.feed(last)) {
          attempt = 0;
          last = id ?? last;
          if (event === "gap") terminal.error("some of what happened was missed\n");
          if (event === "feed" && (data as { live: boolean }).live === false)
            terminal.error("the gateway itself has lost its feed\n");
          if (event === "entries")
            for (const entry of data as TimelineEntry[]) print(entry, values, terminal);
        }
      } catch (error) {
        if (terminal.signal.aborted) break;
        // The first connection must work; later ones may wait for a gateway that is being restarted.
        if (last === undefined && attempt === 0) throw error;
        if (error instanceof CommandError && error.exit !== EXIT.unreachable) throw error;
      }
      if (!terminal.signal.aborted)
        await new Promise((resolve) => setTimeout(resolve, Math.min(5_000, 250 * 2 ** Math.min(attempt, 5))));
    }
    return EXIT.done;
  },
};

function print(entry: TimelineEntry, values: Readonly<Record<string, unknown>>, terminal: Terminal): void {
  const [principal, mechanism] = [textOf(values as never, "principal"), textOf(values as never, "mechanism")];
  if (principal !== undefined && entry.principal !== principal) return;
  if (mechanism !== undefined && entry.mechanism !== mechanism) return;
  if (values["json"] === true) {
    terminal.out(`${JSON.stringify(entry)}\n`);
    return;
  }
  const paint = painter(terminal);
  const detail = Object.entries(entry.detail ?? {}).map(
    ([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  const who = `${(entry.mechanism ?? "–").padEnd(9)} ${safe(entry.principal ?? "–").padEnd(16)} ${entry.handle ?? "–".padEnd(20)}`;
  terminal.out(
    `${paint("dim", clockTime(entry.at))}  ${paint("bold", entry.event.padEnd(20))} ${who}  ${safe(detail.join("  "))}\n`,
  );
}
