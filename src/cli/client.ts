import { readAdminFile } from "../console/index.ts";
import type { Problem } from "../console/index.ts";
import type { Options, Terminal, Values } from "./command.ts";
import { CommandError, EXIT, textOf } from "./command.ts";

/** What every command that talks to a gateway takes. */
export const CONNECTION: Options = {
  url: { type: "string" },
  token: { type: "string" },
  data: { type: "string" },
  json: { type: "boolean" },
};

export const CONNECTION_HELP = `
  --data DIR     the gateway's data folder, where its address and token are (default: data, or $HOLDFAST_DATA)
  --url URL      the gateway's admin address instead ($HOLDFAST_URL)
  --token TOKEN  with --url ($HOLDFAST_TOKEN; better there than in the list of processes)
  --json         answer in JSON`;

/** The admin API, as the signed-in caller. */
export class Client {
  readonly #url: string;
  readonly #token: string;
  readonly #signal: AbortSignal;

  constructor(values: Values, terminal: Terminal) {
    const { env } = terminal;
    const url = textOf(values, "url") ?? env["HOLDFAST_URL"];
    const token = textOf(values, "token") ?? env["HOLDFAST_TOKEN"];
    const folder = textOf(values, "data") ?? env["HOLDFAST_DATA"] ?? "data";
    const file = url === undefined || token === undefined ? readAdminFile(folder) : undefined;
    if ((url ?? file?.url) === undefined || (token ?? file?.token) === undefined) {
      throw new CommandError(
        `There is no gateway's admin.json in ${folder}. Start one with "holdfast up", name its data folder with --data, or say --url and --token.`,
        EXIT.unreachable,
      );
    }
    this.#url = (url ?? file?.url ?? "").replace(/\/$/, "");
    this.#token = token ?? file?.token ?? "";
    this.#signal = terminal.signal;
  }

  get<Body>(path: string, query: Readonly<Record<string, string | undefined>> = {}): Promise<Body> {
    const params = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) if (value !== undefined) params.set(name, value);
    const search = params.size === 0 ? "" : `?${params.toString()}`;
    return this.#call<Body>("GET", path + search);
  }

  post<Body>(path: string, body: object): Promise<Body> {
    return this.#call<Body>("POST", path, body);
  }

  delete<Body>(path: string): Promise<Body> {
    return this.#call<Body>("DELETE", path);
  }

  /** Server-sent events from behind `lastEventId`, until the connection breaks or the command is interrupted. */
  async *feed(
    lastEventId?: string,
  ): AsyncGenerator<{ id: string | undefined; event: string; data: unknown }> {
    const response = await this.#fetch("/api/feed", {
      headers: { ...this.#headers(), ...(lastEventId !== undefined && { "last-event-id": lastEventId }) },
    });
    if (!response.ok || response.body === null) throw await refusal(response);
    const decoder = new TextDecoder();
    let text = "";
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += decoder.decode(chunk, { stream: true });
      for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n")) {
        const fields = new Map(text.slice(0, end).split("\n").map(field));
        text = text.slice(end + 2);
        const data = fields.get("data");
        if (data !== undefined) {
          yield {
            id: fields.get("id"),
            event: fields.get("event") ?? "message",
            data: JSON.parse(data) as unknown,
          };
        }
      }
    }
  }

  async #call<Body>(method: string, path: string, body?: object): Promise<Body> {
    const response = await this.#fetch(path, {
      method,
      headers: { ...this.#headers(), ...(body !== undefined && { "content-type": "application/json" }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw await refusal(response);
    return (await response.json()) as Body;
  }

  #headers(): Record<string, string> {
    return { authorization: `Bearer ${this.#token}` };
  }

  async #fetch(path: string, init: RequestInit): Promise<Response> {
    try {
      return await fetch(this.#url + path, { ...init, signal: this.#signal });
    } catch (error) {
      if (this.#signal.aborted) throw error;
      const cause =
        error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
      throw new CommandError(`The gateway at ${this.#url} does not answer: ${cause}`, EXIT.unreachable);
    }
  }
}

async function refusal(response: Response): Promise<CommandError> {
  const problem = (await response.json().catch(() => ({ title: response.statusText }))) as Partial<Problem>;
  const exit =
    response.status === 404 ? EXIT.notFound : response.status === 401 ? EXIT.unreachable : EXIT.failed;
  return new CommandError(problem.title ?? `The gateway answered ${response.status}.`, exit);
}

function field(line: string): [string, string] {
  const colon = line.indexOf(":");
  return [line.slice(0, colon), line.slice(colon + 1).trimStart()];
}
