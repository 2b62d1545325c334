import type { IncomingMessage, ServerResponse } from "node:http";
import type { Handle, Kernel } from "../../kernel/index.ts";
import type { AuthorizeRequest, Verdict } from "../../mechanisms/transfer/index.ts";
import { isLoopback } from "../listener.ts";
import type { Known, WhoConfig } from "./who.ts";
import { Who } from "./who.ts";

/** Who may come, as it stands in the file. */
export interface AccessConfig extends WhoConfig {
  readonly anonymous?: boolean;
}

/** Who sent a request; and whether they may. */
export class TransferAccess {
  readonly #kernel: Kernel;
  readonly #config: AccessConfig;
  readonly #who: Who;
  readonly #anonymous: "no" | "everybody" | "this-machine";
  readonly #known = new WeakMap<object, Known>();
  readonly #foreign = new WeakSet<object>();

  constructor(config: AccessConfig, kernel: Kernel) {
    const { users, tokens, web, anonymous } = config;
    this.#kernel = kernel;
    this.#config = config;
    this.#who = new Who(kernel, config);
    const open = users === undefined && tokens === undefined && web === undefined;
    this.#anonymous = anonymous === true ? "everybody" : open && anonymous !== false ? "this-machine" : "no";
  }

  /** Finds out who a request is from. False when it was answered on the way: then there is nothing left to do. */
  async identify(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    // A preflight has no credentials, and asks for nothing.
    if (request.method === "OPTIONS") return true;
    const known = await this.#who.of(request.headers.authorization ?? "", request);
    if (known !== undefined) {
      this.#known.set(request, known);
      return true;
    }
    if (!this.#who.isForeign(request)) return true;
    this.#foreign.add(request);
    if (this.#config.web === undefined) return true;
    response.writeHead(403, { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" });
    response.end(`${FOREIGN}\n`);
    return false;
  }

  readonly authorize = async (asked: AuthorizeRequest): Promise<Verdict> => {
    const known = this.#known.get(asked.request);
    if (known !== undefined) {
      const { principal, parent } = known;
      if (parent === undefined) return { allow: true, principal };
      // Hours may have gone by since the request began.
      if (asked.action === "complete" && !(await this.#lives(parent)))
        return { allow: false, status: 403, why: "the session it belongs under is over" };
      return { allow: true, principal, parent };
    }
    if (this.#anonymous === "no") return this.#unknown(asked);
    const refused = this.#refusal(asked);
    return refused === undefined ? { allow: true } : { allow: false, status: 403, why: refused };
  };

  async #lives(handle: Handle): Promise<boolean> {
    return (await this.#kernel.lookUp(handle)) !== undefined;
  }

  #unknown(asked: AuthorizeRequest): Verdict {
    const { users, tokens, web } = this.#config;
    const schemes = [
      ...(users === undefined ? [] : ['Basic realm="uploads", charset="UTF-8"']),
      ...(tokens === undefined && web?.bearer !== true ? [] : ['Bearer realm="uploads"']),
    ];
    // A page's own request must not make the browser ask for a password.
    const fromPage =
      asked.header("sec-fetch-site") !== undefined && asked.header("sec-fetch-mode") !== "navigate";
    const challenge = fromPage || schemes.length === 0 ? {} : { challenge: schemes.join(", ") };
    return { allow: false, status: 401, why: "say who you are", ...challenge };
  }

  /** Where anybody may, pages of other sites in a browser on this machine still may not, nor names led here by DNS. */
  #refusal(asked: AuthorizeRequest): string | undefined {
    if (this.#foreign.has(asked.request)) return FOREIGN;
    if (this.#anonymous === "everybody") return undefined;
    return isLoopback(hostName(asked.header("host"))) ? undefined : "this is not the name of this machine";
  }
}

function hostName(field = ""): string {
  return field.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
}

const FOREIGN = "pages of another site may not upload here";
