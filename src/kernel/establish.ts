import { holdsBack } from "./barrier.ts";
import type { Carriage } from "./carriage.ts";
import type { Core } from "./core.ts";
import type { Endings } from "./endings.ts";
import { HoldfastError, isHoldfastError } from "./errors.ts";
import type { Feed } from "./feed.ts";
import { expiryOf } from "./judge.ts";
import type { JournalDraft } from "./journal.ts";
import type { LiveTransport } from "./live.ts";
import type { MechanismPolicy } from "./policy.ts";
import type { EndOptions, Established } from "./requests.ts";
import type { Authentication, Checkpoint, Draft, Json, Mode, Peer, SessionRecord } from "./record.ts";
import type { CredentialKey, Handle } from "./secret.ts";
import { credentialKey, mintHandle, mintSecret, shardOfHandle, shardOfPrincipal } from "./secret.ts";
import type { Ack, CreateOutcome, Standing } from "./store.ts";

export interface EstablishRequest {
  readonly mechanism: string;
  readonly mode: Mode;
  /**
   * A name made beforehand with `mintHandle` in the principal's shard, for a mechanism that had to hand it out before the
   * session could be written. Minted here when left out.
   */
  readonly handle?: Handle;
  /** Who it belongs to; with a parent it is the parent's and may be left out. */
  readonly principal?: string;
  /** The session it is opened under: it ends when that one does. */
  readonly parent?: Handle;
  /** `established` unless the peers still have to agree on something. */
  readonly state?: "negotiating" | "established";
  readonly idleMs?: number;
  readonly absoluteMs?: number;
  /** How long it may stay suspended; left out, losing its transport ends it. */
  readonly resumableMs?: number;
  /** `at` is now unless the proof is older than the session. */
  readonly authentication?: Omit<Authentication, "at"> & { readonly at?: number };
  readonly peer?: Peer;
  readonly roles?: readonly string[];
  readonly tenant?: string;
  readonly label?: string;
  readonly checkpoint?: Omit<Checkpoint, "at">;
  readonly data?: Json;
  /** False for sessions that live only as long as their connection and are never presented again. */
  readonly credential?: boolean;
  /** True when a connection in this process carries it from the start. */
  readonly own?: boolean;
  /**
   * That connection, attached before anybody can see the session, so that it needs no second look as `attach` takes. It
   * may be asked to close before `establish` has resolved. `detach` takes it off when it ends by itself; a session that
   * is refused in the end takes it off without closing it.
   */
  readonly transport?: LiveTransport;
  /** True when nothing will ever be opened under it: ending it then looks for nothing more to end. */
  readonly childless?: boolean;
  /** When the peer first spoke; shown as the session's pre-session phase. */
  readonly startedAt?: number;
  readonly limit?: PrincipalLimit;
  /** The session whose place it takes: that one is about to end, so it neither counts for the limit nor gives way to it. */
  readonly supersedes?: Handle;
  /** What ends when a session gives way to the limit: what would bring it back, for instance. Itself when left out. */
  readonly evicting?: (record: SessionRecord) => SessionRecord | Handle;
  readonly ack?: Ack;
}

/** How many live sessions of this mechanism one principal may have, and what gives way. */
export interface PrincipalLimit {
  readonly perPrincipal: number;
  readonly onLimit: "refuse" | "evict-oldest";
}

export interface EstablisherParts {
  readonly core: Core;
  readonly feed: Feed;
  readonly carriage: Carriage;
  readonly endings: Endings;
  readonly lookUp: (handle: Handle) => Promise<SessionRecord | undefined>;
}

/** How sessions are made. */
export class Establisher {
  readonly #parts: EstablisherParts;
  readonly #core: Core;

  constructor(parts: EstablisherParts) {
    this.#parts = parts;
    this.#core = parts.core;
  }

  async establish(asked: EstablishRequest): Promise<Established> {
    try {
      return await this.#establish(asked);
    } catch (error) {
      if (isHoldfastError(error) && REFUSALS.has(error.code)) this.#core.tally(error.code);
      throw error;
    }
  }

