import type { Established, Handle, Json, SessionRecord } from "../../kernel/index.ts";
import { HoldfastError } from "../../kernel/index.ts";
import type { Exchange } from "./exchange.ts";
import { MECHANISM, REMEMBER } from "./machine.ts";
import type { Web } from "./server.ts";
import type { Login } from "./session.ts";

/** What brings a browser back when its session is over: a family of its own, under which its sessions are opened. */
export class Remember<Data extends Json> {
  readonly #web: Web<Data>;
  readonly #comingBack = new Map<Handle, Promise<SessionRecord>>();

  constructor(web: Web<Data>) {
    this.#web = web;
  }

  /** Hands out a token; the session of the login is to be opened under the record it belongs to. */
  async start(exchange: Exchange, login: Login<Data>, data: Json): Promise<SessionRecord> {
    const { rememberMs } = this.#web.settings;
    if (rememberMs === undefined) {
      throw new HoldfastError(
        "invalid-argument",
        'Say how long to remember with the option "remember", such as "30d".',
      );
    }
    const made = await this.#web.kernel.establish({
      mechanism: REMEMBER,
      mode: "request-response",
      principal: login.principal,
      absoluteMs: rememberMs,
      authentication: this.#web.proof(login),
      peer: this.#web.peer(exchange),
      data,
      ...(login.roles !== undefined && { roles: login.roles }),
      ...(login.tenant !== undefined && { tenant: login.tenant }),
    });
    const { record, secret } = made as Required<Established>;
    this.#web.setCookie(exchange, this.#web.settings.rememberCookie, secret.reveal(), record.absoluteAt);
    return record;
  }

  /**
   * The session with which a browser comes back by its token, or undefined when the token opens nothing. Each use replaces
   * the token; a use of an old one ends the family. A browser that restores its tabs asks many times at once: all get the
   * session that the first request makes, and only its answer carries cookies, so that no answer overtakes a newer one
   * with what is worth nothing any more.
   */
  async comeBack(exchange: Exchange, token: string): Promise<SessionRecord | undefined> {
    const presented = await this.#web.kernel.present(token);
    if (!presented.good || presented.record.mechanism !== REMEMBER) return undefined;
    const { record: family, slot } = presented;
    let coming = this.#comingBack.get(family.handle);
    if (coming === undefined) {
      coming = this.#renew(exchange, family, slot === "current").finally(() =>
        this.#comingBack.delete(family.handle),
      );
      this.#comingBack.set(family.handle, coming);
    }
    return coming;
  }

  async #renew(exchange: Exchange, family: SessionRecord, current: boolean): Promise<SessionRecord> {
    const { secret, record } = current ? await this.#web.kernel.rotateOnce(family) : { record: family };
    if (secret !== undefined) {
      this.#web.setCookie(exchange, this.#web.settings.rememberCookie, secret.reveal(), family.absoluteAt);
    } else {
      const made = await this.#madeSince(record);
      if (made !== undefined) return made;
    }
    const { at = family.createdAt, amr = [], aal } = family.authentication ?? {};
    const made = await this.#web.kernel.establish({
      ...this.#web.request(exchange, family.principal),
      parent: family.handle,
      authentication: { at, amr: [...amr, "remembered"], ...(aal !== undefined && { aal }) },
      ...(family.roles !== undefined && { roles: family.roles }),
      ...(family.tenant !== undefined && { tenant: family.tenant }),
      data: family.data,
    });
    this.#web.issue(exchange, made as Required<Established>);
    return made.record;
  }

  /** The session that another request has come back with since the token was replaced. */
  async #madeSince(family: SessionRecord): Promise<SessionRecord | undefined> {
    const since = family.credentials.since ?? family.createdAt;
    for await (const child of this.#web.kernel.sessions({ parent: family.handle, mechanism: MECHANISM }))
      if (child.createdAt >= since) return child;
    return undefined;
  }
}
