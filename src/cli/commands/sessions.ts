import type { SessionPage, SessionRow } from "../../console/index.ts";
import { Client, CONNECTION, CONNECTION_HELP } from "../client.ts";
import type { Command, Terminal } from "../command.ts";
import { CommandError, EXIT, textOf } from "../command.ts";
import { size } from "../progress.ts";
import { ago, safe, stateOf, table } from "../text.ts";

export const sessions: Command = {
  name: "sessions",
  summary: "list live sessions, the newest first",
  usage: "[TEXT] [options]",
  options: {
    ...CONNECTION,
    principal: { type: "string", short: "p" },
    mechanism: { type: "string", short: "m" },
    node: { type: "string" },
    state: { type: "string" },
    tenant: { type: "string" },
    parent: { type: "string" },
    limit: { type: "string", short: "n" },
  },
  help: `
  TEXT                 only those with it in handle, principal, label, address or agent
  -p, --principal WHO  -m, --mechanism NAME  --node, --tenant, --parent
      --state STATE    negotiating, established or suspended
  -n, --limit N        at most N (default 50)${CONNECTION_HELP}`,
  async run(values, words, terminal) {
    if (words.length > 1)
      throw new CommandError("One text to look for is enough; quote it if it has spaces.");
    const limit = Number(textOf(values, "limit") ?? 50);
    if (!Number.isInteger(limit) || limit < 1)
      throw new CommandError("--limit takes a whole number above 0.");
    const client = new Client(values, terminal);
    const query = {
      q: words[0],
      ...Object.fromEntries(
        ["principal", "mechanism", "node", "state", "tenant", "parent"].map((name) => [
          name,
          textOf(values, name),
        ]),
      ),
    };
    const rows: SessionRow[] = [];
    let after: string | undefined;
    do {
      const size = String(Math.min(1000, limit - rows.length));
      const page = await client.get<SessionPage>("/api/sessions", { ...query, limit: size, after });
      rows.push(...page.sessions);
      after = page.next;
    } while (after !== undefined && rows.length < limit);
    if (values["json"] === true) terminal.out(`${JSON.stringify(rows, undefined, 2)}\n`);
    else terminal.out(rows.length === 0 ? "no sessions\n" : sessionTable(rows, terminal));
    if (after !== undefined) terminal.error(`there are more: --limit ${limit * 2}\n`);
    return EXIT.done;
  },
};

export function sessionTable(rows: readonly SessionRow[], terminal: Terminal): string {
  const now = Date.now();
  return table(
    ["HANDLE", "MECHANISM", "STATE", "PRINCIPAL", "AGE", "USED", "NODE", "FROM", "WHAT"],
    rows.map((row) => [
      row.handle,
      row.mechanism,
      stateOf(row, terminal),
      safe(row.principal ?? "–"),
      ago(row.createdAt, now),
      ago(row.touchedAt, now),
      row.node ?? "–",
      safe(row.peer.address ?? "–"),
      safe([row.label, progressOf(row)].filter(Boolean).join(" · ") || (row.peer.agent ?? "")),
    ]),
    terminal,
  );
}

/** How far a session is, in its mechanism's own unit: the number of a dialog's sync point, otherwise bytes. */
export function progressOf({ checkpoint, mechanism }: SessionRow): string | undefined {
  if (checkpoint === undefined) return undefined;
  const { position, total } = checkpoint;
  const amount = (count: number): string => (mechanism === "dialog" ? `#${count}` : size(count));
  if (total === undefined) return `at ${amount(position)}`;
  const share = total === 0 ? 100 : Math.floor((position / total) * 100);
  return `${share} %, ${amount(position)} of ${amount(total)}`;
}
