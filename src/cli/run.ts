import { parseArgs } from "node:util";
import type { Command, Terminal } from "./command.ts";
import { CommandError, EXIT } from "./command.ts";
import { nearest } from "../gateway/nearest.ts";

/** Runs one command line. Returns the exit code and never throws for what a person typed. */
export async function run(
  commands: readonly Command[],
  args: readonly string[],
  version: string,
  terminal: Terminal,
): Promise<number> {
  const [name, ...rest] = args;
  if (name === "--version" || name === "-v") {
    terminal.out(`holdfast ${version}\n`);
    return EXIT.done;
  }
  const asked = name === "help" ? rest[0] : name;
  const command = commands.find((one) => one.name === asked);
  if (command === undefined) {
    if (asked === undefined || asked === "--help" || asked === "-h") {
      terminal.out(overview(commands));
      return asked === undefined && name === undefined ? EXIT.usage : EXIT.done;
    }
    const near = nearest(
      asked,
      commands.map((one) => one.name),
    );
    terminal.error(
      `There is no command "${asked}".${near === undefined ? "" : ` Did you mean "${near}"?`} "holdfast --help" lists them.\n`,
    );
    return EXIT.usage;
  }
  if (name === "help" || rest.includes("--help") || rest.includes("-h")) {
    terminal.out(
      `Usage: holdfast ${command.name} ${command.usage}\n\n${capital(command.summary)}.\n${command.help}\n`,
    );
    return EXIT.done;
  }
  try {
    const { values, positionals } = parseArgs({
      args: rest,
      options: command.options,
      allowPositionals: true,
    });
    return await command.run(values, positionals, terminal);
  } catch (error) {
    if (error instanceof CommandError) {
      terminal.error(`${error.message}\n`);
      return error.exit;
    }
    if (terminal.signal.aborted) return EXIT.done;
    if (error instanceof TypeError && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS")) {
      terminal.error(
        `${error.message.split(". To specify")[0]}. "holdfast ${command.name} --help" lists the options.\n`,
      );
      return EXIT.usage;
    }
    terminal.error(`${error instanceof Error ? error.message : String(error)}\n`);
    return EXIT.failed;
  }
}

function overview(commands: readonly Command[]): string {
  const width = Math.max(...commands.map((command) => command.name.length));
  return `Usage: holdfast COMMAND [options]

Sessions of every kind: see them, end them, prove that they ended.

${commands.map((command) => `  ${command.name.padEnd(width)}  ${command.summary}`).join("\n")}

"holdfast COMMAND --help" tells more. Exit codes: 0 done, 1 failed, 2 called wrongly, 3 no such thing,
4 the gateway cannot be reached or does not know you, 5 revoked but not every connection is proved closed,
6 inspected, and something is to be mended, 7 a transfer is paused, and the same command goes on, 8 the bytes are not
those they should be.
`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
