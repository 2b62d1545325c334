import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Handle, Kernel } from "../../kernel/index.ts";
import { Users } from "../../mechanisms/socks/index.ts";
import type { User } from "../../mechanisms/socks/index.ts";
import { readCookie } from "../../mechanisms/web/index.ts";

/** What a listener takes, as it stands in the file. */
export interface WhoConfig {
  readonly users?: readonly User[];
  readonly tokens?: readonly { readonly name: string; readonly token: string }[];
  /** Web logins of this store: by cookie, `__Host-session` unless named, and as a Bearer token if so. */
  readonly web?: { readonly cookie?: string; readonly bearer?: boolean };
  readonly origins?: readonly string[];
}

/** Somebody who is known. */
export interface Known {
  readonly principal: string;
  /** Their web login, where that is how they are known. */
  readonly parent?: Handle;
  readonly roles?: readonly string[];
}

/** Who is at the other end: a user or a program of the configuration, or whoever a web login of this store belongs to. */
export class Who {
  readonly #kernel: Kernel;
  readonly #users: Users | undefined;
  readonly #tokens: readonly { readonly name: string; readonly digest: Buffer }[];
  readonly #web: WhoConfig["web"];
  readonly #origins: readonly string[];

  constructor(kernel: Kernel, { users, tokens = [], web, origins = [] }: WhoConfig) {
    this.#kernel = kernel;
    this.#users = users === undefined ? undefined : new Users(users);
    this.#tokens = tokens.map(({ name, token }) => ({ name, digest: digestOf(token) }));
    this.#web = web;
    this.#origins = origins;
  }

  /**
   * `undefined` when it is nobody that is known. What is said outright decides, where it is something that is taken here;
   * a cookie counts only without it, and not from the page of another site.
   */
  async of(authorization: string, http: IncomingMessage | undefined): Promise<Known | undefined> {
    const [, scheme = "", text = ""] = /^([A-Za-z]+) +(\S+) *$/.exec(authorization) ?? [];
    switch (scheme.toLowerCase()) {
      case "basic":
        if (this.#users === undefined) break;
        return this.#user(Buffer.from(text, "base64").toString(), this.#users);
      case "bearer": {
        if (this.#tokens.length === 0 && this.#web?.bearer !== true) break;
        const program = this.#program(text);
        return program ?? (this.#web?.bearer === true ? this.#login(text) : undefined);
      }
    }
    if (this.#web === undefined || http === undefined || this.isForeign(http)) return undefined;
    const secret = readCookie(http.headers.cookie ?? "", this.#web.cookie ?? "__Host-session");
    return secret === undefined ? undefined : this.#login(secret);
  }

  /** Whether the page of another site sent it: cookies come along with that. Programs send neither field. */
  isForeign({ method, headers }: IncomingMessage): boolean {
    const { origin, host, "sec-fetch-site": site } = headers;
    // A link that was followed has no origin, and does nothing.
    if (origin === undefined && (method === "GET" || method === "HEAD")) return false;
    if (origin !== undefined && this.#origins.includes(origin)) return false;
    if (site !== undefined) return site !== "same-origin" && site !== "none";
    return origin !== undefined && !(URL.canParse(origin) && new URL(origin).host === host);
  }

  /** RFC 7617 §2: the name ends at the first colon. */
  async #user(pair: string, users: Users): Promise<Known | undefined> {
    const colon = pair.indexOf(":");
    if (colon < 1) return undefined;
    const name = pair.slice(0, colon);
    return (await users.verify(name, pair.slice(colon + 1))) ? { principal: name } : undefined;
  }

  #program(token: string): Known | undefined {
    const digest = digestOf(token);
    const found = this.#tokens.find((one) => timingSafeEqual(one.digest, digest));
    return found === undefined ? undefined : { principal: found.name };
  }

  async #login(secret: string): Promise<Known | undefined> {
    const login = await this.#kernel.verify(secret);
    if (login?.mechanism !== "web" || login.principal === undefined) return undefined;
    this.#kernel.touch(login);
    const { principal, handle, roles } = login;
    return { principal, parent: handle, ...(roles !== undefined && { roles }) };
  }
}

function digestOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
