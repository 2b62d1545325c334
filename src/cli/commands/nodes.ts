import type { NodeRow } from "../../console/index.ts";
import { Client, CONNECTION, CONNECTION_HELP } from "../client.ts";
import type { Command } from "../command.ts";
import { EXIT } from "../command.ts";
import { ago, painter, safe, table } from "../text.ts";

export const nodes: Command = {
  name: "nodes",
  summary: "the processes that share the store",
  usage: "[options]",
  options: CONNECTION,
  help: CONNECTION_HELP,
  async run(values, _words, terminal) {
    const { nodes: rows } = await new Client(values, terminal).get<{ nodes: NodeRow[] }>("/api/nodes");
    const paint = painter(terminal);
    if (values["json"] === true) terminal.out(`${JSON.stringify(rows, undefined, 2)}\n`);
    else {
      const about = (row: NodeRow): string =>
        Object.entries(row.about)
          .map(([name, value]) => `${name}=${value}`)
          .join(" ");
      terminal.out(
        table(
          ["NODE", "STATE", "UP", "ABOUT"],
          rows.map((row) => [
            safe(row.id),
            row.alive ? paint("green", "alive") : paint("dim", "gone"),
            ago(row.startedAt, Date.now()),
            safe(about(row)),
          ]),
          terminal,
        ),
      );
    }
    return EXIT.done;
  },
};
