import { holdsBack } from "./barrier.ts";
import { HoldfastError } from "./errors.ts";
import type { JournalDraft } from "./journal.ts";
import type { Kernel } from "./kernel.ts";
import type { MechanismPolicy } from "./policy.ts";
import type { Established } from "./requests.ts";
import type { Authentication, Checkpoint, Json, Mode, Peer, SessionRecord } from "./record.ts";
import type { CredentialKey, Handle } from "./secret.ts";
import { credentialKey, mintHandle, mintSecret, shardOfHandle, shardOfPrincipal } from "./secret.ts";
import type { Ack, Standing } from "./store.ts";

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
  /** When the peer first spoke; shown as the session's pre-session phase. */
  readonly startedAt?: number;
  readonly limit?: PrincipalLimit;
  readonly ack?: Ack;
}

/** How many live sessions of this mechanism one principal may have, and what gives way. */
export interface PrincipalLimit {
  readonly perPrincipal: number;
  readonly onLimit: "refuse" | "evict-oldest";
}

export async function establish(kernel: Kernel, asked: EstablishRequest): Promise<Established> {
  await kernel.start();
  const parent = asked.parent === undefined ? undefined : await liveParent(kernel, asked.parent);
  const principal = asked.principal ?? parent?.principal;
  const request = within(kernel.policy.mechanisms[asked.mechanism], asked, principal);
  if (parent !== undefined && principal !== parent.principal) {
    throw new HoldfastError(
      "invalid-argument",
      "A session opened under another belongs to the same principal.",
      {
        detail: { principal, parent: parent.handle },
      },
    );
  }
  kernel.assertDataFits(request.data ?? null);
  const made = await create(kernel, request, principal, parent);
  if (parent !== undefined) await confirmParent(kernel, made.record, parent.handle);
  if (request.limit !== undefined && principal !== undefined)
    await applyLimit(kernel, made.record, request.limit);
  return made;
}

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
  const resumable = asked.resumableMs !== undefined ? { resumableMs: span("resumableMs") } : {};
  return {
    ...asked,
    ...(span("idleMs") !== Infinity && { idleMs: span("idleMs") }),
    ...(span("absoluteMs") !== Infinity && { absoluteMs: span("absoluteMs") }),
    ...resumable,
    ...(perPrincipal !== Infinity && { limit }),
  };
}

/** Creates against the standing it read; when that moved, looks again at what moved it. */
async function create(
  kernel: Kernel,
  request: EstablishRequest,
  principal: string | undefined,
  parent: SessionRecord | undefined,
): Promise<Established> {
  const shard = shardOf(request.handle, principal, parent);
  const began = await kernel.store.standing(principal);
  let standing = began;
  for (let attempt = 0; attempt < kernel.policy.replays; attempt++) {
    const now = kernel.clock.now();
    const secret = request.credential === false ? undefined : mintSecret(shard);
    const key = secret === undefined ? undefined : (credentialKey(secret.reveal()) as CredentialKey);
    // The first standing stays in the record, so that a revocation which came in between still applies to it.
    const record = draftRecord(kernel, request, {
      handle: request.handle ?? mintHandle(shard),
      principal,
      parent,
      key,
      now,
      standing: began,
    });
    await assertUnbarred(kernel, record, now);
    const outcome = await kernel.store.create(
      record,
      journal(kernel, request, record),
      standing,
      request.ack,
    );
    if (outcome === "created") return secret === undefined ? { record } : { record, secret };
    if (outcome === "exists" && request.handle !== undefined) break;
    if (outcome === "stale-standing") {
      standing = await kernel.store.standing(principal);
      if (standing.epoch > began.epoch) throw revokedMeanwhile(principal);
    }
  }
  throw new HoldfastError(
    "session-conflict",
    "Revocations kept coming while the session was being made, or its handle is in use; try again.",
  );
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
  readonly standing: Standing;
}

