import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Handle, Kernel } from "../../kernel/index.ts";
import type { User } from "../../mechanisms/socks/index.ts";
import { Users } from "../../mechanisms/socks/index.ts";
import type { AuthorizeRequest, Verdict } from "../../mechanisms/transfer/index.ts";
import type { Sessions } from "../../mechanisms/web/index.ts";
import { createSessions } from "../../mechanisms/web/index.ts";
import { isLoopback } from "../listener.ts";

/** Who may come, as it stands in the file. */
export interface AccessConfig {
  readonly users?: readonly User[];
  readonly tokens?: readonly { readonly name: string; readonly token: string }[];
  readonly web?: { readonly cookie?: string; readonly bearer?: boolean };
  readonly anonymous?: boolean;
  readonly origins?: readonly string[];
}

/** Somebody, or anybody where anybody may. */
interface Who {
  readonly principal?: string;
  readonly parent?: Handle;
}

/** Who sent a request, by password, token or web session; and whether they may. */
export class TransferAccess {
  readonly #kernel: Kernel;
  readonly #config: AccessConfig;
  readonly #users: Users | undefined;
  readonly #tokens: readonly { readonly name: string; readonly digest: Buffer }[];
  readonly #sessions: Sessions | undefined;
  readonly #anonymous: "no" | "everybody" | "this-machine";
  readonly #known = new WeakMap<object, Who>();

  constructor(config: AccessConfig, kernel: Kernel, onFault: (error: unknown) => void) {
    const { users, tokens = [], web, anonymous, origins = [] } = config;
    this.#kernel = kernel;
    this.#config = config;
    this.#users = users === undefined ? undefined : new Users(users);
    this.#tokens = tokens.map(({ name, token }) => ({ name, digest: digestOf(token) }));
    this.#sessions =
      web === undefined
        ? undefined
        : createSessions({
            kernel,
            ...(web.cookie !== undefined && { cookie: { name: web.cookie } }),
            ...(web.bearer !== undefined && { bearer: web.bearer }),
            csrf: { trustedOrigins: origins },
            onFault,
          });
    const open = users === undefined && tokens.length === 0 && web === undefined;
    this.#anonymous = anonymous === true ? "everybody" : open && anonymous !== false ? "this-machine" : "no";
  }

  /** Finds out who a request is from. False when it was answered on the way: then there is nothing left to do. */
  async identify(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    // A preflight has no credentials, and asks for nothing.
    if (request.method === "OPTIONS") return true;
    const who = this.#byPassword(request) ?? this.#byToken(request);
    const found = await who;
    if (found !== undefined) {
      this.#known.set(request, found);
      return true;
    }
    if (this.#sessions === undefined) return true;
    const session = await this.#sessions.node(request, response);
    if (session === undefined) return false;
    const { principal, handle } = session;
    if (principal !== undefined && handle !== undefined)
      this.#known.set(request, { principal, parent: handle });
    return true;
  }

  readonly authorize = async (asked: AuthorizeRequest): Promise<Verdict> => {
    const who = this.#known.get(asked.request);
    if (who !== undefined) {
      // Hours may have gone by since the request began.
      const over =
        asked.action === "complete" && who.parent !== undefined && !(await this.#lives(who.parent));
      return over
        ? { allow: false, status: 403, why: "the session it belongs under is over" }
        : { allow: true, ...who };
    }
    if (this.#anonymous === "no") return this.#unknown(asked);
    const foreign = this.#foreign(asked);
    return foreign === undefined ? { allow: true } : { allow: false, status: 403, why: foreign };
  };

  #byPassword(request: IncomingMessage): Promise<Who | undefined> | undefined {
    const text = credentials(request, "basic");
    if (this.#users === undefined || text === undefined) return undefined;
    const [, name = "", password = ""] = /^([^:]*):(.*)$/s.exec(Buffer.from(text, "base64").toString()) ?? [];
    return this.#users.verify(name, password).then((good) => (good ? { principal: name } : undefined));
  }

  #byToken(request: IncomingMessage): Who | undefined {
    const text = credentials(request, "bearer");
    if (text === undefined) return undefined;
    const digest = digestOf(text);
    const found = this.#tokens.find((one) => timingSafeEqual(one.digest, digest));
    return found === undefined ? undefined : { principal: found.name };
  }

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
  #foreign(asked: AuthorizeRequest): string | undefined {
    const origin = asked.header("origin");
    const site = asked.header("sec-fetch-site");
    const trusted = origin !== undefined && this.#config.origins?.includes(origin) === true;
    if (!trusted && (site === "cross-site" || site === "same-site"))
      return "pages of another site may not upload here";
    if (this.#anonymous === "everybody") return undefined;
    return isLoopback(hostName(asked.header("host"))) ? undefined : "this is not the name of this machine";
  }
}

function credentials(request: IncomingMessage, scheme: string): string | undefined {
  const [, named, text] = /^([A-Za-z]+) +(\S+) *$/.exec(request.headers.authorization ?? "") ?? [];
  return named?.toLowerCase() === scheme ? text : undefined;
}

function digestOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

function hostName(field = ""): string {
  return field.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
}
