import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { getFile } from "../../mechanisms/transfer/client/files.ts";
import type { Command } from "../command.ts";
import { CommandError, EXIT } from "../command.ts";
import { size, TransferProgress } from "../progress.ts";
import { attemptsOf, exitOf, requestOf, TRANSFER, TRANSFER_HELP } from "../transfer.ts";

export const get: Command = {
  name: "get",
  summary: "download a file, or go on with it where an earlier run stopped",
  usage: "URL [FILE] [options]",
  options: { ...TRANSFER, force: { type: "boolean", short: "f" } },
  help: `
  URL                  what to download, from any server
  FILE                 where to (default: the last part of the address)
  -f, --force          over a file that is there
  What has arrived lies beside FILE, ending in .holdfast-part, until all of it is there and its digest is right. If the
  file has changed on the server meanwhile, it starts over: two files are never mixed.
${TRANSFER_HELP}`,
  async run(values, words, terminal) {
    const [address, target, ...more] = words;
    if (address === undefined || more.length > 0)
      throw new CommandError("Name one address, and the file to put it in.");
    const { url, headers } = requestOf(address, values, terminal);
    const file = target ?? nameIn(url);
    if (values["force"] !== true && (await isThere(file)))
      throw new CommandError(`${file} is there already; --force writes over it.`, EXIT.failed);
    const shown = basename(file);
    const progress = new TransferProgress(terminal, shown, { quiet: values["quiet"] === true });
    return exitOf(progress, shown, async () => {
      const done = await getFile(url, file, {
        headers,
        signal: terminal.signal,
        onProgress: ({ received, total, restarted }) => progress.show(received, total, restarted),
        onRetry: (why, inMs) => progress.waiting(why.message, inMs),
        ...attemptsOf(values),
      });
      progress.end();
      const sha256 = Buffer.from(done.sha256).toString("hex");
      const { bytes, verified, receivedBytes } = done;
      terminal.out(
        values["json"] === true
          ? `${JSON.stringify({ file, bytes, receivedBytes, sha256, verified })}\n`
          : `${file}\n${size(bytes)}, sha-256 ${sha256}${verified ? ", as the server told" : ""}\n`,
      );
    });
  },
};

function nameIn(url: string): string {
  const last = new URL(url).pathname.split("/").at(-1) ?? "";
  let name: string;
  try {
    name = decodeURIComponent(last);
  } catch {
    name = last;
  }
  if (name === "" || name === "." || name === ".." || /[/\\\0]/.test(name))
    throw new CommandError("The address ends in no name; say which file to put it in.");
  return name;
}

async function isThere(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}