  async #establish(asked: EstablishRequest): Promise<Established> {
    const parent = asked.parent === undefined ? undefined : await this.#liveParent(asked.parent);
    const principal = asked.principal ?? parent?.principal;
    const request = within(this.#core.policy.mechanisms[asked.mechanism], asked, principal);
    if (parent !== undefined) assertParent(parent, principal);
    this.#core.assertDataFits(request.data ?? null);
    const made = await this.#create(request, principal, parent);
    if (parent !== undefined) await this.#confirmParent(request, made.record, parent.handle);
    if (request.limit !== undefined && principal !== undefined)
      await this.#applyLimit(request, made.record, request.limit);
    return made;
  }

  /** Creates against the standing it read; when that moved, looks again at what moved it. */
  async #create(
    request: EstablishRequest,
    principal: string | undefined,
    parent: SessionRecord | undefined,
  ): Promise<Established> {
    const { store, clock, policy, node } = this.#core;
    const shard = shardOf(request.handle, principal, parent);
    const read = store.standing(principal);
    const began = read instanceof Promise ? await read : read;
    let standing = began;
    for (let attempt = 0; attempt < policy.replays; attempt++) {
      const now = clock.now();
      const secret = request.credential === false ? undefined : mintSecret(shard);
      const key = secret === undefined ? undefined : (credentialKey(secret.reveal()) as CredentialKey);
      const handle = request.handle ?? mintHandle(shard);
      // The first standing stays in the record, so that a revocation which came in between still applies to it.
      const record = draftRecord(request, { handle, principal, parent, key, now, node, standing: began });
      const unbarred = this.#assertUnbarred(record, standing, now);
      if (unbarred !== undefined) await unbarred;
      const outcome = await this.#commit(request, record, standing);
      if (outcome === "created") return secret === undefined ? { record } : { record, secret };
      if (outcome === "exists" && request.handle !== undefined) break;
      if (outcome === "stale-standing") {
        standing = await store.standing(principal);
        if (standing.epoch > began.epoch) throw revokedMeanwhile(principal);
      }
    }
    throw new HoldfastError(
      "session-conflict",
      "Revocations kept coming while the session was being made, or its handle is in use; try again.",
    );
  }

  async #commit(
    request: EstablishRequest,
    record: SessionRecord,
    standing: Standing,
  ): Promise<CreateOutcome> {
    const { store } = this.#core;
    const { carriage } = this.#parts;
    const { transport } = request;
    // Before the write: whatever ends the session is journalled after it, and will find the transport here.
    if (transport !== undefined) carriage.expect(record, transport);
    let outcome: CreateOutcome | undefined;
    try {
      outcome = await store.create(record, this.#journal(request, record), standing, request.ack);
    } finally {
      if (outcome !== "created" && transport !== undefined) carriage.detach(record.handle, transport);
    }
    if (outcome === "created" && transport !== undefined && carriage.deaf)
      await carriage.refuse(record.handle);
    return outcome;
  }

  #journal(request: EstablishRequest, record: SessionRecord): JournalDraft[] {
    const at = record.createdAt;
    const { address, agent } = record.peer;
    const first: { address?: string; agent?: string; amr?: readonly string[] } = {};
    if (address !== undefined) first.address = address;
    if (agent !== undefined) first.agent = agent;
    const amr = record.authentication?.amr;
    const entries: JournalDraft[] = [];
    if (request.startedAt !== undefined || record.state === "negotiating")
      entries.push(this.#core.entry(record, "begin", { at: request.startedAt ?? at, detail: first }));
    if (record.state !== "negotiating") {
      const detail = entries.length === 0 ? first : {};
      if (amr !== undefined) detail.amr = amr;
      entries.push(this.#core.entry(record, "establish", { at, detail }));
    }
    if (record.credentials.current !== undefined) entries.push(this.#core.entry(record, "issue", { at }));
    return entries;
  }

  /** Answers at once where the barriers that this standing counts are known here. */
  #assertUnbarred(record: SessionRecord, standing: Standing, now: number): Promise<void> | undefined {
    const known = this.#parts.feed.knownThrough(standing.barrierSeq);
    // What seems to hold it back may have been lifted elsewhere a moment ago.
    if (known?.every((barrier) => !holdsBack(barrier, record, now)) === true) return undefined;
    return this.#assertUnbarredInStore(record, now);
  }

  async #assertUnbarredInStore(record: SessionRecord, now: number): Promise<void> {
    for (const barrier of await this.#core.store.barriers(now)) {
      if (!holdsBack(barrier, record, now)) continue;
      if (barrier.kind === "revocation") throw revokedMeanwhile(record.principal);
      throw new HoldfastError("locked", `A lock refuses this session: ${barrier.reason}.`, {
        detail: { lock: barrier.id, reason: barrier.reason, until: barrier.until },
      });
    }
  }

  async #liveParent(handle: Handle): Promise<SessionRecord> {
    const parent = await this.#parts.lookUp(handle);
    if (parent === undefined) throw parentEnded(handle);
    return parent;
  }

  /** The parent may have ended while the child was being written: then whoever ended it did not see the child. */
  async #confirmParent(request: EstablishRequest, child: SessionRecord, parent: Handle): Promise<void> {
    if ((await this.#parts.lookUp(parent)) !== undefined) return;
    await this.#refuse(request, child, { parent });
    throw parentEnded(parent);
  }

  /** Counted after the write, so that two racing logins cannot both slip under the limit. */
  async #applyLimit(request: EstablishRequest, mine: SessionRecord, limit: PrincipalLimit): Promise<void> {
    const { store, clock } = this.#core;
    const { endings } = this.#parts;
    const now = clock.now();
    const counts = (one: SessionRecord): boolean =>
      one.mechanism === mine.mechanism &&
      one.handle !== mine.handle &&
      one.handle !== request.supersedes &&
      expiryOf(one, now) === undefined;
    const others: SessionRecord[] = [];
    let after: Handle | undefined;
    do {
      const page = await store.list({
        term: `p:${mine.principal}`,
        limit: 1000,
        ...(after !== undefined && { after }),
      });
      for (const { record, epoch } of page.found) {
        if (counts(record) && record.epoch >= epoch) others.push(record);
      }
      after = page.next;
    } while (after !== undefined);
    const excess = others.length + 1 - limit.perPrincipal;
    if (excess <= 0) return;
    if (limit.onLimit === "refuse") {
      await this.#refuse(request, mine, { cause: "limit" });
      throw new HoldfastError(
        "limit-reached",
        `This principal may have ${limit.perPrincipal} ${mine.mechanism} sessions and has them already.`,
        {
          detail: { perPrincipal: limit.perPrincipal },
        },
      );
    }
    others.sort((a, b) => a.createdAt - b.createdAt || (a.handle < b.handle ? -1 : 1));
    const evicted = others.slice(0, excess).map((one) => {
      const whole = request.evicting?.(one) ?? one;
      return whole === mine.parent ? one : whole;
    });
    await Promise.all(
      evicted.map((one) => endings.endEverywhere(one, { reason: "evicted", detail: { by: mine.handle } })),
    );
  }

  /** Takes back a session that was made. Its connection goes on: there is a refusal to be told on it. */
  async #refuse(
    { transport }: EstablishRequest,
    record: SessionRecord,
    detail: NonNullable<EndOptions["detail"]>,
  ): Promise<void> {
    if (transport !== undefined) this.#parts.carriage.detach(record.handle, transport);
    await this.#parts.endings.endEverywhere(record, { reason: "refused", detail });
  }
}

