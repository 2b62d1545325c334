import { existsSync, writeFileSync } from "node:fs";
import type { Config, Gateway } from "../../gateway/index.ts";
import type { Command, Values } from "../command.ts";
import { CommandError, EXIT, textOf } from "../command.ts";
import { version } from "../version.ts";

const FILE = "holdfast.yaml";

export const up: Command = {
  name: "up",
  summary: "run the gateway until it is stopped",
  usage: "[--config FILE] [--data DIR]",
  options: { config: { type: "string", short: "c" }, data: { type: "string" } },
  help: `
  -c, --config FILE  its configuration (default: ./${FILE} if there is one, else sensible defaults)
      --data DIR     its data folder, in place of the configuration's
  SIGTERM and SIGINT drain and stop; SIGHUP reads certificates and the TLS secret's file again.`,
  async run(values, _words, terminal) {
    const { up: start } = await gatewayRoom();
    const config = await configOf(values);
    let started: Gateway | undefined;
    // Before anybody is told that it is ready: without a handler, SIGHUP ends the process.
    const reload = (): void => started?.reload();
    process.on("SIGHUP", reload);
    const gateway = await start(config, { version: version() });
    started = gateway;
    for (const { name, address, also = [] } of gateway.listeners)
      terminal.out(`${name}: ${[address, ...also].join(" ")}\n`);
    terminal.out(
      `console: ${gateway.adminOrigin}\nsign in once: ${await gateway.signInLink()}\nready ${gateway.adminOrigin}\n`,
    );
    await new Promise<void>((resolve) => {
      if (terminal.signal.aborted) resolve();
      terminal.signal.addEventListener("abort", () => resolve());
    });
    process.off("SIGHUP", reload);
    await gateway.close();
    return EXIT.done;
  },
};

export const init: Command = {
  name: "init",
  summary: "write a commented configuration to begin with",
  usage: `[FILE]`,
  options: { force: { type: "boolean" } },
  help: `
  FILE         where to (default: ${FILE})
      --force  over one that is there`,
  async run(values, [file = FILE], terminal) {
    const { sampleConfig } = await gatewayRoom();
    try {
      writeFileSync(file, sampleConfig, { flag: values["force"] === true ? "w" : "wx" });
    } catch (error) {
      const there = (error as NodeJS.ErrnoException).code === "EEXIST";
      throw new CommandError(
        there ? `${file} is there already; --force writes over it.` : String(error),
        EXIT.failed,
      );
    }
    terminal.out(`${file} written; "holdfast up --config ${file}" starts it\n`);
    return EXIT.done;
  },
};

/** The configuration that `--config` and `--data` name. */
export async function configOf(values: Values): Promise<Config> {
  const { readConfig } = await gatewayRoom();
  const file = textOf(values, "config") ?? (existsSync(FILE) ? FILE : undefined);
  const read: Config = file === undefined ? {} : readConfig(file);
  const data = textOf(values, "data");
  return { ...read, ...(data !== undefined && { data }) };
}

/** Loaded by the commands that need it: the others should answer at once. */
export function gatewayRoom(): Promise<typeof import("../../gateway/index.ts")> {
  return import("../../gateway/index.ts");
}
