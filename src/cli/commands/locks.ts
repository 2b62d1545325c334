import type { LockRow, RevocationAnswer } from "../../console/index.ts";
import { Client, CONNECTION, CONNECTION_HELP } from "../client.ts";
import type { Command } from "../command.ts";
import { CommandError, EXIT, textOf } from "../command.ts";
import { describe, SELECTION, SELECTION_HELP, selectorOf } from "../selection.ts";
import { safe, span, table } from "../text.ts";
import { report } from "./revoke.ts";

export const lock: Command = {
  name: "lock",
  summary: "refuse new sessions and end the live ones, until lifted",
  usage: "--principal WHO | ... --reason WHY [--for 2h] [options]",
  options: { ...CONNECTION, ...SELECTION, reason: { type: "string", short: "r" }, for: { type: "string" } },
  help: `${SELECTION_HELP}
  -r, --reason WHY     shown to whoever is refused, and journalled; required
      --for SPAN       lifts itself after 30m, 2h, 7d, …${CONNECTION_HELP}`,
  async run(values, words, terminal) {
    const reason = textOf(values, "reason");
    if (reason === undefined) throw new CommandError("Say why with --reason; whoever is refused sees it.");
    const lasting = textOf(values, "for");
    const until = lasting === undefined ? {} : { until: Date.now() + spanOf(lasting) };
    const client = new Client(values, terminal);
    const body = { selector: selectorOf(values, words), reason, ...until };
    const made = await client.post<{ lock: LockRow; revocation: RevocationAnswer }>("/api/locks", body);
    if (values["json"] !== true) terminal.out(`locked ${describe(made.lock.selector)}: ${made.lock.id}\n`);
    return report(client, made.revocation, values["json"] === true, terminal);
  },
};

export const unlock: Command = {
  name: "unlock",
  summary: "lift a lock",
  usage: "ID [options]",
  options: CONNECTION,
  help: `\n  ID             from "holdfast locks"${CONNECTION_HELP}`,
  async run(values, words, terminal) {
    const [id, ...more] = words;
    if (id === undefined || more.length > 0)
      throw new CommandError('Name one lock by its id; "holdfast locks" lists them.');
    const answer = await new Client(values, terminal).delete<object>(`/api/locks/${encodeURIComponent(id)}`);
    terminal.out(values["json"] === true ? `${JSON.stringify(answer)}\n` : `lifted ${id}\n`);
    return EXIT.done;
  },
};

export const locks: Command = {
  name: "locks",
  summary: "list the locks that stand",
  usage: "[options]",
  options: CONNECTION,
  help: CONNECTION_HELP,
  async run(values, _words, terminal) {
    const { locks: rows } = await new Client(values, terminal).get<{ locks: LockRow[] }>("/api/locks");
    const now = Date.now();
    if (values["json"] === true) terminal.out(`${JSON.stringify(rows, undefined, 2)}\n`);
    else if (rows.length === 0) terminal.out("no locks\n");
    else {
      terminal.out(
        table(
          ["ID", "WHOM", "UNTIL", "BY", "REASON"],
          rows.map((row) => [
            row.id,
            safe(describe(row.selector)),
            row.until === undefined ? "lifted" : `in ${span(row.until - now)}`,
            safe(row.by ?? "–"),
            safe(row.reason),
          ]),
          terminal,
        ),
      );
    }
    return EXIT.done;
  },
};

function spanOf(text: string): number {
  const match = /^(\d+)(s|m|h|d)$/.exec(text);
  const unit = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[match?.[2] ?? ""];
  if (match === null || unit === undefined)
    throw new CommandError(`--for takes a span such as 30m, 2h or 7d; it is "${text}".`);
  return Number(match[1]) * unit;
}
