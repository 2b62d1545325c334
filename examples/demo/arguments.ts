import { parseArgs } from "node:util";

export interface Arguments {
  readonly port: number;
  readonly data: string;
}

/** Reads the command line of a demo, or says what is wrong with it and leaves. */
export function readArguments(what: string): Arguments {
  const usage = `Usage: script/server [--port N] [--data DIR]\n\n${what}\n`;
  try {
    const { values } = parseArgs({
      options: {
        port: { type: "string", default: "8080" },
        data: { type: "string", default: "data" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) {
      process.stdout.write(usage);
      process.exit(0);
    }
    const port = Number(values.port);
    if (Number.isInteger(port) && port >= 0 && port <= 65_535) return { port, data: values.data };
    process.stderr.write(`--port takes a number from 0 to 65535; it is "${values.port}".\n`);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
  }
  process.exit(2);
}
