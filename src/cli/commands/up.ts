import { existsSync, writeFileSync } from "node:fs";
import type { Config } from "../../gateway/index.ts";
import type { Command } from "../command.ts";
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
  SIGTERM and SIGINT drain and stop; SIGHUP reads certificates again.`,
  async run(values, _words, terminal) {
    const { readConfig, up: start } = await gatewayRoom();
    const file = textOf(values, "config") ?? (existsSync(FILE) ? FILE : undefined);
    const read: Config = file === undefined ? {} : readConfig(file);
    const data = textOf(values, "data");
    const gateway = await start({ ...read, ...(data !== undefined && { data }) }, { version: version() });
    for (const listener of gateway.listeners) terminal.out(`${listener.name}: ${listener.address}\n`);
    terminal.out(
      `console: ${gateway.adminOrigin}\nsign in once: ${await gateway.signInLink()}\nready ${gateway.adminOrigin}\n`,
    );
    const reload = (): void => gateway.reload();
    process.on("SIGHUP", reload);
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

/** Loaded by the commands that need it: the others should answer at once. */
function gatewayRoom(): Promise<typeof import("../../gateway/index.ts")> {
  return import("../../gateway/index.ts");
}
