import type { ErrorCode, Handle, Json, Peer, Secret, SessionRecord } from "../../kernel/index.ts";
import { HoldfastError } from "../../kernel/index.ts";
import { csrfToken, isCsrfToken } from "./csrf-token.ts";
import type { Exchange } from "./exchange.ts";
import { isFresh } from "./machine.ts";
import type { Span } from "./options.ts";
import { span } from "./options.ts";
import type { Web } from "./server.ts";

/** Who has just proved to be whom. */
export interface Login<Data extends Json> {
  readonly principal: string;
  /** RFC 8176 names of the methods used: `["pwd", "otp"]`. */
  readonly amr?: readonly string[];
  readonly aal?: 1 | 2 | 3;
  /**
   * When an identity provider saw the proof, in milliseconds since 1970 (OpenID Connect's `auth_time` × 1000); now when
   * left out. What asks for a recent proof goes by it. ASVS 7.6.1.
   */
  readonly authenticatedAt?: number;
  readonly roles?: readonly string[];
  readonly tenant?: string;
  /** Replaces the data carried over from before the login. */
  readonly data?: Data;
  /** Also hands out a long-lived token with which this browser comes back; see the option `remember`. */
  readonly remember?: boolean;
  /** `token`: the secret is returned and no cookie is set. */
  readonly transport?: "cookie" | "token";
}

/** A proof on top of the login: a second factor, the password again. */
export interface StepUp {
  readonly amr: readonly string[];
  readonly aal?: 1 | 2 | 3;
  readonly roles?: readonly string[];
}

/**
 * The session of one request. It is there for every request; `exists` tells whether one stands behind it. Without one,
 * everything it says of a session is undefined, and nothing is stored until `establish` or `update` is called.
 */
export class WebSession<Data extends Json = Json> {
  readonly #web: Web<Data>;
  readonly #exchange: Exchange;
  #record: SessionRecord | undefined;

  /** @internal */
  constructor(web: Web<Data>, exchange: Exchange, record: SessionRecord | undefined) {
    this.#web = web;
    this.#exchange = exchange;
    this.#record = record;
  }

  static {
    // What a log shows of it; all it has is private.
    Object.defineProperty(WebSession.prototype, Symbol.for("nodejs.util.inspect.custom"), {
      value(this: WebSession): string {
        return this.exists
          ? `WebSession { ${this.principal ?? "anonymous"}, handle ${this.handle} }`
          : "WebSession { nobody }";
      },
    });
  }

  /** @internal */
  isOf(web: object): boolean {
    return this.#web === web;
  }

  get exists(): boolean {
    return this.#record !== undefined;
  }

  /** The session's public name: safe to log and show. */
  get handle(): Handle | undefined {
    return this.#record?.handle;
  }

  get principal(): string | undefined {
    return this.#record?.principal;
  }

  /** As it was read or last written by this request. Change it with `update`. */
  get data(): Data | undefined {
    return this.#record?.data as Data | undefined;
  }

  get authenticatedAt(): number | undefined {
    return this.#record?.authentication?.at;
  }

  get amr(): readonly string[] {
    return this.#record?.authentication?.amr ?? [];
  }

  get aal(): 1 | 2 | 3 | undefined {
    return this.#record?.authentication?.aal;
  }

  get roles(): readonly string[] {
    return this.#record?.roles ?? [];
  }

  get createdAt(): number | undefined {
    return this.#record?.createdAt;
  }

  get peer(): Peer {
    return this.#record?.peer ?? {};
  }

  /**
   * A token to put in forms and ask back, for those who must have one: the origin of unsafe requests is checked without
   * it. Undefined without a session; another one after the secret has changed, when the one before still passes.
   */
  get csrfToken(): string | undefined {
    return this.#record && csrfToken(this.#record);
  }

  /** Whether `given`, from a form or a header, is this session's `csrfToken`. Anything may be passed. ASVS 3.5.1. */
  isCsrfToken(given: unknown): boolean {
    return this.#record !== undefined && isCsrfToken(this.#record, given);
  }

  /** True when the login or a step-up is at most `maxAge` old. ASVS 7.5.1, RFC 9470. */
  isFresh(maxAge: Span): boolean {
    return isFresh(this.authenticatedAt, span("maxAge", maxAge), this.#web.kernel.clock.now());
  }

  /**
   * Logs in: always a new session with a new secret (ASVS 7.2.4); what this request came with is ended. Data of an
   * anonymous session, or of the same principal's, is carried over.
   * @returns the secret where `transport` is `token`; with cookies it is on the response and nowhere else.
   * @throws HoldfastError `limit-reached`, `locked`, `establish-refused`, `response-sent`, `store-unavailable`.
   */
  async establish(login: Login<Data>): Promise<{ readonly token?: Secret }> {
    return this.#held(async () => {
      const before = this.#record;
      const made = await this.#web.establish(this.#exchange, login, before);
      this.#record = made.record;
      return login.transport === "token" ? { token: made.secret } : {};
    });
  }

  /** A further proof by the same principal: a new secret at once, the old one is refused from here on. ASVS 7.5.3. */
  async stepUp(proof: StepUp): Promise<void> {
    await this.#held(async () => {
      this.#record = await this.#web.stepUp(this.#exchange, this.#existing("step up"), proof);
    });
  }

  /**
   * Changes the data. `change` may run again on newer data when another request wrote first, so it must have no effects
   * of its own. Without a session this makes an anonymous one.
   * @throws HoldfastError `session-ended` when it was ended meanwhile: it is never brought back.
   */
  async update(change: (data: Data) => Data | void): Promise<void> {
    await this.#held(async () => {
      this.#record = await this.#web.update(this.#exchange, this.#record, change);
    });
  }

  /** A new secret by plain rotation; requests under way with the old one still pass for a few seconds. */
  async rotate(): Promise<void> {
    await this.#held(async () => {
      this.#record = await this.#web.rotate(this.#exchange, this.#existing("rotate"));
    });
  }

  /** Ends the session, and "remember me" on this browser; clears its cookies and site data. ASVS 7.4.1, 7.4.4. */
  async logout(): Promise<void> {
    await this.#held(async () => {
      await this.#web.logout(this.#exchange, this.#record);
      this.#record = undefined;
    });
  }

  /** Ends every other session of this principal, of every mechanism. ASVS 7.4.3, 7.5.2. @returns how many that were. */
  async endOthers(reason = "ended by the user"): Promise<number> {
    return this.#held(async () => this.#web.endOthers(this.#existing("end the others"), reason));
  }

  #existing(what: string): SessionRecord {
    if (this.#record === undefined) {
      throw new HoldfastError("session-ended", `There is no session to ${what}; establish one first.`);
    }
    return this.#record;
  }

  /** No response leaves before what it may speak of is written. */
  #held<T>(work: () => Promise<T>): Promise<T> {
    const running = work().catch((error: unknown) => {
      throw withStatus(error);
    });
    this.#exchange.holdFor(running);
    return running;
  }
}

/** Express, Fastify and Koa answer with the status that an error carries, where an application does not handle it. */
function withStatus(error: unknown): unknown {
  const status = error instanceof HoldfastError ? STATUS[error.code] : undefined;
  return status === undefined ? error : Object.assign(error as HoldfastError, { status, statusCode: status });
}

const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  "store-unavailable": 503,
  "session-ended": 401,
  "session-conflict": 409,
  "limit-reached": 403,
  locked: 403,
  "establish-refused": 403,
};
