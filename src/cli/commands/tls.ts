import { readFileSync } from "node:fs";
import type { InspectOptions } from "../../doctor/tls/index.ts";
import { spanMs } from "../../mechanisms/web/index.ts";
import type { Command, Values } from "../command.ts";
import { CommandError, EXIT, textOf } from "../command.ts";
import { progressBar, safe } from "../text.ts";
import { printInspection } from "../tls-report.ts";

export const tls: Command = {
  name: "tls",
  summary: "show how a TLS server resumes sessions, and what that means",
  usage: "inspect HOST[:PORT] [options]",
  options: {
    connections: { type: "string", short: "n" },
    servername: { type: "string", multiple: true },
    http: { type: "boolean" },
    cert: { type: "string" },
    key: { type: "string" },
    wait: { type: "string" },
    later: { type: "string" },
    json: { type: "boolean" },
  },
  help: `
  HOST:PORT              the server; port 443 when left out, [::1]:443 for an address of IPv6
  -n, --connections N    so many of each kind, 2 to 1000 (default: 10); all in all about nine times as many
      --servername NAME  the name to ask for (default: HOST); again for a name that a session is offered to as well
      --http             ask for / on each connection, for servers that send tickets only with their first answer
      --cert, --key FILE a client's certificate and key in PEM, for servers that ask for one
      --wait SPAN        how long the server may take to close a connection (default: 1s)
      --later SPAN       wait so long and offer sessions once more; replace keys or restart the server meanwhile
      --json             answer in JSON
  Connections are made one after the other, and closed without a word. Nothing of the sessions is written down.
  Exit codes: 0 sessions resume, 4 no TLS there, 6 there is a finding marked with a cross.`,
  async run(values, words, terminal) {
    const { inspectTls } = await import("../../doctor/tls/index.ts");
    const bar = progressBar(terminal, "connections");
    const outcome = await inspectTls({
      ...optionsOf(values, words),
      signal: terminal.signal,
      onProgress: (made, most) => bar.show(made, most),
    }).finally(() => bar.end());
    if ("unreachable" in outcome) {
      const { code, why } = outcome.unreachable;
      const hint = /CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|BAD_CERTIFICATE|UNKNOWN_CA/.test(code)
        ? " It may ask for a client's certificate: --cert and --key."
        : "";
      throw new CommandError(
        `No TLS connection to ${words[1]}: ${code}, ${safe(why.trim())}.${hint}`,
        EXIT.unreachable,
      );
    }
    if (values["json"] === true) terminal.out(`${JSON.stringify(outcome, undefined, 2)}\n`);
    else printInspection(outcome, terminal);
    return outcome.findings.some(({ weight }) => weight === "bad") ? EXIT.wanting : EXIT.done;
  },
};

function optionsOf(values: Values, [what, at, ...more]: readonly string[]): InspectOptions {
  if (what !== "inspect" || at === undefined || more.length > 0)
    throw new CommandError('Say "holdfast tls inspect HOST:PORT".');
  const connections = Number(textOf(values, "connections") ?? 10);
  if (!Number.isInteger(connections) || connections < 2 || connections > 1000)
    throw new CommandError("--connections takes a whole number from 2 to 1000.");
  const laterMs = spanOf(values, "later");
  const [servername, ...otherNames] = namesOf(values);
  return {
    ...addressOf(at),
    ...(servername !== undefined && { servername }),
    ...identityOf(values),
    ...(values["http"] === true && { http: true }),
    otherNames,
    connections,
    waitMs: spanOf(values, "wait") ?? WAIT_MS,
    ...(laterMs !== undefined && { laterMs }),
  };
}

function spanOf(values: Values, name: string): number | undefined {
  const text = textOf(values, name);
  if (text === undefined) return undefined;
  const span = spanMs(text);
  // A timer of Node's holds no more.
  if (span !== undefined && span < 2 ** 31) return span;
  throw new CommandError(`--${name} takes a span such as 500ms, 2s or 1h; it is "${text}".`);
}

function addressOf(text: string): { host: string; port: number } {
  const [, bracketed, plain, port = "443"] =
    /^(?:\[([0-9a-f:.]+)\]|([^:[\]/]+))(?::(\d{1,5}))?$/i.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(port) < 1 || Number(port) > 65_535)
    throw new CommandError(`"${text}" is no HOST:PORT, such as example.com:443 or [::1]:8443.`);
  return { host, port: Number(port) };
}

function namesOf(values: Values): string[] {
  const names = values["servername"];
  return Array.isArray(names) ? names.map(String) : [];
}

function identityOf(values: Values): Pick<InspectOptions, "identity"> {
  const [cert, key] = [textOf(values, "cert"), textOf(values, "key")];
  if (cert === undefined && key === undefined) return {};
  if (cert === undefined || key === undefined) throw new CommandError("--cert and --key belong together.");
  try {
    return { identity: { cert: readFileSync(cert), key: readFileSync(key) } };
  } catch (error) {
    throw new CommandError(`The client's certificate cannot be read: ${String(error)}`);
  }
}

const WAIT_MS = 1_000;
