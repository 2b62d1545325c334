import type { TransferErrorCode } from "../mechanisms/transfer/client/index.ts";
import { TransferError } from "../mechanisms/transfer/client/index.ts";
import type { Options, Terminal, Values } from "./command.ts";
import { CommandError, EXIT, textOf } from "./command.ts";
import type { TransferProgress } from "./progress.ts";

/** What `put` and `get` both take. */
export const TRANSFER: Options = {
  user: { type: "string", short: "u" },
  token: { type: "string" },
  header: { type: "string", short: "H", multiple: true },
  attempts: { type: "string" },
  quiet: { type: "boolean", short: "q" },
  json: { type: "boolean" },
};

export const TRANSFER_HELP = `
  -u, --user NAME      with the password in $HOLDFAST_PASSWORD (HTTP Basic)
      --token TOKEN    HTTP Bearer ($HOLDFAST_TRANSFER_TOKEN; better there than in the list of processes)
  -H, --header LINE    "Name: value", sent with every request (may be said again)
      --attempts N     give up after N in a row that brought nothing (default: 10, about a minute)
  -q, --quiet          no progress
      --json           tell the outcome in JSON

  Ctrl-C pauses: the same command goes on where it stopped, also after a crash.
  Exit codes: 0 done, 1 refused or failed, 2 called wrongly, 3 no such file, 4 the server cannot be reached or does not
  know you, 7 paused, 8 the bytes are not those they should be.`;

/** Headers that say who it is, from options, environment and the address; and the address without its password. */
export function requestOf(
  text: string,
  values: Values,
  terminal: Terminal,
): { readonly url: string; readonly headers: Readonly<Record<string, string>> } {
  const url = addressOf(text);
  const headers: Record<string, string> = {};
  const named = textOf(values, "user");
  const token = textOf(values, "token") ?? terminal.env["HOLDFAST_TRANSFER_TOKEN"];
  const password = url.password === "" ? terminal.env["HOLDFAST_PASSWORD"] : decodeURIComponent(url.password);
  const user = named ?? decodeURIComponent(url.username);
  if (user !== "") {
    if (password === undefined)
      throw new CommandError(`Put the password of ${user} into $HOLDFAST_PASSWORD.`);
    headers["authorization"] = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
  } else if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
  url.username = "";
  url.password = "";
  const lines = values["header"];
  for (const line of Array.isArray(lines) ? lines : []) {
    const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*([^\r\n]*)$/.exec(String(line)) ?? [];
    if (name === undefined || value === undefined)
      throw new CommandError(`A header is "Name: value"; it is "${String(line)}".`);
    headers[name.toLowerCase()] = value;
  }
  return { url: url.href, headers };
}

export function attemptsOf(values: Values): { readonly retry?: { readonly attempts: number } } {
  const text = textOf(values, "attempts");
  if (text === undefined) return {};
  const attempts = Number(text);
  if (!Number.isSafeInteger(attempts) || attempts < 1)
    throw new CommandError(`--attempts takes a whole number above 0; it is "${text}".`);
  return { retry: { attempts } };
}

/** Runs a transfer and turns how it ends into an exit code. */
export async function exitOf(
  progress: TransferProgress,
  what: string,
  transfer: () => Promise<void>,
): Promise<number> {
  try {
    await transfer();
    return EXIT.done;
  } catch (error) {
    progress.end();
    if (!(error instanceof TransferError)) throw error;
    if (error.code === "paused") {
      progress.say(`${what}: paused at ${progress.standing}; the same command goes on`);
      return EXIT.paused;
    }
    throw new CommandError(`${what}: ${error.message.trim()}`, exitCodeOf(error));
  } finally {
    progress.end();
  }
}

function exitCodeOf({ code, status }: TransferError): number {
  if (status === 401) return EXIT.unreachable;
  if (status === 404 || status === 410) return EXIT.notFound;
  return EXITS[code];
}

const EXITS: Readonly<Record<TransferErrorCode, number>> = {
  paused: EXIT.paused,
  refused: EXIT.failed,
  unreachable: EXIT.unreachable,
  unsupported: EXIT.failed,
  "digest-mismatch": EXIT.altered,
  "source-changed": EXIT.altered,
};

function addressOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && (url.protocol === "http:" || url.protocol === "https:")) return url;
  throw new CommandError(`"${text}" is no http or https address.`);
}
