import type {
  Established,
  EstablishRequest,
  Handle,
  Json,
  Kernel,
  MaybePromise,
  Peer,
  SessionRecord,
} from "../../kernel/index.ts";
import { HoldfastError, isHoldfastError } from "../../kernel/index.ts";
import type { SetCookie } from "./codec.ts";
import { COOKIE_LIMITS, readBearer, readCookie, writeCookie } from "./codec.ts";
import type { Exchange, Refusal } from "./exchange.ts";
import { assertLogin, assertStepUp } from "./login.ts";
import { crossSiteVerdict, MECHANISM, REMEMBER } from "./machine.ts";
import type { Settings } from "./options.ts";
import { Remember } from "./remember.ts";
import type { Login, StepUp } from "./session.ts";
import { WebSession } from "./session.ts";

/** What a request gets: its session, or the answer that it must get instead of reaching the application. */
export interface Opened<Data extends Json> {
  readonly session: WebSession<Data>;
  readonly refusal?: Refusal;
}

/** Web sessions over a kernel: what happens between the head of a request and the head of its response. */
export class Web<Data extends Json> {
  readonly kernel: Kernel;
  readonly settings: Settings;
  readonly #initial: Data | undefined;
  readonly #remember: Remember<Data>;

  constructor(kernel: Kernel, settings: Settings, initial: Data | undefined) {
    this.kernel = kernel;
    this.settings = settings;
    this.#initial = initial;
    this.#remember = new Remember(this);
  }

  // ── the request comes in ────────────────────────────────────────────────────────────────────────────────────

  /** Answers without a promise when the session is in the cache and nothing has to be written. Never throws. */
  open(exchange: Exchange): MaybePromise<Opened<Data>> {
    const cookies = exchange.header("cookie");
    const refusal = this.#refuseForeign(exchange, cookies);
    if (refusal !== undefined) return this.#opened(exchange, undefined, refusal);
    try {
      const secret = this.#presented(exchange, cookies);
      const record = secret === undefined ? undefined : this.kernel.verify(secret);
      if (record instanceof Promise) {
        return record
          .then((late) => this.#admit(exchange, late))
          .catch((error: unknown) => this.#down(exchange, error));
      }
      const opened = this.#admit(exchange, record);
      return opened instanceof Promise
        ? opened.catch((error: unknown) => this.#down(exchange, error))
        : opened;
    } catch (error) {
      return this.#down(exchange, error);
    }
  }

  /** ASVS 3.5.1: what another site's page sends in our user's name stops here. */
  #refuseForeign(exchange: Exchange, cookies: string | undefined): Refusal | undefined {
    if (cookies !== undefined && cookies.length > this.settings.maxCookieHeaderBytes) {
      return {
        status: 431,
        code: "header-too-large",
        message: `The Cookie header is longer than ${this.settings.maxCookieHeaderBytes} bytes.`,
        headers: {},
      };
    }
    const { csrf } = this.settings;
    const { method } = exchange;
    if (!csrf.on || (method === "GET" && !csrf.forwarded) || this.#bearer(exchange) !== undefined)
      return undefined;
    const origin = { secFetchSite: exchange.header("sec-fetch-site"), origin: exchange.header("origin") };
    let verdict = crossSiteVerdict({ method, ...origin, host: exchange.header("host") }, csrf.trusted);
    if (csrf.forwarded && verdict === "safe-method") {
      const asked = exchange.header("x-forwarded-method") ?? method;
      const host = exchange.header("x-forwarded-host") ?? exchange.header("host");
      verdict = crossSiteVerdict({ method: asked, ...origin, host }, csrf.trusted);
    }
    if (verdict !== "cross-site") return undefined;
    return {
      status: 403,
      code: "cross-site",
      message: "A page of another site sent this request.",
      headers: {},
    };
  }

  /** A request with a bearer token has no cross-site check, so its cookies must not count. */
  #presented(exchange: Exchange, cookies: string | undefined): string | undefined {
    const bearer = this.#bearer(exchange);
    if (bearer !== undefined || cookies === undefined) return bearer;
    return readCookie(cookies, this.settings.cookie.name);
  }

  #bearer(exchange: Exchange): string | undefined {
    if (!this.settings.bearer) return undefined;
    const authorization = exchange.header("authorization");
    return authorization === undefined ? undefined : readBearer(authorization);
  }

  #admit(exchange: Exchange, record: SessionRecord | undefined): MaybePromise<Opened<Data>> {
    // A secret of another mechanism opens nothing here.
    if (record === undefined || record.mechanism !== MECHANISM) return this.#remembered(exchange);
    this.kernel.touch(record);
    const { rotateEveryMs } = this.settings;
    if (rotateEveryMs !== undefined && this.#bearer(exchange) === undefined) {
      const age = this.kernel.clock.now() - (record.credentials.since ?? record.createdAt);
      if (age >= rotateEveryMs) return this.#rotateInTime(exchange, record);
    }
    return this.#opened(exchange, record);
  }