const REFUSALS: ReadonlySet<string> = new Set(["locked", "limit-reached", "establish-refused"]);

/** What a mechanism asks for, cut down to what the operator allows it. */
function within(
  policy: MechanismPolicy | undefined,
  asked: EstablishRequest,
  principal: string | undefined,
): EstablishRequest {
  if (policy === undefined) return asked;
  const { principals = {}, onLimit = "refuse" } = policy;
  const own =
    principal !== undefined && Object.hasOwn(principals, principal) ? principals[principal] : undefined;
  const perPrincipal = Math.min(
    own ?? policy.perPrincipal ?? Infinity,
    asked.limit?.perPrincipal ?? Infinity,
  );
  const limit = asked.limit?.perPrincipal === perPrincipal ? asked.limit : { perPrincipal, onLimit };
  const span = (name: "idleMs" | "absoluteMs" | "resumableMs"): number =>
    Math.min(policy[name] ?? Infinity, asked[name] ?? Infinity);
  // What cannot be resumed stays so, whatever the limit.
  const request: Draft<EstablishRequest> = Object.assign({}, asked);
  if (asked.resumableMs !== undefined) request.resumableMs = span("resumableMs");
  if (span("idleMs") !== Infinity) request.idleMs = span("idleMs");
  if (span("absoluteMs") !== Infinity) request.absoluteMs = span("absoluteMs");
  if (perPrincipal !== Infinity) request.limit = limit;
  return request;
}

