import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { putFile } from "../../mechanisms/transfer/client/files.ts";
import type { Command } from "../command.ts";
import { CommandError, EXIT, textOf } from "../command.ts";
import { size, TransferProgress } from "../progress.ts";
import { attemptsOf, exitOf, requestOf, TRANSFER, TRANSFER_HELP } from "../transfer.ts";

export const put: Command = {
  name: "put",
  summary: "upload a file, or go on with it where an earlier run stopped",
  usage: "FILE URL [options]",
  options: {
    ...TRANSFER,
    name: { type: "string" },
    state: { type: "string" },
    "chunk-bytes": { type: "string" },
  },
  help: `
  FILE                 what to upload
  URL                  where uploads are made, such as http://127.0.0.1:7090/files (any tus 1.0 server)
      --name NAME      what the server is told the file is called
      --state FILE     where to remember how to go on (default: beside FILE, ending in .holdfast-put)
      --chunk-bytes N  most bytes of one request (default: 8388608)${TRANSFER_HELP}`,
  async run(values, words, terminal) {
    const [file, address, ...more] = words;
    if (file === undefined || address === undefined || more.length > 0)
      throw new CommandError("Name one file, and the address that uploads are made at.");
    const { url, headers } = requestOf(address, values, terminal);
    await assertFile(file);
    const shown = basename(file);
    const [name, statePath] = [textOf(values, "name"), textOf(values, "state")];
    const progress = new TransferProgress(terminal, shown, { quiet: values["quiet"] === true });
    return exitOf(progress, shown, async () => {
      const done = await putFile(file, url, {
        headers,
        signal: terminal.signal,
        onProgress: ({ acknowledged, total, restarted }) => progress.show(acknowledged, total, restarted),
        onRetry: (why, inMs) => progress.waiting(why.message, inMs),
        ...attemptsOf(values),
        ...chunkOf(textOf(values, "chunk-bytes")),
        ...(name !== undefined && { metadata: { filename: name } }),
        ...(statePath !== undefined && { statePath }),
      });
      progress.end();
      const sha256 = Buffer.from(done.sha256).toString("hex");
      const { bytes, verified, sentBytes } = done;
      terminal.out(
        values["json"] === true
          ? `${JSON.stringify({ url: done.url, bytes, sentBytes, sha256, verified })}\n`
          : `${done.url}\n${size(bytes)}, sha-256 ${sha256}${verified ? ", which the server has too" : ""}\n`,
      );
    });
  },
};

async function assertFile(file: string): Promise<void> {
  const found = await stat(file).catch((error: unknown) => {
    throw new CommandError(`${file} cannot be read: ${String(error)}`, EXIT.notFound);
  });
  if (!found.isFile()) throw new CommandError(`${file} is not a file.`, EXIT.notFound);
}

function chunkOf(text: string | undefined): { readonly chunkBytes?: number } {
  if (text === undefined) return {};
  const chunkBytes = Number(text);
  if (!Number.isSafeInteger(chunkBytes) || chunkBytes < 1)
    throw new CommandError(`--chunk-bytes takes a whole number above 0; it is "${text}".`);
  return { chunkBytes };
}