function draftRecord(kernel: Kernel, request: EstablishRequest, made: Ingredients): SessionRecord {
  const { now, parent } = made;
  const absoluteAt = Math.min(
    request.absoluteMs === undefined ? Infinity : now + request.absoluteMs,
    parent?.absoluteAt ?? Infinity,
  );
  return {
    handle: made.handle,
    version: 1,
    mechanism: request.mechanism,
    mode: request.mode,
    state: request.state ?? "established",
    epoch: made.standing.epoch,
    barrierSeq: made.standing.barrierSeq,
    createdAt: now,
    touchedAt: now,
    credentials: { ...(made.key !== undefined && { current: made.key, since: now }), retired: [] },
    peer: request.peer ?? {},
    data: request.data ?? null,
    ...(made.principal !== undefined && { principal: made.principal }),
    ...(parent !== undefined && { parent: parent.handle }),
    ...(request.idleMs !== undefined && { idleMs: request.idleMs, idleAt: now + request.idleMs }),
    ...(absoluteAt !== Infinity && { absoluteAt }),
    ...(request.resumableMs !== undefined && { resumableMs: request.resumableMs }),
    ...(request.authentication !== undefined && { authentication: { at: now, ...request.authentication } }),
    ...(request.roles !== undefined && { roles: request.roles }),
    ...(request.tenant !== undefined && { tenant: request.tenant }),
    ...(request.label !== undefined && { label: request.label }),
    ...(request.checkpoint !== undefined && { checkpoint: { at: now, ...request.checkpoint } }),
    ...(request.own === true && { owner: { node: kernel.node, epoch: 1 } }),
  };
}

function journal(kernel: Kernel, request: EstablishRequest, record: SessionRecord): JournalDraft[] {
  const at = record.createdAt;
  const { address, agent } = record.peer;
  const from = { ...(address !== undefined && { address }), ...(agent !== undefined && { agent }) };
  const begin = kernel.entry(record, "begin", { at: request.startedAt ?? at, detail: from });
  const entries = request.startedAt !== undefined || record.state === "negotiating" ? [begin] : [];
  if (record.state !== "negotiating") {
    const methods = record.authentication === undefined ? {} : { amr: record.authentication.amr };
    entries.push(
      kernel.entry(record, "establish", { at, detail: { ...(entries.length === 0 && from), ...methods } }),
    );
  }
  if (record.credentials.current !== undefined) entries.push(kernel.entry(record, "issue", { at }));
  return entries;
}

async function assertUnbarred(kernel: Kernel, record: SessionRecord, now: number): Promise<void> {
  for (const barrier of await kernel.store.barriers(now)) {
    if (!holdsBack(barrier, record, now)) continue;
    if (barrier.kind === "revocation") throw revokedMeanwhile(record.principal);
    throw new HoldfastError("locked", `A lock refuses this session: ${barrier.reason}.`, {
      detail: { lock: barrier.id, reason: barrier.reason, until: barrier.until },
    });
  }
}

async function liveParent(kernel: Kernel, handle: Handle): Promise<SessionRecord> {
  const parent = await kernel.lookUp(handle);
  if (parent === undefined) throw parentEnded(handle);
  return parent;
}

/** The parent may have ended while the child was being written: then whoever ended it did not see the child. */
async function confirmParent(kernel: Kernel, child: SessionRecord, parent: Handle): Promise<void> {
  if ((await kernel.lookUp(parent)) !== undefined) return;
  await kernel.end(child, { reason: "refused", detail: { parent } });
  throw parentEnded(parent);
}

/** Counted after the write, so that two racing logins cannot both slip under the limit. */
async function applyLimit(kernel: Kernel, mine: SessionRecord, limit: PrincipalLimit): Promise<void> {
  const others: SessionRecord[] = [];
  let after: Handle | undefined;
  do {
    const page = await kernel.store.list({
      term: `p:${mine.principal}`,
      limit: 1000,
      ...(after !== undefined && { after }),
    });
    for (const { record, epoch } of page.found) {
      if (record.mechanism === mine.mechanism && record.handle !== mine.handle && record.epoch >= epoch)
        others.push(record);
    }
    after = page.next;
  } while (after !== undefined);
  const excess = others.length + 1 - limit.perPrincipal;
  if (excess <= 0) return;
  if (limit.onLimit === "refuse") {
    await kernel.end(mine, { reason: "refused", detail: { cause: "limit" } });
    throw new HoldfastError(
      "limit-reached",
      `This principal may have ${limit.perPrincipal} ${mine.mechanism} sessions and has them already.`,
      {
        detail: { perPrincipal: limit.perPrincipal },
      },
    );
  }
  others.sort((a, b) => a.createdAt - b.createdAt || (a.handle < b.handle ? -1 : 1));
  await Promise.all(
    others.slice(0, excess).map((one) => kernel.end(one, { reason: "evicted", detail: { by: mine.handle } })),
  );
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