/** Where the session's handle, secret and index are; a handle made beforehand has to agree with its principal's. */
function shardOf(
  handle: Handle | undefined,
  principal: string | undefined,
  parent: SessionRecord | undefined,
): number {
  const shard = parent === undefined ? shardOfPrincipal(principal) : shardOfHandle(parent.handle);
  if (handle === undefined || shardOfHandle(handle) === shard) return shard;
  if (principal === undefined && parent === undefined) return shardOfHandle(handle);
  throw new HoldfastError("invalid-argument", "A handle made beforehand is in its principal's shard.", {
    detail: { handle, shard },
  });
}

interface Ingredients {
  readonly handle: Handle;
  readonly principal: string | undefined;
  readonly parent: SessionRecord | undefined;
  readonly key: CredentialKey | undefined;
  readonly now: number;
  readonly node: string;
  readonly standing: Standing;
}

function draftRecord(request: EstablishRequest, made: Ingredients): SessionRecord {
  const { now, parent, key } = made;
  const draft: Draft<SessionRecord> = {
    handle: made.handle,
    version: 1,
    mechanism: request.mechanism,
    mode: request.mode,
    state: request.state ?? "established",
    epoch: made.standing.epoch,
    barrierSeq: made.standing.barrierSeq,
    createdAt: now,
    touchedAt: now,
    credentials: key === undefined ? NO_CREDENTIALS : { current: key, since: now, retired: [] },
    peer: request.peer ?? NO_PEER,
    data: request.data ?? null,
  };
  if (made.principal !== undefined) draft.principal = made.principal;
  if (parent !== undefined) draft.parent = parent.handle;
  if (request.childless === true) draft.childless = true;
  if (request.idleMs !== undefined) {
    draft.idleMs = request.idleMs;
    draft.idleAt = now + request.idleMs;
  }
  const absoluteAt = Math.min(now + (request.absoluteMs ?? Infinity), parent?.absoluteAt ?? Infinity);
  if (absoluteAt !== Infinity) draft.absoluteAt = absoluteAt;
  if (request.resumableMs !== undefined) draft.resumableMs = request.resumableMs;
  if (request.authentication !== undefined) draft.authentication = { at: now, ...request.authentication };
  if (request.roles !== undefined) draft.roles = request.roles;
  if (request.tenant !== undefined) draft.tenant = request.tenant;
  if (request.label !== undefined) draft.label = request.label;
  if (request.checkpoint !== undefined) draft.checkpoint = { at: now, ...request.checkpoint };
  if (request.own === true || request.transport !== undefined) draft.owner = { node: made.node, epoch: 1 };
  return draft;
}

const NO_CREDENTIALS: SessionRecord["credentials"] = Object.freeze({ retired: Object.freeze([]) });
const NO_PEER: Peer = Object.freeze({});

function assertParent(parent: SessionRecord, principal: string | undefined): void {
  const why =
    parent.childless === true
      ? "Nothing can be opened under a session that was made to have no others under it."
      : "A session opened under another belongs to the same principal.";
  if (parent.childless !== true && principal === parent.principal) return;
  throw new HoldfastError("invalid-argument", why, { detail: { principal, parent: parent.handle } });
}

function parentEnded(handle: Handle): HoldfastError {
  return new HoldfastError("establish-refused", "The session it was to be opened under has ended.", {
    detail: { parent: handle },
  });
}

function revokedMeanwhile(principal: string | undefined): HoldfastError {
  return new HoldfastError(
    "establish-refused",
    "Its principal's sessions were revoked while this one was being made.",
    {
      detail: { principal },
    },
  );
}
