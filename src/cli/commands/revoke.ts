import type { PreviewAnswer, ReceiptRow, RevocationAnswer } from "../../console/index.ts";
import { Client, CONNECTION, CONNECTION_HELP } from "../client.ts";
import type { Command, Terminal } from "../command.ts";
import { CommandError, EXIT, textOf } from "../command.ts";
import { describe, SELECTION, SELECTION_HELP, selectorOf } from "../selection.ts";
import { painter, progressBar, safe, table } from "../text.ts";
import { sessionTable } from "./sessions.ts";

export const revoke: Command = {
  name: "revoke",
  summary: "end sessions everywhere, and show the receipts",
  usage: "HANDLE... | --principal WHO | ... --reason WHY [options]",
  options: {
    ...CONNECTION,
    ...SELECTION,
    reason: { type: "string", short: "r" },
    preview: { type: "boolean" },
    yes: { type: "boolean", short: "y" },
  },
  help: `${SELECTION_HELP}
  -r, --reason WHY     journalled with your name; required
      --preview        only say how many, and which
  -y, --yes            needed where more than one session is meant and nobody can be asked${CONNECTION_HELP}`,
  async run(values, words, terminal) {
    const client = new Client(values, terminal);
    const selector = selectorOf(values, words);
    const preview = await client.post<PreviewAnswer>("/api/preview", selector);
    if (values["preview"] === true) {
      if (values["json"] === true) terminal.out(`${JSON.stringify(preview, undefined, 2)}\n`);
      else printPreview(preview, terminal);
      return EXIT.done;
    }
    const reason = textOf(values, "reason");
    if (reason === undefined) throw new CommandError("Say why with --reason; it is journalled.");
    if (preview.count > 1 && values["yes"] !== true) {
      printPreview(preview, terminal);
      throw new CommandError(`${describe(selector)} means ${preview.count} sessions; say --yes to end them.`);
    }
    const made = await client.post<RevocationAnswer>("/api/revocations", { selector, reason });
    return report(client, made, values["json"] === true, terminal);
  },
};

/** Follows a revocation until all its receipts are in, and prints them. */
export async function report(
  client: Client,
  made: RevocationAnswer,
  json: boolean,
  terminal: Terminal,
): Promise<number> {
  const bar = progressBar(terminal, "closing");
  let answer = made;
  for (;;) {
    bar.show(answer.receipts.filter(isOver).length, answer.receipts.length);
    if (answer.settled) break;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    answer = await client.get<RevocationAnswer>(`/api/revocations/${answer.id}`);
  }
  bar.end();
  const failed = answer.receipts.filter((receipt) => receipt.state === "failed").length;
  if (json) terminal.out(`${JSON.stringify(answer, undefined, 2)}\n`);
  else {
    if (answer.receipts.length > 0) terminal.out(receiptTable(answer.receipts, terminal));
    terminal.out(
      `${answer.receipts.length} ended, ${answer.receipts.length - failed} closed${failed === 0 ? "" : `, ${failed} failed`}\n`,
    );
  }
  return failed === 0 ? EXIT.done : EXIT.incomplete;
}

function printPreview({ count, byMechanism, sample }: PreviewAnswer, terminal: Terminal): void {
  const kinds = Object.entries(byMechanism)
    .map(([mechanism, n]) => `${n} ${mechanism}`)
    .join(", ");
  if (sample.length > 0) terminal.out(sessionTable(sample, terminal));
  const more = count > sample.length ? ` (the first ${sample.length} are shown)` : "";
  terminal.out(`${count} session${count === 1 ? "" : "s"}${kinds === "" ? "" : `: ${kinds}`}${more}\n`);
}

function receiptTable(receipts: readonly ReceiptRow[], terminal: Terminal): string {
  const paint = painter(terminal);
  return table(
    ["HANDLE", "MECHANISM", "PRINCIPAL", "NODE", "RECEIPT", "MS", ""],
    receipts.map((receipt) => [
      receipt.handle,
      receipt.mechanism,
      safe(receipt.principal ?? "–"),
      receipt.node ?? "–",
      paint(receipt.state === "failed" ? "red" : "green", receipt.state),
      receipt.closedAt === undefined ? "–" : String(receipt.closedAt - receipt.requestedAt),
      safe(receipt.why ?? ""),
    ]),
    terminal,
  );
}

function isOver(receipt: ReceiptRow): boolean {
  return receipt.state === "closed" || receipt.state === "failed";
}

const POLL_MS = 100;
