import type { SessionDetail, SessionRow } from "../../console/index.ts";
import { Client, CONNECTION, CONNECTION_HELP } from "../client.ts";
import type { Command, Terminal } from "../command.ts";
import { CommandError, EXIT } from "../command.ts";
import { painter, safe, span, stateOf } from "../text.ts";
import { progressOf, sessionTable } from "./sessions.ts";

export const show: Command = {
  name: "show",
  summary: "one session: who, where, since when, until when, what it holds",
  usage: "HANDLE [options]",
  options: CONNECTION,
  help: CONNECTION_HELP,
  async run(values, words, terminal) {
    const detail = await fetchDetail(new Client(values, terminal), words);
    if (values["json"] === true) terminal.out(`${JSON.stringify(detail, undefined, 2)}\n`);
    else print(detail, terminal);
    return EXIT.done;
  },
};

export async function fetchDetail(client: Client, words: readonly string[]): Promise<SessionDetail> {
  const [handle, ...more] = words;
  if (handle === undefined || more.length > 0) throw new CommandError("Name one session by its handle.");
  return client.get<SessionDetail>(`/api/sessions/${encodeURIComponent(handle)}`);
}

function print({ session, data, children }: SessionDetail, terminal: Terminal): void {
  const paint = painter(terminal);
  for (const [name, value] of members(session, terminal))
    terminal.out(`${paint("dim", name.padEnd(12))}${value}\n`);
  if (data !== null)
    terminal.out(
      `${paint("dim", "data")}\n${safe(JSON.stringify(data, undefined, 2)).replaceAll("�", "\n")}\n`,
    );
  if (children.length > 0)
    terminal.out(`\n${paint("dim", "opened under it")}\n${sessionTable(children, terminal)}`);
}

function members(row: SessionRow, terminal: Terminal): [string, string][] {
  const now = Date.now();
  const rows: [string, string | undefined][] = [
    ["handle", row.handle],
    ["mechanism", `${row.mechanism}, ${row.mode}`],
    ["state", stateOf(row, terminal) + (row.ended?.by === undefined ? "" : ` by ${safe(row.ended.by)}`)],
    ["principal", row.principal],
    ["roles", row.roles?.join(", ")],
    ["tenant", row.tenant],
    ["what", row.label],
    ["from", row.peer.address],
    ["agent", row.peer.agent],
    ["device", row.peer.device],
    ["node", row.node],
    ["parent", row.parent],
    ["created", `${new Date(row.createdAt).toISOString()} (${span(now - row.createdAt)} ago)`],
    ["used", `${span(now - row.touchedAt)} ago`],
    ["idle limit", until(row.idleAt, now)],
    ["ends", until(row.absoluteAt, now)],
    ["resumable", until(row.suspendUntil, now)],
    ["checkpoint", progressOf(row)],
  ];
  return rows.flatMap(([name, value]): [string, string][] =>
    value === undefined ? [] : [[name, name === "state" ? value : safe(value)]],
  );
}

function until(at: number | undefined, now: number): string | undefined {
  if (at === undefined) return undefined;
  return at <= now ? "reached" : `in ${span(at - now)}`;
}
