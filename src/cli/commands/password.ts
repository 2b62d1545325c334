import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { hashPassword } from "../../mechanisms/socks/index.ts";
import type { Command } from "../command.ts";
import { CommandError, EXIT } from "../command.ts";

export const password: Command = {
  name: "password",
  summary: "make of a password what may stand in a configuration",
  usage: "< FILE",
  options: {},
  help: `
  Reads one line from standard input, which is not shown on a terminal, and prints its hash (scrypt, salted) for a
  user of a listener. It is never an argument: those stand in the list of processes.`,
  async run(_values, _words, terminal) {
    const typed = await firstLine(terminal.isTerminal ? () => terminal.error("Password: ") : () => {});
    if (typed === "") throw new CommandError("A password has at least one character.");
    if (terminal.isTerminal) terminal.error("\n");
    terminal.out(`${await hashPassword(typed)}\n`);
    return EXIT.done;
  },
};

/** What is typed is echoed by readline, so it gets nowhere to echo it to. */
async function firstLine(ask: () => void): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({
    input: process.stdin,
    output: nowhere,
    terminal: process.stdin.isTTY,
  });
  ask();
  try {
    for await (const line of lines) return line;
    return "";
  } finally {
    lines.close();
  }
}