  /** A page's requests come together and all see that it is time. One gets the new secret; the grace is for the others. */
  async #rotateInTime(exchange: Exchange, seen: SessionRecord): Promise<Opened<Data>> {
    const { record, secret } = await this.kernel.rotateOnce(seen);
    if (secret !== undefined) this.issue(exchange, { record, secret });
    return this.#opened(exchange, record);
  }

  #opened(exchange: Exchange, record: SessionRecord | undefined, refusal?: Refusal): Opened<Data> {
    const session = new WebSession(this, exchange, record);
    return refusal === undefined ? { session } : { session, refusal };
  }

  /** A store that does not answer must look neither like a logout nor like a login; a session refused meanwhile is none. */
  #down(exchange: Exchange, error: unknown): Opened<Data> {
    if (isHoldfastError(error) && REFUSED.has(error.code)) return this.#opened(exchange, undefined);
    if (!isHoldfastError(error, "store-unavailable")) this.kernel.fault(error);
    return this.#opened(exchange, undefined, UNAVAILABLE);
  }

  // ── remember me ─────────────────────────────────────────────────────────────────────────────────────────────

  /** No session, but perhaps a token that this browser may come back with. Each use replaces it; reuse ends the family. */
  #remembered(exchange: Exchange): MaybePromise<Opened<Data>> {
    const cookies = exchange.header("cookie");
    if (
      this.settings.rememberMs === undefined ||
      cookies === undefined ||
      this.#bearer(exchange) !== undefined
    )
      return this.#opened(exchange, undefined);
    const token = readCookie(cookies, this.settings.rememberCookie.name);
    if (token === undefined) return this.#opened(exchange, undefined);
    return this.#remember.comeBack(exchange, token).then((record) => this.#opened(exchange, record));
  }

  // ── what a session of a request does ────────────────────────────────────────────────────────────────────────

  async establish(
    exchange: Exchange,
    login: Login<Data>,
    before: SessionRecord | undefined,
  ): Promise<Required<Established>> {
    assertLogin(login);
    if (login.transport !== "token") assertHeadOpen(exchange);
    const mayCarry =
      before !== undefined && (before.principal === undefined || before.principal === login.principal);
    const carried = mayCarry ? ((await this.kernel.lookUp(before.handle)) ?? before) : undefined;
    const data = login.data ?? carried?.data ?? this.#initial ?? {};
    const family = login.remember === true ? await this.#remember.start(exchange, login, data) : undefined;
    const made = (await this.kernel.establish({
      ...this.request(exchange, login.principal),
      ...(before !== undefined && { supersedes: before.handle }),
      authentication: this.proof(login),
      data,
      ...(family !== undefined && { parent: family.handle }),
      ...(login.roles !== undefined && { roles: login.roles }),
      ...(login.tenant !== undefined && { tenant: login.tenant }),
    })) as Required<Established>;
    let { record } = made;
    if (before !== undefined) {
      const ended = await this.kernel.end(this.#rootOf(before), {
        reason: "superseded",
        detail: { by: record.handle },
      });
      // A request that wrote to the old session while this login ran must not lose what it was told is kept.
      const late =
        ended?.handle === before.handle && carried !== undefined && ended.version > carried.version + 1;
      if (late && login.data === undefined) record = await this.kernel.update(record, () => ended.data);
    }
    const result = { record, secret: made.secret };
    if (login.transport !== "token") this.issue(exchange, result);
    return result;
  }

  async stepUp(exchange: Exchange, record: SessionRecord, proof: StepUp): Promise<SessionRecord> {
    assertStepUp(proof);
    assertHeadOpen(exchange);
    const amr = [...new Set([...(record.authentication?.amr ?? []), ...proof.amr])];
    const aal = proof.aal ?? record.authentication?.aal;
    const made = await this.kernel.authenticate(
      record,
      { amr, ...(aal !== undefined && { aal }) },
      { detail: { amr: [...proof.amr] }, ...(proof.roles !== undefined && { roles: proof.roles }) },
    );
    this.issue(exchange, made);
    return made.record;
  }

  async rotate(exchange: Exchange, record: SessionRecord): Promise<SessionRecord> {
    assertHeadOpen(exchange);
    const made = await this.kernel.rotate(record);
    this.issue(exchange, made);
    return made.record;
  }

  async update(
    exchange: Exchange,
    record: SessionRecord | undefined,
    change: (data: Data) => Data | void,
  ): Promise<SessionRecord> {
    if (record !== undefined) return this.kernel.update<Data>(record, change);
    assertHeadOpen(exchange);
    const draft = structuredClone(this.#initial ?? {}) as Data;
    const made = await this.kernel.establish({
      ...this.request(exchange, undefined),
      data: change(draft) ?? draft,
    });
    this.issue(exchange, made as Required<Established>);
    return made.record;
  }

  async logout(exchange: Exchange, record: SessionRecord | undefined): Promise<void> {
    assertHeadOpen(exchange);
    if (record !== undefined) await this.kernel.end(this.#rootOf(record), { reason: "logout" });
    for (const cookie of [this.settings.cookie, this.settings.rememberCookie]) {
      if (cookie === this.settings.rememberCookie && this.settings.rememberMs === undefined) continue;
      exchange.setCookie(cookie.name, writeCookie({ ...cookie, value: "", maxAge: 0 }));
    }
    exchange.setHeader("cache-control", "no-store");
    exchange.setHeader("clear-site-data", '"cache", "storage"');
  }

  /** Ends one session, and the "remember me" it came from, so that its browser does not come back by itself. */
  async end(handle: Handle, by: string | undefined): Promise<boolean> {
    const record = await this.kernel.lookUp(handle);
    if (record === undefined || (record.mechanism !== MECHANISM && record.mechanism !== REMEMBER))
      return false;
    return (
      (await this.kernel.end(this.#rootOf(record), {
        reason: "revoked",
        ...(by !== undefined && { by }),
      })) !== undefined
    );
  }

  async endOthers(record: SessionRecord, reason: string): Promise<number> {
    if (record.principal === undefined) return 0;
    const except = record.parent === undefined ? [record.handle] : [record.handle, record.parent];
    for await (const child of this.kernel.sessions({ parent: record.handle })) except.push(child.handle);
    const revocation = await this.kernel.revoke(
      { principal: record.principal, except },
      { reason, by: record.principal },
    );
    return revocation.receipts.filter((receipt) => receipt.mechanism !== REMEMBER).length;
  }

  // ── the pieces ──────────────────────────────────────────────────────────────────────────────────────────────

  request(exchange: Exchange, principal: string | undefined): EstablishRequest {
    const { idleMs, absoluteMs, limits } = this.settings;
    return {
      mechanism: MECHANISM,
      mode: "request-response" as const,
      absoluteMs,
      peer: this.peer(exchange),
      startedAt: this.kernel.clock.now(),
      ...(principal !== undefined && { principal }),
      ...(idleMs !== undefined && { idleMs }),
      ...(limits !== undefined && { limit: limits, evicting: (one: SessionRecord) => this.#rootOf(one) }),
    };
  }

  /** A provider's clock may be ahead of ours; nobody's proof is younger than now. */
  proof({ amr = [], aal, authenticatedAt }: Login<Data>): NonNullable<EstablishRequest["authentication"]> {
    const at = Math.min(authenticatedAt ?? Infinity, this.kernel.clock.now());
    return { at, amr, ...(aal !== undefined && { aal }) };
  }

  #rootOf(record: SessionRecord): SessionRecord | Handle {
    return record.mechanism === MECHANISM && record.parent !== undefined ? record.parent : record;
  }

  issue(exchange: Exchange, made: Required<Established>): void {
    const until = this.settings.persistent ? made.record.absoluteAt : undefined;
    this.setCookie(exchange, this.settings.cookie, made.secret.reveal(), until);
  }

  setCookie(
    exchange: Exchange,
    cookie: Omit<SetCookie, "value" | "maxAge">,
    value: string,
    until: number | undefined,
  ): void {
    const maxAge = until === undefined ? {} : { maxAge: (until - this.kernel.clock.now()) / 1000 };
    exchange.setCookie(cookie.name, writeCookie({ ...cookie, value, ...maxAge }));
    exchange.setHeader("cache-control", "no-store");
  }

  peer(exchange: Exchange): Peer {
    const address = this.#address(exchange);
    const agent = exchange.header("user-agent")?.slice(0, COOKIE_LIMITS.attributeBytes);
    return { ...(address !== undefined && { address }), ...(agent !== undefined && { agent }) };
  }

  /** The entry that the outermost believed proxy appended; what stands left of it anybody may have written. */
  #address(exchange: Exchange): string | undefined {
    const { trustedProxies } = this.settings;
    if (trustedProxies === 0) return exchange.address;
    const hops = (exchange.header("x-forwarded-for") ?? "").split(",").map((hop) => hop.trim());
    return hops.at(-trustedProxies) || exchange.address;
  }
}

function assertHeadOpen(exchange: Exchange): void {
  if (exchange.headSent) {
    throw new HoldfastError(
      "response-sent",
      "The response's headers have gone out, so no cookie can be set any more; do this before writing.",
    );
  }
}

/** RFC 9110 §15.6.4. */
const UNAVAILABLE: Refusal = {
  status: 503,
  code: "store-unavailable",
  message: "Sessions cannot be looked up at the moment; try again.",
  headers: { "retry-after": "1" },
};

/** Why a session that was still there when it was read is none a moment later. */
const REFUSED: ReadonlySet<string> = new Set([
  "session-ended",
  "establish-refused",
  "locked",
  "limit-reached",
]);
