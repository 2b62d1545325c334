import type { IncomingMessage } from "node:http";
import type { Kernel } from "../../kernel/index.ts";
import type { LinkRequest, Welcome } from "../../mechanisms/dialog/index.ts";
import { Users } from "../../mechanisms/socks/index.ts";
import type { User } from "../../mechanisms/socks/index.ts";
import { readBearer, readCookie } from "../../mechanisms/web/index.ts";

export interface WhoConfig {
  readonly users?: readonly User[];
  readonly anonymous?: boolean;
  readonly cookie?: string;
  readonly origins?: readonly string[];
}

/** Who is at the other end: a user of the configuration (Basic), or whoever a web login of this store belongs to. */
export class Who {
  readonly #kernel: Kernel;
  readonly #users: Users;
  readonly #anonymous: boolean;
  readonly #cookie: string;
  readonly #origins: readonly string[];

  constructor(kernel: Kernel, { users = [], anonymous, cookie = "__Host-session", origins = [] }: WhoConfig) {
    this.#kernel = kernel;
    this.#users = new Users(users);
    this.#anonymous = anonymous ?? users.length === 0;
    this.#cookie = cookie;
    this.#origins = origins;
  }

  /** `undefined` when it is nobody who may come. */
  async of({
    authorization,
    http,
    certificate,
  }: Pick<LinkRequest, "authorization" | "http" | "certificate">): Promise<Welcome | undefined> {
    if (http !== undefined && !this.#isSameSite(http)) return undefined;
    if (certificate !== undefined) return { principal: certificate };
    const basic = /^basic +([A-Za-z0-9+/]+=*) *$/i.exec(authorization)?.[1];
    if (basic !== undefined) return this.#user(Buffer.from(basic, "base64").toString());
    const secret = readBearer(authorization) ?? readCookie(http?.headers.cookie ?? "", this.#cookie);
    const login = secret === undefined ? undefined : await this.#kernel.verify(secret);
    if (login?.mechanism === "web" && login.principal !== undefined)
      return {
        principal: login.principal,
        parent: login.handle,
        ...(login.roles !== undefined && { roles: login.roles }),
      };
    return authorization === "" && this.#anonymous ? {} : undefined;
  }

  async #user(pair: string): Promise<Welcome | undefined> {
    const colon = pair.indexOf(":");
    if (colon < 1) return undefined;
    const name = pair.slice(0, colon);
    return (await this.#users.verify(name, pair.slice(colon + 1))) ? { principal: name } : undefined;
  }

  /** Cookies come along with what other sites' pages send; a page says where it is from, and programs say nothing. */
  #isSameSite({ headers }: IncomingMessage): boolean {
    const { origin, host } = headers;
    if (origin === undefined) return true;
    if (this.#origins.includes(origin)) return true;
    return URL.canParse(origin) && new URL(origin).host === host;
  }
}
